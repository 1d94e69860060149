"""`calls.py WAY`: a request and its answer over one connection, both ends in this program, by system calls that few use. Prints the SHA-256 of both bodies."""

import ctypes
import hashlib
import select
import signal
import socket
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
MSG_ERRQUEUE = 0x2000
SO_TIMESTAMPING, SENT_AND_ACKED = 37, 1 << 1 | 1 << 4 | 1 << 9


class Buffer(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_len", ctypes.c_uint),
        ("buffers", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_len", ctypes.c_size_t),
        ("flags", ctypes.c_size_t),
        ("len", ctypes.c_uint),
    ]


# What the kernel is given the address of.
KEPT = []


def buffers(pieces):
    """A `struct iovec` for each, with room of its own."""
    room = [ctypes.create_string_buffer(piece, max(len(piece), 1)) for piece in pieces]
    made = (Buffer * len(pieces))(*[Buffer(ctypes.addressof(at), len(piece)) for at, piece in zip(room, pieces)])
    KEPT.extend((room, made))
    return made


def messages(lists):
    made = (Message * len(lists))()
    for message, pieces in zip(made, lists):
        message.buffers, message.count = ctypes.addressof(buffers(pieces)), len(pieces)
    return made


def noise(seed, size):
    return hashlib.shake_256(seed).digest(size)


ASKED, SAID = noise(b"asked", 5000), noise(b"said", 7000)
REQUEST = b"POST /way HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ASKED) + ASKED
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SAID) + SAID


def ask(sock):
    sock.sendall(REQUEST)


def serve(sock):
    read(sock, len(REQUEST))
    sock.sendall(ANSWER)


def read(sock, size):
    while size:
        size -= len(sock.recv(size))


def many_messages_sent(sock):
    lists = [[REQUEST[:10], REQUEST[10:50]], [b""], [b"", REQUEST[50:100]]]
    lists += [[REQUEST[at : at + 1100]] for at in range(100, len(REQUEST), 1100)]
    assert libc.sendmmsg(sock.fileno(), messages(lists), len(lists), 0) == len(lists)


def asked_slowly(sock):
    for piece in (REQUEST[:1000], REQUEST[1000:2500], REQUEST[2500:]):
        sock.sendall(piece)
        time.sleep(0.3)


def many_messages_received(sock):
    """Neither fills its buffers."""
    room = messages([[bytes(3000), bytes(1000)], [bytes(4000)]])
    assert libc.recvmmsg(sock.fileno(), room, 2, 0, None) == 2
    came = room[0].len + room[1].len
    assert room[0].len < 4000 and came < len(REQUEST)
    read(sock, len(REQUEST) - came)
    sock.sendall(ANSWER)


def positioned_sent(sock):
    pieces = buffers([REQUEST[:100], REQUEST[100:]])
    assert libc.pwritev2(sock.fileno(), pieces, 2, ctypes.c_long(-1), 0) == len(REQUEST)


def positioned_received(sock):
    room, left = buffers([bytes(1000), bytes(9000)]), len(REQUEST)
    while left:
        left -= libc.preadv2(sock.fileno(), room, 2, ctypes.c_long(-1), 0)
    sock.sendall(ANSWER)


def stamped(sock):
    """The kernel gives back what was sent, with the time at which it was."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SENT_AND_ACKED)
    sock.sendall(REQUEST)
    select.select([], [], [sock], 5)
    came = sock.recvmsg(65536, 1024, MSG_ERRQUEUE)[0]
    assert came.endswith(REQUEST)


WAYS = {
    "messages_sent": (many_messages_sent, serve),
    "messages_received": (asked_slowly, many_messages_received),
    "positioned": (positioned_sent, positioned_received),
    "stamped": (stamped, serve),
}


def refused_at_first():
    """A socket that was refused, and is used again."""
    listener = socket.create_server(("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as other:
        nobody = other.getsockname()
    sock = socket.socket()
    sock.setblocking(False)
    for address in (nobody, listener.getsockname(), listener.getsockname()):
        sock.connect_ex(address)
        select.select([], [sock], [], 5 if address != nobody else 0.3)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    sock.setblocking(True)
    return listener, sock


def main(way):
    if way == "refused_at_first":
        (listener, sock), (client, server) = refused_at_first(), (ask, serve)
    else:
        listener, (client, server) = socket.create_server(("127.0.0.1", 0)), WAYS[way]
        sock = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()

    def answer():
        server(accepted)
        accepted.close()

    thread = threading.Thread(target=answer)
    thread.start()
    client(sock)
    read(sock, len(ANSWER))
    thread.join()
    print(hashlib.sha256(ASKED).hexdigest(), hashlib.sha256(SAID).hexdigest(), *sock.getsockname())
    sock.close()


signal.alarm(30)
main(sys.argv[1])
