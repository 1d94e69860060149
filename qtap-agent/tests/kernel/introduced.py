"""A client that sends a PROXY protocol header before its request, in ways that curl does not: PORT. Prints the statuses."""

import socket
import struct
import sys

port = int(sys.argv[1])
signature = b"\r\n\r\n\0\r\nQUIT\n"
addresses = socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.2") + struct.pack("!HH", 40000, port)
binary = signature + b"\x21\x11" + struct.pack("!H", len(addresses)) + addresses
local = signature + b"\x20\0\0\0"
text = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n"


def ask(name):
    return b"GET /a.txt?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % name


pieces = {
    "binary": [binary, ask(b"binary")],
    "binary-at-once": [binary + ask(b"binary-at-once")],
    "local": [local, ask(b"local")],
    "text-at-once": [text + ask(b"text-at-once")],
    "by-byte": [text] + [bytes([byte]) for byte in ask(b"by-byte")],
}
for parts in pieces.values():
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
        print(client.makefile("rb").read().split()[1].decode())
