"""A proxy that makes CONNECT tunnels, until it is killed: PORT."""

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


def tunnel(client):
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    host, port = head.split()[1].decode().rsplit(":", 1)
    with client, socket.create_connection((host, int(port))) as server:
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        up = threading.Thread(target=pass_on, args=(client, server))
        up.start()
        pass_on(server, client)
        up.join()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=tunnel, args=(listener.accept()[0],), daemon=True).start()
