"""HTTPS with Python's libraries: `talk.py ask LIBRARY VERSION PLAN`, `talk.py serve LIBRARY FOLDER PORT`.

A plan has a line for each request: `GET URL` or `PUT URL FILE`. A server answers GET with a file of its folder, and accepts PUT.
"""

import asyncio
import pathlib
import ssl
import sys
import urllib.parse

FOLDER = pathlib.Path(".")


def plan(path):
    for line in pathlib.Path(path).read_text().splitlines():
        method, url, *file = line.split(" ")
        yield method, url, pathlib.Path(file[0]).read_bytes() if file else None


def trusting():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def by_http_client(version, asks):
    import http.client

    connection = None
    for method, url, body in asks:
        parts = urllib.parse.urlsplit(url)
        connection = connection or http.client.HTTPSConnection(parts.netloc, context=trusting())
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 300, answer.status
    connection.close()


def by_requests(version, asks):
    import requests
    import urllib3

    urllib3.disable_warnings()
    with requests.Session() as session:
        for method, url, body in asks:
            session.request(method, url, data=body, verify=False).raise_for_status()


def by_pyOpenSSL(version, asks):
    import urllib3.contrib.pyopenssl

    urllib3.contrib.pyopenssl.inject_into_urllib3()
    by_requests(version, asks)


def by_aiohttp(version, asks):
    import aiohttp

    async def main():
        async with aiohttp.ClientSession() as session:
            for method, url, body in asks:
                async with session.request(method, url, data=body, ssl=False) as answer:
                    answer.raise_for_status()
                    await answer.read()
        await asyncio.sleep(0.1)

    asyncio.run(main())


def by_httpx(version, asks):
    import httpx

    async def main():
        async with httpx.AsyncClient(verify=False, http1=version == "1.1", http2=version == "2") as client:
            for method, url, body in asks:
                answer = await client.request(method, url, content=body)
                assert answer.status_code < 300 and answer.http_version == f"HTTP/{version}", answer

    asyncio.run(main())


def by_curl_cffi(version, asks):
    from curl_cffi import CurlHttpVersion, requests

    number = CurlHttpVersion.V1_1 if version == "1.1" else CurlHttpVersion.V2TLS
    with requests.Session(http_version=number, verify=False) as session:
        for method, url, body in asks:
            answer = session.request(method, url, data=body)
            assert answer.status_code < 300 and answer.http_version == (2 if version == "1.1" else 3), answer


def by_awscrt(version, asks):
    import io

    from awscrt import http
    from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions

    options = TlsContextOptions()
    options.verify_peer, options.alpn_list = False, ["h2" if version == "2" else "http/1.1"]
    loops = EventLoopGroup(1)
    connection = None
    for method, url, body in asks:
        parts = urllib.parse.urlsplit(url)
        if connection is None:
            connection = http.HttpClientConnection.new(
                parts.hostname,
                parts.port,
                ClientBootstrap(loops, DefaultHostResolver(loops)),
                tls_connection_options=ClientTlsContext(options).new_connection_options(),
            ).result(20)
            assert connection.version == (http.HttpVersion.Http2 if version == "2" else http.HttpVersion.Http1_1)
        headers = http.HttpHeaders([("host", parts.netloc)])
        if body is not None:
            headers.add("content-length", str(len(body)))
        stream = None if body is None else io.BytesIO(body)
        request = http.HttpRequest(method, f"{parts.path}?{parts.query}", headers, stream)
        exchange = connection.request(request)
        exchange.activate()
        status = exchange.completion_future.result(20)
        assert status < 300, status
    connection.close().result(20)


async def app(scope, receive, send):
    """The ASGI application."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    is_get = scope["method"] == "GET"
    body = (FOLDER / scope["path"].rsplit("/", 1)[1]).read_bytes() if is_get else b""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200 if is_get else 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve_http_server(port, cert, key):
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer(200, (FOLDER / urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[1]).read_bytes())

        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(201, b"")

        def log_message(self, *said):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def serve_hypercorn(port, cert, key):
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.certfile, config.keyfile = [f"127.0.0.1:{port}"], cert, key
    asyncio.run(serve(app, config))


def serve_uvicorn(port, cert, key):
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", log_level="error", ssl_certfile=cert, ssl_keyfile=key)


if sys.argv[1] == "ask":
    globals()[f"by_{sys.argv[2]}"](sys.argv[3], list(plan(sys.argv[4])))
else:
    FOLDER = pathlib.Path(sys.argv[3])
    globals()[f"serve_{sys.argv[2]}"](int(sys.argv[4]), str(FOLDER / "cert.pem"), str(FOLDER / "key.pem"))
