"""A collector on the watched host, and the processes around it.

`collect ADDRESS PORT plain|kept|tls|grpc UPSTREAM [DIR]` receives OTLP logs and forwards each request unchanged to UPSTREAM (a URL), on a new connection
(`kept`: on one that it opened at its start). It also serves `/app` on a second port, as a program that does more than collect. `sink ADDRESS PORT`
receives the forwarded requests. `relay PORT` forwards bytes to that port. Each prints its port or ports. The answer to a line on stdin is what was
received: the number of requests, and the paths of the exchanges in them.
"""

import gzip
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()
SEEN = {"requests": 0, "paths": []}
KEPT = None


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, body=b""):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(b"app\n")


class Sink(Answer):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with LOCK:
            SEEN["requests"] += 1
        self.say()


def received(body):
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

    request = logs_service_pb2.ExportLogsServiceRequest.FromString(body)
    records = [r for rl in request.resource_logs for sl in rl.scope_logs for r in sl.log_records]
    paths = []
    for record in records:
        named = {a.key: a.value.string_value for a in record.attributes}
        if named.get("event.type") == "artifact_record":
            paths.append(named.get("url.path", ""))
    with LOCK:
        SEEN["requests"] += 1
        SEEN["paths"] += paths


class Collect(Answer):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        received(body)
        send_on(body)
        self.say()


def send_on(body):
    if KEPT:
        with LOCK:
            KEPT.request("POST", "/sent-on", body)
            KEPT.getresponse().read()
        return
    urllib.request.urlopen(urllib.request.Request(UPSTREAM, data=body), timeout=5).read()


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def collect_by_grpc(address, port):
    import grpc
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

    class Service(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request, _):
            body = request.SerializeToString()
            received(body)
            send_on(body)
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(4))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port(f"{address}:{port}")
    server.start()
    return server, port


def collect(address, port, how, directory=None):
    if how == "grpc":
        return collect_by_grpc(address, port)
    server = Server((address, port), Collect)
    if how == "tls":
        key, certificate = directory + "/collector.key", directory + "/collector.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
             "-subj", "/CN=collector"],
            check=True, stderr=subprocess.DEVNULL,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    return server, serve(server)


def pass_on(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def relay(to):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(to)
        for ends in [(near, far), (far, near)]:
            threading.Thread(target=pass_on, args=ends, daemon=True).start()


what, arguments = sys.argv[1], sys.argv[2:]
if what == "relay":
    threading.Thread(target=relay, args=((arguments[0], int(arguments[1])),), daemon=True).start()
elif what == "sink":
    print(serve(Server((arguments[0], int(arguments[1])), Sink)), flush=True)
else:
    UPSTREAM = arguments[3]
    if arguments[2] == "kept":
        KEPT = http.client.HTTPConnection(UPSTREAM.split("/")[2])
        send_on(b"before anyone watched")
    kept, port = collect(arguments[0], int(arguments[1]), arguments[2], *arguments[4:])
    print(port, serve(Server(("127.0.0.1", 0), Answer)), flush=True)
for _ in sys.stdin:
    with LOCK:
        print(json.dumps(SEEN), flush=True)
