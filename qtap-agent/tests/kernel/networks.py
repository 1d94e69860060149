# Serves HTTP on all addresses at once, or requests a page from each given address: `networks.py serve PORT` (0: any free port), `networks.py ask PORT ADDRESS…`.
import http.server
import socket
import sys

what, port, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"yes")

    def log_message(self, *_):
        pass


def ask(address):
    family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as one:
        one.connect(where)
        one.sendall(f"GET /?{address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while one.recv(4096):
            pass


if what == "serve":
    server = Server(("::", port), Answer)
    print("serving", server.server_port, flush=True)
    server.serve_forever()
for address in addresses:
    ask(address)
