"""`calls.py WAY`: a request and its response over one connection, both ends in this program, with system calls that few programs use. Prints the SHA-256 of both bodies."""

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
IPPROTO_MPTCP, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE = 262, 30, 34


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


# Keeps alive the objects whose addresses the kernel has.
KEPT = []


def buffers(pieces):
    """A `struct iovec` for each piece, with its own buffer."""
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


def begun_in_messages(sock):
    """The small pieces contain the method."""
    lists = [[b""], [REQUEST[:1]], [REQUEST[1:3], REQUEST[3:5]]]
    assert libc.sendmmsg(sock.fileno(), messages(lists), len(lists), 0) == len(lists)
    sock.sendall(REQUEST[5:])


def begun_in_buffers(sock):
    pieces = [b"", REQUEST[:1], b"", REQUEST[1:2], b"", REQUEST[2:3], REQUEST[3:5]]
    assert libc.writev(sock.fileno(), buffers(pieces), len(pieces)) == 5
    sock.sendall(REQUEST[5:])


def asked_slowly(sock):
    for piece in (REQUEST[:1000], REQUEST[1000:2500], REQUEST[2500:]):
        sock.sendall(piece)
        time.sleep(0.3)


def many_messages_received(sock):
    """Neither message fills its buffers."""
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
    """The kernel returns the sent data to the sender, with a timestamp."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SENT_AND_ACKED)
    sock.sendall(REQUEST)
    select.select([], [], [sock], 5)
    came = sock.recvmsg(65536, 1024, MSG_ERRQUEUE)[0]
    assert came.endswith(REQUEST)


BY_FTP = REQUEST.replace(b"/way", b"ftp://x/way", 1)


def ask_by_ftp(sock):
    """As the client of an HTTP proxy requests a URL of another scheme."""
    sock.sendall(BY_FTP)


def serve_by_ftp(sock):
    read(sock, len(BY_FTP))
    sock.sendall(ANSWER)


WAYS = {
    "by_ftp": (ask_by_ftp, serve_by_ftp),
    "messages_sent": (many_messages_sent, serve),
    "begun_in_messages": (begun_in_messages, serve),
    "begun_in_buffers": (begun_in_buffers, serve),
    "messages_received": (asked_slowly, many_messages_received),
    "positioned": (positioned_sent, positioned_received),
    "stamped": (stamped, serve),
}


def refused_at_first():
    """A socket whose connection was refused, and that is used again."""
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


def several_paths(client, server):
    """MPTCP, at both ends or at one."""
    listener = socket.socket(proto=IPPROTO_MPTCP if server else 0)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    sock = socket.socket(proto=IPPROTO_MPTCP if client else 0)
    sock.connect(listener.getsockname())
    return listener, sock


def opened_by_the_first_word():
    """`connect` does nothing: the SYN leaves with the first bytes."""
    listener, sock = socket.create_server(("127.0.0.1", 0)), socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)
    sock.connect(listener.getsockname())
    return listener, sock


def connected():
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, socket.create_connection(listener.getsockname())


CONNECTED = {
    "refused_at_first": refused_at_first,
    "opened_by_the_first_word": opened_by_the_first_word,
    "paths_of_both": lambda: several_paths(True, True),
    "paths_of_the_client": lambda: several_paths(True, False),
    "paths_of_the_server": lambda: several_paths(False, True),
}


def main(way):
    listener, sock = CONNECTED.get(way, connected)()
    client, server = WAYS.get(way, (ask, serve))

    def answer():
        accepted, _ = listener.accept()
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
