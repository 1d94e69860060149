"""WebSocket with the package `websockets`, both sides: `websocket.py CERT KEY`.

A server for plain HTTP and one for TLS, in this process; a client of each, with and without permessage-deflate, in processes of their
own. The path says which: /plain, /plain/deflate, /tls, /tls/deflate. Each client sends the same messages; the server echoes them, and
ends the conversation on request.
"""

import os
import socket
import ssl
import subprocess
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

SLOWNESS = int(os.environ.get("QTAP_TEST_SLOWNESS", "1"))  # factor for all waits: see `lab.rs`
TEXTS = [f"Nummer {number}: grüße" for number in range(20)]
BINARY = bytes(range(256)) * 4
FRAGMENTS = ["in ", "drei ", "Stücken"]


def answer(connection):
    for message in connection:
        if message == "genug":
            connection.close(4001, "genug, danke")
            return
        connection.send(message)


def talk(port, path):
    """One client's conversation."""
    context = None
    if path.startswith("/tls"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    url = f"{'wss' if context else 'ws'}://127.0.0.1:{port}{path}"
    compression = "deflate" if path.endswith("deflate") else None
    with connect(url, ssl=context, compression=compression, ping_interval=None, proxy=None,
                 open_timeout=10 * SLOWNESS) as connection:
        for said in [*TEXTS, BINARY]:
            connection.send(said)
            assert connection.recv() == said
        connection.send(iter(FRAGMENTS))
        assert connection.recv() == "".join(FRAGMENTS)
        assert connection.ping().wait(10 * SLOWNESS)
        connection.send("genug")
        try:
            raise AssertionError(connection.recv())
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "genug, danke"), closed


def server(context):
    held = serve(answer, sock=socket.create_server(("127.0.0.1", 0)), ssl=context, ping_interval=None,
                 open_timeout=10 * SLOWNESS)
    threading.Thread(target=held.serve_forever, daemon=True).start()
    return held.socket.getsockname()[1]


if sys.argv[1] == "talk":
    talk(*sys.argv[2:])
else:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[1:3])
    # A ticket would wake the client's reading thread, which then waits inside the session while another thread writes to it. OpenSSL allows one at a time; with tickets, runs hung now and then, without qtap too.
    tls.num_tickets = 0
    ports = {"/plain": server(None), "/tls": server(tls)}
    for path in ["/plain", "/plain/deflate", "/tls", "/tls/deflate"]:
        port = ports["/" + path.split("/")[1]]
        subprocess.run([sys.executable, __file__, "talk", str(port), path], check=True, timeout=30 * SLOWNESS)
        print("said", path, flush=True)
