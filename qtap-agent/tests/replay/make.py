#!/usr/bin/env python3
"""Makes the recordings of this directory again: real programs talk, qtap records them, and what names this machine is taken out.

    sudo make.py [--qtap PATH] [CASE...]

Needs root, curl, wget, nginx, nghttp and nghttpd (nghttp2), openssl, and python3 with requests. All talk stays on loopback, on
the ports below, and in DIR, which is removed at the end. Afterwards write the expected records (README.md) and read them.
"""

import argparse, json, os, re, shutil, signal, socket, ssl, struct, subprocess, sys, threading, time, zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
DIR = Path("/tmp/qtap-fixtures")
HTTP, HTTPS, UPSTREAM, RAW, NGHTTPD, OPENSSL = PORTS = range(28480, 28486)
UNIX = DIR / "http.sock"
LARGE = 200_000
CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


# --- what talks back -------------------------------------------------------------------------------------------------------

def serve(talk, port=RAW, family=socket.AF_INET):
    """Accepts one connection and lets `talk` answer on it."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()

    def run():
        connection, _ = listener.accept()
        listener.close()
        with connection:
            talk(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            break
        head += piece
    return head


def upstream():
    """Answers every POST with the number of bytes it got, every GET with its path."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = sys_version = "upstream"

        def do_POST(self):
            got = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.answer(json.dumps({"got": got}).encode())

        def do_GET(self):
            self.answer(self.path.encode())

        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if body.startswith(b"{") else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", UPSTREAM), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()


NGINX = f"""
worker_processes 1; daemon off; pid {DIR}/nginx.pid; error_log stderr error;
events {{ worker_connections 64; }}
http {{
  access_log off; server_tokens off; etag off; gzip on; gzip_min_length 100; gzip_types text/plain application/json;
  client_body_temp_path {DIR}; proxy_temp_path {DIR}; fastcgi_temp_path {DIR}; uwsgi_temp_path {DIR}; scgi_temp_path {DIR};
  types {{ text/plain txt; application/json json; application/octet-stream bin; }}
  server {{
    listen 127.0.0.1:{HTTP}; listen [::1]:{HTTP}; listen unix:{UNIX};
    listen 127.0.0.1:{HTTPS} ssl http2; listen [::1]:{HTTPS} ssl http2;
    ssl_certificate {DIR}/cert.pem; ssl_certificate_key {DIR}/key.pem; root {DIR}/www;
    location /up/ {{ proxy_pass http://127.0.0.1:{UPSTREAM}; }}
    location /missing {{ return 404 "nothing here\\n"; }}
  }}
}}
"""


def prepare():
    shutil.rmtree(DIR, ignore_errors=True)
    (DIR / "www").mkdir(parents=True)
    os.chmod(DIR, 0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", DIR / "key.pem", "-out", DIR / "cert.pem"],
                   check=True, capture_output=True)
    www = DIR / "www"
    (www / "hello.txt").write_text("hello, world\n")
    for name in "abcde":
        (www / f"{name}.txt").write_text(name * 100 + "\n")
    (www / "list.json").write_text(json.dumps([{"number": n, "name": f"entry {n}"} for n in range(100)]))
    (www / "large.bin").write_bytes(large())
    (DIR / "post.json").write_text(json.dumps({"name": "Ada", "list": list(range(300))}))
    (DIR / "large.bin").write_bytes(large())
    (DIR / "nginx.conf").write_text(NGINX)


