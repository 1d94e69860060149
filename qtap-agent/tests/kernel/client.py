"""Clients, one per mode: `client.py MODE ARGUMENTS…`. Each behaves like a program that knows nothing of qtap."""

import ctypes
import http.client
import os
import socket
import ssl
import struct
import sys
import threading


def no_check():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answer(stream):
    """Reads one response from a buffered stream; returns its body."""
    status = stream.readline()
    assert status.startswith((b"HTTP/1.0 20", b"HTTP/1.1 20")), status
    length = 0
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return stream.read(length)


def with_requests(url, count):
    import requests

    session = requests.Session()
    session.verify = session.trust_env = False
    requests.packages.urllib3.disable_warnings()
    for number in range(int(count)):
        answer = session.post(url, data=b"body %d" % number)
        assert answer.status_code == 200, answer
    session.close()


def pipelined(port, path, count):
    """Sends all requests in one write, then reads all responses."""
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
        sock.sendall(request * int(count))
        stream = sock.makefile("rb")
        for _ in range(int(count)):
            answer(stream)


def single_write(port, path, file, tls):
    """Sends a body of any size in one write."""
    body = open(file, "rb").read()
    sock = socket.create_connection(("127.0.0.1", int(port)))
    if tls == "tls":
        sock = no_check().wrap_socket(sock, server_hostname="localhost")
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body))
    whole = memoryview(head + body)
    while whole:
        sent = sock.send(whole) if tls == "tls" else os.write(sock.fileno(), whole)
        print("wrote", sent, flush=True)
        whole = whole[sent:]
    print(answer(sock.makefile("rb")).decode(), end="")
    sock.close()


def vectored(port, path, *shapes):
    """For each shape, sends a request in one call: its head, and the buffers of its body with these sizes. Reads the responses into buffers of 7 bytes."""
    sock = socket.create_connection(("127.0.0.1", int(port)))
    for number, shape in enumerate(shapes):
        sizes = [int(size) for size in shape.split(",")]
        body = bytes((at * 7 + at // 251) & 255 for at in range(sum(sizes)))
        buffers, at = [], 0
        for size in sizes:
            buffers.append(body[at : at + size])
            at += size
        head = b"POST %s/%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), number, len(body))
        assert sock.sendmsg([head, *buffers]) == len(head) + len(body)
        got = b""
        while not got.endswith(b"%d\n" % len(body)):
            room = [bytearray(7) for _ in range(64)]
            count, _, _, _ = sock.recvmsg_into(room)
            assert count > 0, got
            got += b"".join(room)[:count]
        print(got.rpartition(b"\r\n")[2].decode(), end="", flush=True)
    sock.close()


def kept(url):
    """One connection, with one request per line of input."""
    scheme, rest = url.split("://")
    host, port = rest.split(":")
    if scheme == "https":
        client = http.client.HTTPSConnection(host, int(port), context=no_check())
    else:
        client = http.client.HTTPConnection(host, int(port))
    client.connect()
    print("connected", client.sock.getsockname()[1], flush=True)
    for line in sys.stdin:
        client.request("GET", line.strip())
        reply = client.getresponse()
        print(reply.status, len(reply.read()), flush=True)
    client.close()


def crowd(port, path, count):
    """Opens `count` connections at once, sends a request on each, reads the responses, and closes them."""
    socks = []
    for number in range(int(count)):
        sock = socket.socket()
        sock.bind((f"127.0.0.{2 + number % 8}", 0))
        sock.connect(("127.0.0.1", int(port)))
        socks.append(sock)
    for sock in socks:
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    good = 0
    for sock in socks:
        with sock.makefile("rb") as stream:
            answer(stream)
        good += 1
    for sock in socks:
        sock.close()
    print(good)


def unix(path, target):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target.encode())
        answer(sock.makefile("rb"))


def refused_and_reset():
    """Non-blocking connections that are refused, and connections that are reset with bytes unread and unsent."""
    held = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        assert sock.connect_ex(("127.0.0.1", 1))
        held.append(sock)
    listener = socket.create_server(("127.0.0.1", 0))
    for _ in range(8):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        # The request is not read, so closing sends a reset.
        server.close()
        try:
            client.send(b"more")
        except OSError:
            pass
        held.append(client)
    for sock in held:
        sock.close()


def without_lingering(port):
    """Closes with a reset, at which the kernel drops its byte counts."""
    sock = socket.create_connection(("127.0.0.1", int(port)))
    sock.sendall(b"GET /large.bin?reset HTTP/1.1\r\nHost: x\r\n\r\n")
    answer(sock.makefile("rb"))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def used_again(*ports):
    """One socket for several connections in turn: `connect` to AF_UNSPEC ends the one before."""
    libc = ctypes.CDLL(None, use_errno=True)
    sock = socket.socket()
    for port in ports:
        sock.connect(("127.0.0.1", int(port)))
        sock.sendall(b"GET /small.txt?to-%s HTTP/1.1\r\nHost: x\r\n\r\n" % port.encode())
        answer(sock.makefile("rb"))
        assert libc.connect(sock.fileno(), struct.pack("H14x", socket.AF_UNSPEC), 16) == 0, ctypes.get_errno()


def deaf(folder):
    """A TLS server that completes the handshake and reads nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    conn = context.wrap_socket(listener.accept()[0], server_side=True)
    sys.stdin.read()
    conn.close()


def last_word_first():
    """A server that accepts a connection on which the client has already sent everything."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    client.sendall(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
    client.shutdown(socket.SHUT_WR)
    server, _ = listener.accept()
    while server.recv(1000):
        pass
    server.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
    server.close()
    client.recv(1000)
    client.close()


def noise(port, tls_port):
    """Random bytes on a socket and inside TLS, and message heads that continue with random bytes."""
    import random

    chance = random.Random(7)
    heads = [b"", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01", b"HTTP/1.1 200 OK\r\n\r\n"]
    for number in range(40):
        bytes_ = heads[number % len(heads)] + chance.randbytes(chance.randrange(1, 40000))
        sock = socket.create_connection(("127.0.0.1", int(tls_port if number % 2 else port)))
        try:
            if number % 2:
                sock = no_check().wrap_socket(sock, server_hostname="localhost")
            sock.settimeout(2)
            sock.sendall(bytes_)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        except OSError:
            pass
        sock.close()


def threads(url, count, each):
    """Connections from many threads of one process."""
    def work():
        scheme, rest = url.split("://")
        host, port = rest.split("/")[0].split(":")
        client = http.client.HTTPSConnection(host, int(port), context=no_check())
        for _ in range(int(each)):
            client.request("GET", "/" + rest.split("/", 1)[1])
            client.getresponse().read()
        client.close()

    started = [threading.Thread(target=work) for _ in range(int(count))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def forks(port, path, count):
    """Starts `count` children, a hundred at a time; the last one makes a request."""
    count = int(count)
    for number in range(count):
        if os.fork() == 0:
            if number == count - 1:
                pipelined(port, path, 1)
            os._exit(0)
        if number % 100 == 99 or number == count - 1:
            for _ in range(number % 100 + 1):
                os.wait()


def passed_on(port, path):
    """A connection that a child process continues to use."""
    sock = socket.create_connection(("127.0.0.1", int(port)))
    stream = sock.makefile("rb")
    request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
    sock.sendall(request)
    answer(stream)
    child = os.fork()
    if child == 0:
        sock.sendall(request)
        answer(stream)
        os._exit(0)
    os.waitpid(child, 0)
    sock.close()


globals()[sys.argv[1]](*sys.argv[2:])
