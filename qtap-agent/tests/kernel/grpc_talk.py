"""gRPC with grpcio, both sides: a server in this process, its client in another. Messages are bytes.

Makes every kind of call, each with its own sizes. `tls DIR`: over TLS with the `cert.pem` and `key.pem` of DIR, else over a plain channel;
`talk PORT` before that runs the client.
"""

import os
import subprocess
import sys
import time
from concurrent import futures

import grpc

SERVICE = "lab.v1.Talk"

# Factor for all waits: see `lab.rs`.
SLOWNESS = int(os.environ.get("QTAP_TEST_SLOWNESS", "1"))


def unary(request, context):
    context.set_trailing_metadata([("x-said", "last")])
    return b"u" * (2 * len(request))


def server_stream(request, _):
    for number in range(5):
        yield b"s" * (100 + number)


def client_stream(requests, _):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, _):
    for request in requests:
        yield request[::-1]


def fail(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: grüße, 100 %")


def fail_late(_, context):
    yield b"one"
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "that was all")


def handlers():
    kinds = [
        ("Unary", grpc.unary_unary_rpc_method_handler(unary)),
        ("ServerStream", grpc.unary_stream_rpc_method_handler(server_stream)),
        ("ClientStream", grpc.stream_unary_rpc_method_handler(client_stream)),
        ("Both", grpc.stream_stream_rpc_method_handler(both)),
        ("Fail", grpc.unary_unary_rpc_method_handler(fail)),
        ("FailLate", grpc.unary_stream_rpc_method_handler(fail_late)),
    ]
    return grpc.method_handlers_generic_handler(SERVICE, dict(kinds))


def expect(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return
    raise AssertionError("it did not fail")


def read(name):
    with open(os.path.join(DIR, name), "rb") as file:
        return file.read()


def channel_to(port):
    if DIR is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}")
    return grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(read("cert.pem")))


def listen(server):
    if DIR is None:
        return server.add_insecure_port("127.0.0.1:0")
    credentials = grpc.ssl_server_credentials([(read("key.pem"), read("cert.pem"))])
    return server.add_secure_port("127.0.0.1:0", credentials)


def talk(port):
    with channel_to(port) as channel:
        def path(name):
            return f"/{SERVICE}/{name}"

        for size in [1, 10, 1000]:
            assert channel.unary_unary(path("Unary"))(b"r" * size, timeout=10 * SLOWNESS) == b"u" * (2 * size)
        assert [len(one) for one in channel.unary_stream(path("ServerStream"))(b"five", timeout=10 * SLOWNESS)] == [100, 101, 102, 103, 104]
        sent = (b"c" * size for size in [7, 70, 70_000])
        assert channel.stream_unary(path("ClientStream"))(sent, timeout=10 * SLOWNESS) == b"70077"
        assert list(channel.stream_stream(path("Both"))(iter([b"ab", b"cde", b""]), timeout=10 * SLOWNESS)) == [b"ba", b"edc", b""]
        expect(grpc.StatusCode.NOT_FOUND, lambda: channel.unary_unary(path("Fail"))(b"", timeout=10 * SLOWNESS))
        expect(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: list(channel.unary_stream(path("FailLate"))(b"", timeout=10 * SLOWNESS)))
        expect(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary(path("NotThere"))(b"x", timeout=10 * SLOWNESS))


DIR = sys.argv[-1] if "tls" in sys.argv else None

if sys.argv[1:2] == ["talk"]:
    talk(sys.argv[2])
else:
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handlers()])
    port = listen(server)
    server.start()
    subprocess.run([sys.executable, __file__, "talk", str(port), *sys.argv[1:]], check=True, timeout=60 * SLOWNESS)
    # The last bytes of the client's end may still be on their way.
    time.sleep(0.2)
    server.stop(None).wait(10 * SLOWNESS)
    print("talked")
