"""The programs of harm.py, each with as many calls of its TLS library as it is told: `harm_bytes.py WHAT ARGUMENT...`.

    serve CERT KEY           answers each body with one of its length, over TLS and in the clear: prints both ports, ends with its standard input
    seccomp PORT CALLS       a body of CALLS bytes to that port and one back, a call a byte, under a filter of system calls
    traced PORT CALLS        the same while another process stops it at every system call
    exec PORT CALLS          the same in parts, and becomes itself again after each
    fork CALLS CERT KEY      a server that forks for each part, and its client

Each prints a digest of what it received.
"""

import hashlib
import os
import socket
import ssl
import sys
import threading

import harm

# Parts of what is said by one that becomes itself again, or forks.
PARTS = 20


def body(size, seed):
    return bytes(97 + (number * 7 + (number >> 8) + seed) % 25 for number in range(size))


def connect(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), timeout=300))


def head_of(receive):
    head = b""
    while b"\r\n\r\n" not in head:
        byte = receive(1)
        if not byte:
            return None
        head += byte
    return head


def length_of(head):
    return next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))


def ask(session, nth, size):
    """What is received, a byte a call as what is sent."""
    session.sendall(b"PUT /harm?%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (nth, size))
    said = body(size, nth)
    for at in range(size):
        session.send(said[at : at + 1])
    head = head_of(session.recv)
    received = bytearray()
    while len(received) < length_of(head):
        received += session.recv(1)
    return hashlib.sha256(head + received).hexdigest()


def answer(session, by_bytes=False):
    """Answers until the other end leaves."""
    while head := head_of(session.recv):
        size, seen = length_of(head), bytearray()
        while len(seen) < size:
            seen += session.recv(1 if by_bytes else 16384)
        said = bytes(seen).translate(bytes(range(1, 256)) + b"\0")  # each letter's next
        session.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        step = 1 if by_bytes else max(size, 1)
        for at in range(0, size, step):
            session.sendall(said[at : at + step])
        if b"Connection: close" in head:
            return


def served(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, socket.create_server(("127.0.0.1", 0))


def serve(certificate, key):
    def one(connection, wrap):
        answer(wrap(connection))

    def each(listener, wrap):
        while True:
            threading.Thread(target=one, args=(listener.accept()[0], wrap), daemon=True).start()

    context, secret = served(certificate, key)
    plain = socket.create_server(("127.0.0.1", 0))

    def secretly(connection):
        return context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)

    for listener, wrap in ((secret, secretly), (plain, lambda connection: connection)):
        threading.Thread(target=each, args=(listener, wrap), daemon=True).start()
    print(secret.getsockname()[1], plain.getsockname()[1], flush=True)
    sys.stdin.read()


def seccomp(port, calls):
    session = connect(port)
    ask(session, 0, 10)
    harm.filter_calls()
    harm.say_and_end(ask(session, 1, int(calls)))


def traced(port, calls):
    harm.trace(lambda: ask(connect(port), 0, int(calls)))


def again(port, calls, nth="0", before=""):
    received = ask(connect(port), int(nth), int(calls) // PARTS)
    before = hashlib.sha256((before + received).encode()).hexdigest()
    if int(nth) + 1 == PARTS:
        harm.say_and_end(before)
    os.execv(sys.executable, [sys.executable, __file__, "exec", port, calls, str(int(nth) + 1), before])


def fork(calls, certificate, key):
    context, listener = served(certificate, key)
    size = int(calls) // PARTS
    client = os.fork()
    if client == 0:
        port = listener.getsockname()[1]
        harm.say_and_end(" ".join(ask(connect(port), nth, size) for nth in range(PARTS)))
    for _ in range(PARTS):
        session = context.wrap_socket(listener.accept()[0], server_side=True, suppress_ragged_eofs=True)
        child = os.fork()
        if child == 0:
            answer(session, by_bytes=True)
            os._exit(0)
        session.close()
        os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(client, 0)[1]))


if __name__ == "__main__":
    {"serve": serve, "seccomp": seccomp, "traced": traced, "exec": again, "fork": fork}[sys.argv[1]](*sys.argv[2:])
