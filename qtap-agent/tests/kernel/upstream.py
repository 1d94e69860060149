"""An HTTP/1.1 server on a port that it chooses and prints. `tls CERT KEY` makes it HTTPS.

GET answers with the path; POST and PUT with the SHA-256 and size of the body. Ends when its input is closed.
"""

import hashlib
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.say(f"upstream saw {self.path}\n".encode())

    def do_POST(self):
        left, seen = int(self.headers["Content-Length"]), hashlib.sha256()
        size = left
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                return
            seen.update(piece)
            left -= len(piece)
        self.say(f"{seen.hexdigest()} {size}\n".encode())

    do_PUT = do_POST

    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Answer)
if sys.argv[1:2] == ["tls"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
