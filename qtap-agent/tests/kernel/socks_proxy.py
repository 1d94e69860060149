"""A SOCKS proxy (RFC 1928) without passwords, until it is killed: PORT."""

import socket
import sys
import threading


def pass_on(source, target):
    try:
        while octets := source.recv(65536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def exactly(source, count):
    octets = b""
    while len(octets) < count:
        more = source.recv(count - len(octets))
        if not more:
            raise SystemExit
        octets += more
    return octets


def serve(client):
    with client:
        exactly(client, exactly(client, 2)[1])
        client.sendall(b"\5\0")
        version, command, _, kind = exactly(client, 4)
        assert (version, command, kind) == (5, 1, 1), "an IPv4 address to connect to"
        address = socket.inet_ntoa(exactly(client, 4))
        port = int.from_bytes(exactly(client, 2), "big")
        with socket.create_connection((address, port)) as server:
            client.sendall(b"\5\0\0\1\0\0\0\0\0\0")
            up = threading.Thread(target=pass_on, args=(client, server))
            up.start()
            pass_on(server, client)
            up.join()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
