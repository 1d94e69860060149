"""TLS in the kernel, and a client of a server that uses it.

`ktls.py ask PORT`: one connection with Python's own TLS; requests each path that it reads, and prints status and length.
`ktls.py itself`: a server and a client that give the kernel keys agreed on beforehand (`uapi/linux/tls.h`).
"""

import http.client
import socket
import ssl
import struct
import sys
import threading

TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
TLS_1_3, AES_GCM_128 = 0x0304, 51


def ask(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=context)
    for line in sys.stdin:
        connection.request("GET", line.strip())
        answer = connection.getresponse()
        print(answer.status, len(answer.read()), flush=True)


def give(connection, sent, received):
    connection.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    for way, key in [(TLS_TX, sent), (TLS_RX, received)]:
        said = struct.pack("=HH8s16s4s8s", TLS_1_3, AES_GCM_128, b"i" * 8, key * 16, b"salt", bytes(8))
        connection.setsockopt(SOL_TLS, way, said)


def serve(listener):
    connection, _ = listener.accept()
    give(connection, b"s", b"c")
    with connection:
        while asked := connection.recv(4096):
            assert asked.startswith(b"GET /itself HTTP/1.1\r\n"), asked
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfound")


def itself():
    listener = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve, args=[listener])
    server.start()
    with socket.create_connection(listener.getsockname()) as connection:
        give(connection, b"c", b"s")
        for _ in range(3):
            connection.sendall(b"GET /itself HTTP/1.1\r\nHost: here\r\n\r\n")
            answer = connection.recv(4096)
            assert answer.endswith(b"found"), answer
    server.join()


{"ask": ask, "itself": itself}[sys.argv[1]](*sys.argv[2:])
