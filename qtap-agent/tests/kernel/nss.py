"""Talks over NSS: as curl does, with libcurl (`curl VERSION PLAN`), and with NSS's own functions (`client PORT`, `other PORT`, `server PORT DATABASE`)."""

import ctypes
import struct
import sys
from ctypes import byref, c_char_p, c_int, c_long, c_longlong, c_size_t, c_uint, c_void_p, create_string_buffer

TOP = -2
PEEK = 2
FOREVER = 0xFFFFFFFF
TRUSTS = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int)(lambda *_: 0)


def by_curl(version, plan):
    """Each line of the plan: `GET URL` or `PUT URL FILE`."""
    lib = ctypes.CDLL("libcurl-nss.so.4")
    lib.curl_easy_init.restype = c_void_p
    lib.curl_global_init(c_long(3))
    curl = c_void_p(lib.curl_easy_init())
    moves = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_size_t, c_size_t, c_void_p)
    file = None

    def gives(buffer, size, count, _):
        data = file.read(size * count)
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    keep = [moves(lambda _buffer, size, count, _: size * count), moves(gives)]

    def sets(option, value):
        assert lib.curl_easy_setopt(curl, c_int(option), value) == 0, option

    sets(20011, keep[0])  # WRITEFUNCTION
    sets(20012, keep[1])  # READFUNCTION
    sets(64, c_long(0))  # SSL_VERIFYPEER
    sets(81, c_long(0))  # SSL_VERIFYHOST
    sets(84, c_long({"1.1": 2, "2": 4}[version]))  # HTTP_VERSION
    sets(45, c_long(1))  # FAILONERROR
    for line in open(plan):
        _, url, *put = line.split()
        sets(10002, c_char_p(url.encode()))
        sets(46, c_long(len(put)))  # UPLOAD
        if put:
            data = open(put[0], "rb").read()
            sets(30115, c_longlong(len(data)))  # INFILESIZE_LARGE
            file = open(put[0], "rb")
        else:
            sets(80, c_long(1))  # HTTPGET
        result = lib.curl_easy_perform(curl)
        assert result == 0, (url, result)
        port = c_long(0)
        lib.curl_easy_getinfo(curl, c_int(0x200000 + 42), byref(port))  # LOCAL_PORT
        print(url, port.value, flush=True)
    lib.curl_easy_cleanup(curl)


class Vector(ctypes.Structure):
    _fields_ = [("base", c_char_p), ("len", c_int)]


class Nss:
    """The libraries, and what clients and servers share."""

    def __init__(self, database):
        self.nspr = ctypes.CDLL("libnspr4.so")
        self.nss = ctypes.CDLL("libnss3.so")
        self.ssl = ctypes.CDLL("libssl3.so")
        for lib, names in [
            (self.nspr, ["PR_NewTCPSocket", "PR_CreateIOLayerStub", "PR_GetDefaultIOMethods", "PR_Accept", "PR_Open"]),
            (self.nss, ["PK11_FindCertFromNickname", "PK11_FindKeyByAnyCert"]),
            (self.ssl, ["SSL_ImportFD"]),
        ]:
            for name in names:
                getattr(lib, name).restype = c_void_p
        if database:
            self.must(self.nss.NSS_Init(database.encode()))
        else:
            self.must(self.nss.NSS_NoDB_Init(None))
        self.must(self.ssl.NSS_SetDomesticPolicy())

    def must(self, result):
        assert result == 0, self.nspr.PR_GetError()

    @staticmethod
    def address(port):
        return create_string_buffer(struct.pack("=H", 2) + struct.pack("!H4s", port, b"\x7f\0\0\1"), 128)

    def layer(self, fd):
        """Adds a layer on top that passes everything through: the descriptor that was on top then belongs to another layer."""
        identity = self.nspr.PR_GetUniqueIdentity(b"above")
        methods = c_void_p(self.nspr.PR_GetDefaultIOMethods())
        layer = c_void_p(self.nspr.PR_CreateIOLayerStub(c_int(identity), methods))
        self.must(self.nspr.PR_PushIOLayer(fd, c_int(TOP), layer))

    def connected(self, model, port, layers=0):
        fd = c_void_p(self.ssl.SSL_ImportFD(model, c_void_p(self.nspr.PR_NewTCPSocket())))
        self.must(self.ssl.SSL_AuthCertificateHook(fd, TRUSTS, None))
        self.must(self.ssl.SSL_SetURL(fd, b"localhost"))
        for _ in range(layers):
            self.layer(fd)
        self.must(self.nspr.PR_Connect(fd, self.address(port), c_uint(FOREVER)))
        self.must(self.ssl.SSL_ResetHandshake(fd, c_int(0)))
        return fd

    def write(self, fd, data):
        assert self.nspr.PR_Write(fd, data, c_int(len(data))) == len(data), self.nspr.PR_GetError()

    def recv(self, fd, size, flags=0):
        buffer = create_string_buffer(size)
        count = self.nspr.PR_Recv(fd, buffer, c_int(size), c_int(flags), c_uint(FOREVER))
        assert count >= 0, self.nspr.PR_GetError()
        return buffer.raw[:count]


