"""Programs that a probe may break: `harm.py WHAT ARGUMENT...`. Each prints what it came to, a digest of all it received, and is the same watched or not.

    seccomp PORT TIMES       asks under a filter that kills at any system call it has no need of
    traced PORT TIMES        asks while another process stops it at every system call
    exec PORT TIMES          asks once, and becomes itself again
    fork TIMES CERT KEY      a server that forks when the handshake is over, and its client
"""

import ctypes
import hashlib
import http.client
import os
import signal
import socket
import ssl
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)

# What a conversation under way needs, as x86-64 numbers it: read, write, close, poll, mmap, mprotect, munmap, brk, rt_sigreturn, mremap, madvise, sendto, recvfrom,
# futex, clock_gettime, exit_group, getrandom.
NEEDED = (0, 1, 3, 7, 9, 10, 11, 12, 15, 25, 28, 44, 45, 202, 228, 231, 318)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW = 0x80000000, 0x7FFF0000
AUDIT_ARCH_X86_64 = 0xC000003E
PTRACE_TRACEME, PTRACE_SYSCALL, PTRACE_SETOPTIONS, PTRACE_O_EXITKILL = 0, 24, 0x4200, 0x100000


def connect(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=context, timeout=60)
    connection.connect()
    return connection


def ask(connection, nth):
    connection.request("GET", "/harm?%d" % nth)
    return connection.getresponse().read()


def ask_often(connection, times):
    whole = hashlib.sha256()
    for nth in range(int(times)):
        whole.update(ask(connection, nth))
    return whole.hexdigest()


def filter_calls():
    def statement(code, value, yes=0, no=0):
        return struct.pack("HBBI", code, yes, no, value)

    load, equals, answer = 0x20, 0x15, 0x06
    left = len(NEEDED)
    program = [statement(load, 4), statement(equals, AUDIT_ARCH_X86_64, 0, left + 1), statement(load, 0)]
    program += [statement(equals, number, left - at) for at, number in enumerate(NEEDED)]
    program += [statement(answer, SECCOMP_RET_KILL_PROCESS), statement(answer, SECCOMP_RET_ALLOW)]
    octets = ctypes.create_string_buffer(b"".join(program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(octets)))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def say_and_end(text):
    os.write(1, (text + "\n").encode())
    os._exit(0)


def seccomp(port, times):
    connection = connect(port)
    ask(connection, int(times))
    filter_calls()
    say_and_end(ask_often(connection, times))


def traced(port, times):
    trace(lambda: ask_often(connect(port), times))


def trace(work):
    """Says what the work comes to, in a child that is stopped at each system call."""
    child = os.fork()
    if child == 0:
        LIBC.ptrace(PTRACE_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        say_and_end(work())
    os.waitpid(child, 0)
    LIBC.ptrace(PTRACE_SETOPTIONS, child, None, ctypes.c_void_p(PTRACE_O_EXITKILL))
    deliver = 0
    while True:
        LIBC.ptrace(PTRACE_SYSCALL, child, None, ctypes.c_void_p(deliver))
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        number = os.WSTOPSIG(status)
        deliver = 0 if number == signal.SIGTRAP else number


def again(port, times, nth="0", before=""):
    received = ask(connect(port), int(nth))
    before = hashlib.sha256(before.encode() + received).hexdigest()
    if int(nth) + 1 == int(times):
        say_and_end(before)
    os.execv(sys.executable, [sys.executable, __file__, "exec", port, times, str(int(nth) + 1), before])


def ask_anew(port, times):
    whole = hashlib.sha256()
    for nth in range(times):
        connection = connect(port)
        whole.update(ask(connection, nth))
        connection.close()
    say_and_end(whole.hexdigest())


def answer(session):
    request = b""
    while b"\r\n\r\n" not in request:
        request += session.recv(4096)
    line = request.split(b"\r\n")[0]
    session.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(line), line))
    session.unwrap()
    os._exit(0)


def fork(times, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    client = os.fork()
    if client == 0:
        ask_anew(listener.getsockname()[1], int(times))
    for _ in range(int(times)):
        session = context.wrap_socket(listener.accept()[0], server_side=True, suppress_ragged_eofs=True)
        child = os.fork()
        if child == 0:
            answer(session)
        session.close()
        os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(client, 0)[1]))


if __name__ == "__main__":
    {"seccomp": seccomp, "traced": traced, "exec": again, "fork": fork}[sys.argv[1]](*sys.argv[2:])
