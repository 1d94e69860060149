# A network with names: `names.py serve` answers DNS (UDP and TCP) on 127.0.0.1:53 and HTTP on port 80 of every address; `names.py ask` looks names up
# in each way that programs do, and requests a page from the address found, without naming the host.
import http.server
import socket
import struct
import sys
import threading
import time

NAMES = {"udp.quiet.internal": "10.9.0.1", "recvfrom.internal": "10.9.0.2", "recvmsg.internal": "10.9.0.3", "tcp.internal": "10.9.0.4"}


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def answer(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    found = NAMES.get(".".join(labels).lower())
    head = query[:2] + struct.pack(">5H", 0x8180 if found else 0x8183, 1, 1 if found else 0, 0, 0)
    record = b"\xc0\x0c" + struct.pack(">2HIH", 1, 1, 300, 4) + socket.inet_aton(found) if found else b""
    return head + query[12 : at + 5] + record


def exactly(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"yes")

    def log_message(self, *_):
        pass


def serve_udp(udp):
    while True:
        query, asker = udp.recvfrom(4096)
        udp.sendto(answer(query), asker)


def serve_tcp(tcp):
    while True:
        one, _ = tcp.accept()
        with one:
            while head := exactly(one, 2):
                said = answer(exactly(one, struct.unpack(">H", head)[0]))
                one.sendall(struct.pack(">H", len(said)) + said)


def serve():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    tcp = socket.create_server(("127.0.0.1", 53))
    web = http.server.ThreadingHTTPServer(("0.0.0.0", 80), Page)
    for target, argument in [(serve_udp, udp), (serve_tcp, tcp)]:
        threading.Thread(target=target, args=(argument,), daemon=True).start()
    print("serving", flush=True)
    web.serve_forever()


def look_up(how, name):
    server = ("127.0.0.1", 53)
    if how == "tcp":
        with socket.create_connection(server) as one:
            asked = question(name)
            one.sendall(struct.pack(">H", len(asked)) + asked)
            return exactly(one, struct.unpack(">H", exactly(one, 2))[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        if how == "connected":
            one.connect(server)
            one.send(question(name))
            return one.recv(4096)
        one.sendto(question(name), server)
        return one.recvfrom(4096)[0] if how == "recvfrom" else one.recvmsg(4096)[0]


def page(address, query):
    with socket.create_connection((address, 80)) as one:
        one.sendall(f"GET /?{query} HTTP/1.0\r\n\r\n".encode())
        while one.recv(4096):
            pass


if sys.argv[1] == "serve":
    serve()
time.sleep(1)  # until the agent has read the answers, on a busy host too
for how, name in zip(["connected", "recvfrom", "recvmsg", "tcp"], NAMES):
    page(socket.inet_ntoa(look_up(how, name)[-4:]), name)
look_up("connected", "nobody.internal")