def client(port):
    """Requests made differently than curl does: in parts, from several buffers, peeking at responses before reading them, with layers above; also files, and an unused session."""
    nss = Nss(None)
    unused = c_void_p(nss.ssl.SSL_ImportFD(None, c_void_p(nss.nspr.PR_NewTCPSocket())))
    for name, layers in [("plain", 0), ("layered", 1)]:
        fd = nss.connected(unused, port, layers)
        if not layers:
            nss.must(nss.ssl.SSL_ForceHandshake(fd))
        for turn in range(3):
            file = c_void_p(nss.nspr.PR_Open(__file__.encode(), c_int(1), c_int(0)))
            buffer = create_string_buffer(1000)
            assert nss.nspr.PR_Read(file, buffer, c_int(1000)) == 1000
            nss.nspr.PR_Close(file)
            parts = [f"GET /seen/a.bin?{name}-{turn} HTTP/1.1\r\nHost: loc".encode(), b"alhost\r\n", b"\r\n"]
            if turn == 0:
                vectors = (Vector * 3)(*[Vector(part, len(part)) for part in parts])
                assert nss.nspr.PR_Writev(fd, vectors, c_int(3), c_uint(FOREVER)) == sum(map(len, parts))
            else:
                for part in parts:
                    nss.write(fd, part)
            answer = nss.recv(fd, 300, PEEK)
            assert answer and nss.recv(fd, 20, PEEK) == answer[:20]
            said = b""
            while b"\r\n\r\n" not in said:
                said += nss.recv(fd, 7)
            head, body = said.split(b"\r\n\r\n")
            left = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")) - len(body)
            while left > 0:
                buffer = create_string_buffer(50000)
                count = nss.nspr.PR_Read(fd, buffer, c_int(min(left, 50000)))
                assert count > 0
                left -= count
        nss.must(nss.nspr.PR_Close(fd))
    nss.must(nss.nspr.PR_Close(unused))


def other(port):
    """Another protocol, followed by what looks like HTTP."""
    nss = Nss(None)
    fd = nss.connected(None, port)
    for data in [b"\1\2 something else\n" * 20, b"GET /not-asked HTTP/1.1\r\nHost: localhost\r\n\r\n"]:
        nss.write(fd, data)
    nss.must(nss.nspr.PR_Close(fd))


def server(port, database):
    """Answers on sessions that NSS itself creates for connections accepted on a TLS socket, until /end is requested."""
    nss = Nss(database)
    listens = c_void_p(nss.ssl.SSL_ImportFD(None, c_void_p(nss.nspr.PR_NewTCPSocket())))
    certificate = c_void_p(nss.nss.PK11_FindCertFromNickname(b"server", None))
    key = c_void_p(nss.nss.PK11_FindKeyByAnyCert(certificate, None))
    nss.must(nss.ssl.SSL_ConfigServerSessionIDCache(c_int(0), c_uint(0), c_uint(0), None))
    nss.must(nss.ssl.SSL_ConfigServerCert(listens, certificate, key, None, c_uint(0)))
    nss.must(nss.nspr.PR_Bind(listens, nss.address(port)))
    nss.must(nss.nspr.PR_Listen(listens, c_int(5)))
    print("listens", flush=True)
    ends = False
    while not ends:
        fd = c_void_p(nss.nspr.PR_Accept(listens, None, c_uint(FOREVER)))
        nss.must(nss.ssl.SSL_ResetHandshake(fd, c_int(1)))
        said = b""
        while b"\r\n\r\n" not in said:
            more = nss.recv(fd, 1000)
            if not more:
                break
            said += more
        ends = b" /end" in said
        body = bytes(range(256)) * 400
        for part in [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body), body]:
            assert nss.nspr.PR_Send(fd, part, c_int(len(part)), c_int(0), c_uint(FOREVER)) == len(part)
        nss.nspr.PR_Close(fd)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["curl", version, plan]:
            by_curl(version, plan)
        case ["client", port]:
            client(int(port))
        case ["other", port]:
            other(int(port))
        case ["server", port, database]:
            server(int(port), database)