def large():
    """Bytes that repeat late, so that a piece out of its place shows."""
    return b"".join(b"%07d\n" % number for number in range(LARGE // 8))


# --- recording -------------------------------------------------------------------------------------------------------------

def execute(name, *command, ok=True, **options):
    """Records a command from its first byte to its end."""
    done = subprocess.run([QTAP, "record", "-o", recording(name), "--", *map(str, command)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, cwd=DIR, **options)
    if ok and done.returncode != 0:
        sys.exit(f"{name}: {command} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


class Watched:
    """Records a process that runs already, and its children."""

    def __init__(self, name, pid):
        self.qtap = subprocess.Popen([QTAP, "--log-level", "info", "record", "-o", recording(name), "--pid", str(pid)],
                                     stderr=subprocess.PIPE)

    def __enter__(self):
        while b"recording" not in self.qtap.stderr.readline():
            if self.qtap.poll() is not None:
                sys.exit("qtap record ended")
        return self

    def __exit__(self, *_):
        time.sleep(0.3)
        self.qtap.terminate()
        self.qtap.wait(20)


def recording(name):
    (HERE / name).mkdir(exist_ok=True)
    return HERE / name / "recording.qtap"


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "-k", *map(str, arguments)], check=True, capture_output=True, cwd=DIR).stdout


def python(name, code, *arguments, **options):
    (DIR / f"{name}.py").write_text(code)
    return execute(name, sys.executable, DIR / f"{name}.py", *arguments, **options)


# --- the cases -------------------------------------------------------------------------------------------------------------

@case
def h1_plain(name):
    assert execute(name, "curl", "-sS", f"http://127.0.0.1:{HTTP}/hello.txt?q=1") == b"hello, world\n"

@case
def h1_keep_alive(name):
    execute(name, "curl", "-sS", *(f"http://127.0.0.1:{HTTP}/{path}" for path in ["a.txt", "missing", "b.txt"]))

@case
def h1_tls(name):
    assert execute(name, "curl", "-sS", "-k", "--http1.1", f"https://localhost:{HTTPS}/hello.txt") == b"hello, world\n"

@case
def h1_tls_server(name):
    with Watched(name, NGINX_PID):
        curl("--http1.1", f"https://localhost:{HTTPS}/hello.txt", f"https://localhost:{HTTPS}/list.json")

@case
def h1_post(name):
    execute(name, "curl", "-sS", "-H", "Content-Type: application/json", "--data-binary", "@post.json",
            f"http://127.0.0.1:{UPSTREAM}/up/post")

@case
def h1_head(name):
    execute(name, "curl", "-sS", "-I", f"http://127.0.0.1:{HTTP}/large.bin", f"http://127.0.0.1:{HTTP}/a.txt")

@case
def h1_ipv6(name):
    execute(name, "curl", "-sS", f"http://[::1]:{HTTP}/hello.txt")

@case
def h1_unix(name):
    execute(name, "curl", "-sS", "--unix-socket", UNIX, "http://localhost/hello.txt")

@case
def h1_gzip(name):
    execute(name, "curl", "-sS", "--compressed", f"http://127.0.0.1:{HTTP}/list.json")

@case
def h1_large(name):
    assert execute(name, "curl", "-sS", f"http://127.0.0.1:{HTTP}/large.bin") == large()

@case
def h1_continue(name):
    def talk(connection):
        head = read_head(connection)
        assert head.endswith(b"\r\n\r\n"), head
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 201 Created\r\nLocation: /things/7\r\nContent-Length: 0\r\n\r\n")
    serve(talk)
    execute(name, "curl", "-sS", "-H", "Expect: 100-continue", "-d", "thing=seven", f"http://127.0.0.1:{RAW}/things")

@case
def h1_chunked_trailers(name):
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\nConnection: close\r\n\r\n")
        for piece in [b"5\r\nhello\r\n", b"7;note=x\r\n, world\r\n", b"0\r\nDigest: none\r\n\r\n"]:
            time.sleep(0.02)
            connection.sendall(piece)
    serve(talk)
    assert execute(name, "curl", "-sS", f"http://127.0.0.1:{RAW}/chunked") == b"hello, world"

@case
def h1_read_until_close(name):
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nas long as it is open")
    serve(talk)
    execute(name, "curl", "-sS", f"http://127.0.0.1:{RAW}/old")

@case
def h1_cut_off(name):
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
    serve(talk)
    execute(name, "curl", "-sS", f"http://127.0.0.1:{RAW}/cut", ok=False)

@case
def h1_no_answer(name):
    serve(lambda connection: read_head(connection))
    execute(name, "curl", "-sS", f"http://127.0.0.1:{RAW}/never", ok=False)

@case
def h1_upgrade(name):
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        connection.sendall(b"you said: " + connection.recv(100))
    serve(talk)
    python(name, f"""
import socket
with socket.create_connection(("127.0.0.1", {RAW})) as s:
    s.sendall(b"GET /echo HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
    assert b"101" in s.recv(1000)
    s.sendall(b"not HTTP any more")
    while s.recv(1000): pass
""")

@case
def h1_pipelined(name):
    python(name, f"""
import socket
with socket.create_connection(("127.0.0.1", {HTTP})) as s:
    s.sendall(b"".join(b"GET /%s.txt HTTP/1.1\\r\\nHost: localhost\\r\\n%s\\r\\n"
                       % (name, b"Connection: close\\r\\n" if name == b"e" else b"") for name in [b"a", b"missing", b"c", b"d", b"e"]))
    while s.recv(65536): pass
""")

@case
def h1_joined_late(name):
    """The client made a request before qtap looked, and makes two more."""
    code = f"""
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", {HTTP})
for path in ["/a.txt", "/b.txt", "/c.txt"]:
    c.request("GET", path); c.getresponse().read(); print(path, flush=True); sys.stdin.readline()
c.close(); sys.stdin.readline()
"""
    (DIR / f"{name}.py").write_text(code)
    client = subprocess.Popen([sys.executable, DIR / f"{name}.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "/a.txt\n"
    with Watched(name, client.pid):
        for _ in range(3):
            client.stdin.write("\n")
            client.stdin.flush()
            client.stdout.readline() if client.poll() is None and _ < 2 else time.sleep(0.2)
    client.stdin.close()
    client.wait()

@case
def h1_tls_joined_late(name):
    """The same inside TLS, seen from nginx: the session was there before the probes."""
    context = ssl._create_unverified_context()
    import http.client
    client = http.client.HTTPSConnection("127.0.0.1", HTTPS, context=context)
    def get(path):
        client.request("GET", path)
        client.getresponse().read()
    get("/a.txt")
    with Watched(name, NGINX_PID):
        get("/b.txt")
        get("/c.txt")
        client.close()

@case
def h1_proxy(name):
    """nginx between a client and an upstream: two connections of one process."""
    with Watched(name, NGINX_PID):
        curl("--http1.1", "-d", "a=1", f"https://localhost:{HTTPS}/up/form")

@case
def h1_both_ends(name):
    """Client and server are both looked at: each has its own end of the connection."""
    code = f"""
import http.server, threading, urllib.request
class Answer(http.server.BaseHTTPRequestHandler):
    server_version = sys_version = "own"
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "3"); self.end_headers(); self.wfile.write(b"own")
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", {RAW}), Answer).handle_request()
"""
    (DIR / "own.py").write_text(code)
    execute(name, "sh", "-c", f"{sys.executable} {DIR}/own.py & sleep 0.3; curl -sS http://127.0.0.1:{RAW}/own; wait")

@case
def h1_python_requests(name):
    python(name, f"""
import requests, urllib3
urllib3.disable_warnings()
with requests.Session() as s:
    for n in range(3):
        s.get("https://localhost:{HTTPS}/up/item", params={{"n": n}}, verify=False).raise_for_status()
    s.post("https://localhost:{HTTPS}/up/items", json={{"n": 3}}, verify=False, headers={{"Authorization": "Bearer not-a-secret"}})
""")

@case
def h1_python_asyncio(name):
    """asyncio keeps TLS in memory: no call of the library touches a socket; its handshake tells which is its."""
    python(name, f"""
import asyncio, ssl
async def main():
    r, w = await asyncio.open_connection("localhost", {HTTPS}, ssl=ssl._create_unverified_context())
    w.write(b"GET /hello.txt HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    assert b"hello, world" in await r.read()
    w.close()
asyncio.run(main())
""")

@case
def h2_tls(name):
    execute(name, "curl", "-sS", "-k", "--http2", f"https://localhost:{HTTPS}/hello.txt")

@case
def h2_tls_post(name):
    execute(name, "curl", "-sS", "-k", "--http2", "--data-binary", "@large.bin", "-H", "Content-Type: application/octet-stream",
            f"https://localhost:{HTTPS}/up/large")

@case
def h2_tls_streams(name):
    """Five streams at once, with the same fields: all but the first are a few bytes of HPACK."""
    execute(name, "nghttp", "-n", *(f"https://localhost:{HTTPS}/{path}" for path in
            ["a.txt", "b.txt", "list.json", "missing", "a.txt?again"]))

@case
def h2_tls_server(name):
    with Watched(name, NGINX_PID):
        curl("--http2", f"https://localhost:{HTTPS}/hello.txt", f"https://localhost:{HTTPS}/list.json")

@case
def h2_prior_knowledge(name):
    """nghttp and nghttpd without TLS; padding, and trailers on the answer."""
    server = subprocess.Popen(["nghttpd", "--no-tls", "-b", "16", "--trailer", "x-checksum: none", "-d", DIR / "www",
                               "-a", "127.0.0.1", str(NGHTTPD)], stdout=subprocess.DEVNULL)
    try:
        wait_for(NGHTTPD)
        execute(name, "nghttp", "-n", "-b", "8", f"http://127.0.0.1:{NGHTTPD}/a.txt", f"http://127.0.0.1:{NGHTTPD}/b.txt")
    finally:
        server.terminate()

@case
def tls_unseen(name):
    """wget speaks TLS with a library that is not probed."""
    execute(name, "wget", "-q", "-O", "-", "--no-check-certificate", f"https://localhost:{HTTPS}/hello.txt")

@case
def tls_not_http(name):
    """Random bytes inside TLS."""
    server = subprocess.Popen(["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{OPENSSL}", "-cert", DIR / "cert.pem",
                               "-key", DIR / "key.pem", "-naccept", "2"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(OPENSSL)
        python(name, f"""
import random, socket, ssl
random.seed(1)
with ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", {OPENSSL}))) as s:
    for _ in range(10): s.sendall(random.randbytes(200))
""")
    finally:
        server.kill()

@case
def not_http(name):
    """Random bytes both ways, on a socket."""
    def talk(connection):
        import random
        source = random.Random(2)
        for _ in range(10):
            connection.sendall(source.randbytes(300))
            connection.recv(4096)
    serve(talk)
    python(name, f"""
import random, socket
random.seed(3)
with socket.create_connection(("127.0.0.1", {RAW})) as s:
    for _ in range(10): s.sendall(random.randbytes(500)); s.recv(4096)
""")


def wait_for(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nobody listens on port {port}")


# --- taking out what names this machine ------------------------------------------------------------------------------------

EXEC, MAPPED = 1, 12
HOME = re.compile(r"(?:/root|/home/[^/ ]+|/opt|/usr/local)[^ ]*/(?=[^/ ]+)")


def neutral(text):
    """A program in somebody's home is called as if it were in /usr/bin."""
    return HOME.sub("/usr/bin/", text)


def scrub(path):
    """Rewrites the facts about host and processes, and the kernel's words at exec; drops what names devices and inodes."""
    data = path.read_bytes()
    out, at = bytearray(data[:20]), 20
    while at < len(data):
        kind, length, _ = struct.unpack_from("<III", data, at)
        content = data[at + 12:at + 12 + length]
        at += 12 + length
        content = scrub_fact(content) if kind == 2 else scrub_record(content)
        if content is None:
            continue
        head = struct.pack("<II", kind, len(content))
        out += head + struct.pack("<I", zlib.crc32(head + content)) + content
    path.write_bytes(out)


def scrub_fact(content):
    fact = json.loads(content)
    if "started" in fact:
        fact["started"] = {"name": "host", "id": "0" * 32, "boot_id": "00000000-0000-0000-0000-000000000000", "os_type": "linux",
                           "kernel": "6.12.0", "clock": {"boot_unix_ns": 1_767_225_600_000_000_000}}
    elif "process" in fact:
        process = fact["process"]
        for key in ["executable_path", "command"]:
            process[key] = neutral(process[key])
        process["container"] = process["pod"] = None
    return json.dumps(fact, separators=(",", ":")).encode()


def scrub_record(content):
    if content[28] == MAPPED:
        return None
    if content[28] != EXEC:
        return content
    name_len, args_len = struct.unpack_from("<II", content, 40)
    name = neutral(content[48:48 + name_len].decode()).encode()
    args = b"\0".join(neutral(word).encode() for word in content[48 + name_len:].decode().split("\0"))
    whole = bytearray(content[:48]) + name + args
    struct.pack_into("<I", whole, 24, len(whole))
    struct.pack_into("<II", whole, 40, len(name), len(args))
    return bytes(whole)


# --- all of it -------------------------------------------------------------------------------------------------------------

def main():
    global QTAP, NGINX_PID
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qtap", default=HERE.parents[2] / "target/debug/qtap", type=Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    arguments = parser.parse_args()
    QTAP = arguments.qtap.resolve()
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"port {port} is taken")
    prepare()
    upstream()
    nginx = subprocess.Popen(["nginx", "-e", "stderr", "-p", DIR, "-c", DIR / "nginx.conf"])
    NGINX_PID = nginx.pid
    try:
        wait_for(HTTP)
        wait_for(UPSTREAM)
        for name in arguments.cases or CASES:
            CASES[name](name)
            scrub(recording(name))
            print(f"{name}: {recording(name).stat().st_size} bytes", flush=True)
    finally:
        nginx.send_signal(signal.SIGQUIT)
        nginx.wait(10)
        shutil.rmtree(DIR, ignore_errors=True)


if __name__ == "__main__":
    main()
