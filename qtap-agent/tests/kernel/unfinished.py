"""Uploads that do not end: on many connections to itself, a head and the first part of a longer body each. The first line on stdin is answered with `sent`
when all of that has arrived; the next with `ended`.
"""

import socket
import sys
import time

CONNECTIONS, BYTES = 60, 1_800_000
HEAD = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print("ready", flush=True)
    sys.stdin.readline()
    held = []
    for nth in range(CONNECTIONS):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        held += [client, server]
        for part in (HEAD % nth, *[b"a" * 60_000] * (BYTES // 60_000)):
            # No faster than the agent reads the ring: bytes lost there would not take memory.
            time.sleep(0.003)
            client.sendall(part)
            left = len(part)
            while left:
                left -= len(server.recv(left))
    print("sent", flush=True)
    sys.stdin.readline()
    print("ended", flush=True)


main()
