"""Container runtimes for the tests: Docker's HTTP and CRI's gRPC, each on a UNIX socket, with third-party servers.

    runtimes.py docker SOCKET ID        knows the container ID
    runtimes.py cri SOCKET ID SECONDS   the same, in a pod; the container is known that many seconds after the first request
    runtimes.py hung SOCKET             accepts connections and never answers

Prints `ready` when the socket is there.
"""

import http.server
import json
import os
import socket
import socketserver
import sys
import threading
import time


class Docker(http.server.BaseHTTPRequestHandler):
    container = ""

    def do_GET(self):
        if self.path != f"/containers/{self.container}/json":
            return self.say(404, {"message": "No such container"})
        labels = {"com.docker.compose.service": "shop", "tier": "front", "tap.qtap.dev/stack": "bodies"}
        config = {"Image": "registry.example.com:5000/shop/web:v7", "Labels": labels, "Env": ["A=1"]}
        self.say(200, {"Id": self.container, "Name": "/shop-web-1", "State": {"Running": True}, "Config": config})

    def say(self, status, what):
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def docker(path, container):
    Docker.container = container
    server = UnixServer(path, Docker)
    print("ready", flush=True)
    server.serve_forever()


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, content):
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def mapping(number, pairs):
    return b"".join(field(number, field(1, key) + field(2, value)) for key, value in pairs.items())


def cri(path, container, seconds):
    import concurrent.futures

    import grpc

    sandbox = container[::-1]
    first = threading.Lock()
    asked = {"at": None}

    def known():
        # The delay until the container is listed starts with the first request.
        with first:
            asked["at"] = asked["at"] or time.monotonic()
            return time.monotonic() - asked["at"] >= seconds

    def list_containers(request, _):
        if not known() or container.encode() not in request:
            return b""
        labels = {"io.kubernetes.container.name": "app"}
        return field(1, field(1, container) + field(2, sandbox) + field(3, field(1, "app")) + mapping(8, labels))

    def container_status(request, _):
        return field(1, field(1, container) + field(8, field(1, "docker.io/library/python:3.12")))

    def sandbox_status(request, _):
        metadata = field(1, "web-0") + field(2, "11111111-2222-3333-4444-555555555555") + field(3, "shop")
        labels, annotations = {"app": "web", "team": "blue"}, {"owner": "ann"}
        return field(1, field(1, sandbox) + field(2, metadata) + mapping(7, labels) + mapping(8, annotations))

    methods = {
        "ListContainers": list_containers,
        "ContainerStatus": container_status,
        "PodSandboxStatus": sandbox_status,
        "ListPodSandbox": lambda *_: b"",
    }
    raw = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", raw),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    # On an emulated machine the first response takes longer than qtap waits.
    with grpc.insecure_channel(f"unix:{path}") as channel:
        channel.unary_unary("/runtime.v1.RuntimeService/ListPodSandbox")(b"")
    print("ready", flush=True)
    server.wait_for_termination()


def hung(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    print("ready", flush=True)
    kept = []
    while True:
        kept.append(server.accept())


if __name__ == "__main__":
    kind, path, *rest = sys.argv[1:]
    if kind == "docker":
        docker(path, rest[0])
    elif kind == "cri":
        cri(path, rest[0], float(rest[1]))
    else:
        hung(path)
