"""Clients and servers that give OpenSSL memory instead of a socket: `memory_bio.py MODE ARGUMENTS...`."""
import asyncio
import os
import socket
import ssl
import sys
import threading
import time

SLOWNESS = int(os.environ.get("QTAP_TEST_SLOWNESS", "1"))  # factor for all waits: see `lab.rs`


def client_context(*alpn):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def server_context(folder):
    """The environment may name the key exchange group to require."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    if "GROUP" in os.environ:
        context.set_ecdh_curve(os.environ["GROUP"])
    return context


async def serve(folder, port):
    """aiohttp: returns the last part of the path, a little later, so that many requests are in progress at once."""
    from aiohttp import web

    async def echo(request):
        await asyncio.sleep(0.02)
        return web.Response(text=f"echo {request.match_info['id']} {await request.text()}")

    app = web.Application()
    app.router.add_route("*", "/echo/{id}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port), ssl_context=server_context(folder)).start()
    await asyncio.sleep(60 * SLOWNESS)


async def app(scope, receive, send):
    """The same, as an ASGI application."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    answer = f"echo {scope['path'].rsplit('/', 1)[1]} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": answer})


async def serve2(folder, port):
    """hypercorn: over HTTP/2 where the client wants it."""
    from hypercorn.asyncio import serve as run
    from hypercorn.config import Config

    config = Config()
    config.bind, config.certfile, config.keyfile = [f"127.0.0.1:{port}"], f"{folder}/cert.pem", f"{folder}/key.pem"
    config.keep_alive_timeout = 5 * SLOWNESS
    await run(app, config)


def by_uvicorn(loop, folder, port):
    """uvicorn, on asyncio's event loop or uvloop's."""
    import uvicorn

    files = {"ssl_certfile": f"{folder}/cert.pem", "ssl_keyfile": f"{folder}/key.pem"}
    uvicorn.run(app, host="127.0.0.1", port=int(port), loop=loop, log_level="error", timeout_keep_alive=5 * SLOWNESS, **files)


async def raw(port, name, version=None):
    """asyncio's own streams."""
    context = client_context()
    if version == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port), ssl=context)
    writer.write(f"GET /echo/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    assert f"echo {name} ".encode() in answer, answer
    writer.close()
    await writer.wait_closed()


async def many(*ports):
    """aiohttp: twenty connections at once, alternating between the ports: `/echo/PORT-NUMBER`."""
    import aiohttp

    async def one(session, number):
        port = ports[number % len(ports)]
        for turn in range(3):
            name = f"{port}-{number}-{turn}"
            async with session.post(f"https://127.0.0.1:{port}/echo/{name}", data=f"said {name}") as answer:
                assert await answer.text() == f"echo {name} said {name}"

    connector = aiohttp.TCPConnector(limit=0, ssl=client_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(one(session, number) for number in range(20)))
    await asyncio.sleep(0.3)


async def by_httpx(port, version):
    """httpx.AsyncClient, over HTTP/1.1 or HTTP/2."""
    import httpx

    async with httpx.AsyncClient(verify=client_context(), http2=version == "2") as client:
        names = [f"{port}-{version}-{number}" for number in range(5)]
        answers = await asyncio.gather(
            *(client.post(f"https://127.0.0.1:{port}/echo/{name}", content=f"said {name}") for name in names)
        )
        for name, answer in zip(names, answers):
            assert answer.text == f"echo {name} said {name}"
            assert answer.http_version == ("HTTP/2" if version == "2" else "HTTP/1.1"), answer.http_version


def relay(port, name):
    """One session whose records pass through two pairs of sockets of this process: which pair is the session's can't be determined."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on():
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", int(port)))
        copy = lambda source, target: [target.sendall(part) for part in iter(lambda: source.recv(65536), b"")]
        threading.Thread(target=copy, args=(near, far), daemon=True).start()
        copy(far, near)

    threading.Thread(target=pass_on, daemon=True).start()
    asyncio.run(raw(listener.getsockname()[1], name))


def threads(port, name):
    """A session used by two threads in turn, with a third thread that handles its socket."""
    connection = socket.create_connection(("127.0.0.1", int(port)))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client_context().wrap_bio(incoming, outgoing)

    def on_a_thread(call):
        answer = []
        thread = threading.Thread(target=lambda: answer.append(call()))
        thread.start()
        thread.join()
        return answer[0]

    def attempt(call):
        try:
            return call()
        except ssl.SSLWantReadError:
            return "wants"

    def drive(call):
        while (answer := on_a_thread(lambda: attempt(call))) == "wants":
            on_a_thread(lambda: connection.sendall(outgoing.read()))
            incoming.write(on_a_thread(lambda: connection.recv(65536)))
        on_a_thread(lambda: connection.sendall(outgoing.read()))
        return answer

    drive(session.do_handshake)
    request = f"GET /echo/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    drive(lambda: session.write(request))
    answer = b""
    while f"echo {name} ".encode() not in answer:
        answer += drive(lambda: session.read(65536))
    connection.close()


def both_kinds(port):
    """Sessions over sockets and over memory, alternating in one process and at the same time."""
    import urllib.request

    def over_a_socket(number):
        name = f"{port}-socket-{number}"
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/echo/{name}", context=client_context()) as answer:
            assert answer.read().startswith(f"echo {name} ".encode())

    async def run():
        over_memory = [raw(port, f"{port}-memory-{number}") for number in range(5)]
        await asyncio.gather(*over_memory, *(asyncio.to_thread(over_a_socket, number) for number in range(5)))

    asyncio.run(run())


def wait_for(port):
    for _ in range(200 * SLOWNESS):
        try:
            socket.create_connection(("127.0.0.1", int(port))).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit(f"nobody answers at {port}")


def kept(port):
    """Opens a connection, reports that it is open, and sends a request for each line of input."""

    async def run():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port), ssl=client_context())
        print("connected", flush=True)
        for line in sys.stdin:
            name = line.strip()
            writer.write(f"GET /echo/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            answer = await reader.readuntil(f"echo {name} ".encode())
            print(answer.split(b"\r\n")[0].decode(), flush=True)

    asyncio.run(run())


MODES = {
    "serve": lambda *rest: asyncio.run(serve(*rest)),
    "serve2": lambda *rest: asyncio.run(serve2(*rest)),
    "uvicorn": by_uvicorn,
    "raw": lambda *rest: asyncio.run(raw(*rest)),
    "many": lambda *rest: asyncio.run(many(*rest)),
    "httpx": lambda *rest: asyncio.run(by_httpx(*rest)),
    "relay": relay,
    "threads": threads,
    "both": both_kinds,
    "wait": wait_for,
    "kept": kept,
}

MODES[sys.argv[1]](*sys.argv[2:])
