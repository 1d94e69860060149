"""Less usual users of OpenSSL: the first argument chooses the way, and its own arguments follow.

first PORT DIR: a server that speaks first, over HTTP/2, without a call for the handshake: its first write performs it. One connection.
fed PORT DIR: a server that feeds its session the ClientHello before any other call on it. One connection.
unconnected PORT PATH: requests by a session that gets its socket before that is connected, twice; writes the second body to standard output.
bio LIBSSL PORT PATH: sends a request through OpenSSL's own BIO (`BIO_new_ssl_connect`), and writes the response's body to standard output.
"""

import ctypes
import os
import socket
import ssl
import sys

SETTINGS, HEADERS, END_STREAM, ACK, END_HEADERS = 4, 1, 1, 1, 4
PREFACE = 24


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def unconnected(port, path):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(2):
        with context.wrap_socket(socket.socket(), server_hostname="localhost") as sock:
            sock.connect(("127.0.0.1", int(port)))
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
            answer = b""
            while more := sock.recv(65536):
                answer += more
    sys.stdout.buffer.write(answer.split(b"\r\n\r\n", 1)[1])


def first(port, directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", int(port)))
    print("listening", flush=True)
    connection = context.wrap_socket(listener.accept()[0], server_side=True, do_handshake_on_connect=False)
    connection.sendall(frame(SETTINGS, 0, 0))
    came, at = b"", PREFACE
    while True:
        while len(came) < at + 9 or len(came) < at + 9 + int.from_bytes(came[at : at + 3], "big"):
            came += connection.recv(65536)
        kind, at = came[at + 3], at + 9 + int.from_bytes(came[at : at + 3], "big")
        if kind == HEADERS:
            break
    answer = frame(SETTINGS, ACK, 0) + frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(0, END_STREAM, 1, b"spoke first")
    connection.sendall(answer)
    while connection.recv(65536):
        pass


def fed(port, directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
    listener = socket.create_server(("127.0.0.1", int(port)))
    print("listening", flush=True)
    connection = listener.accept()[0]
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(inward, outward, server_side=True)

    def until_done(call):
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                if outward.pending:
                    connection.sendall(outward.read())
                inward.write(connection.recv(65536))

    inward.write(connection.recv(65536))
    until_done(session.do_handshake)
    until_done(lambda: session.read(65536))
    session.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nfed")
    connection.sendall(outward.read())
    connection.recv(65536)


def bio(library, port, path):
    lib = ctypes.CDLL(library)
    for name in ("TLS_client_method", "SSL_CTX_new", "BIO_new_ssl_connect"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.SSL_CTX_new.argtypes = lib.BIO_new_ssl_connect.argtypes = [ctypes.c_void_p]
    lib.BIO_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
    lib.BIO_ctrl.restype = ctypes.c_long
    lib.BIO_write.argtypes = lib.BIO_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    lib.BIO_free_all.argtypes = [ctypes.c_void_p]
    chain = lib.BIO_new_ssl_connect(lib.SSL_CTX_new(lib.TLS_client_method()))
    # BIO_set_conn_hostname.
    lib.BIO_ctrl(chain, 100, 0, f"127.0.0.1:{port}".encode())
    ask = f"GET {path} HTTP/1.1\r\nHost: bio\r\nConnection: close\r\n\r\n".encode()
    assert lib.BIO_write(chain, ask, len(ask)) == len(ask)
    came, buffer = b"", ctypes.create_string_buffer(30000)
    while (count := lib.BIO_read(chain, buffer, len(buffer))) > 0:
        came += buffer.raw[:count]
    lib.BIO_free_all(chain)
    sys.stdout.buffer.write(came.split(b"\r\n\r\n", 1)[1])


{"unconnected": unconnected, "first": first, "fed": fed, "bio": bio}[sys.argv[1]](*sys.argv[2:])
