"""A strict OTLP receiver in another language: gRPC, HTTP with protobuf and HTTP with JSON on one process.

Prints one JSON line with its two ports, then one JSON line per request: how it came and what it held. Reads what it gets with
the messages of opentelemetry-proto and refuses what they refuse, unknown JSON keys included.

The first argument is a JSON object; a line on standard input is another one that takes its place (an empty one: none does), and is
answered {"ready": true}:
  answers      list, one per request, then everything is accepted: {"http": 429, "retry_after": "1"}, {"grpc": "UNAVAILABLE",
               "message": "…", "retry_delay_ms": 100}, {"partial": 1, "message": "…"}, {"reset": true}, {"stall": 3}, {}
  max_records  requests with more are answered 413, or RESOURCE_EXHAUSTED
  poison       requests with a record whose body holds this text are answered 400, or INVALID_ARGUMENT
  tls          {"name": host name, "certificate": file to write, "key": file to write, "client": bool}: both ports speak TLS with
               a certificate made for that name; with client, they want the same one from the client
  header       [name, value] that every request must carry, else 401, or UNAUTHENTICATED
  max_bytes    requests of more, decompressed, are answered 413, or RESOURCE_EXHAUSTED
  max_attributes, max_value_bytes: records with more attributes (128), or longer values, are answered 400, or INVALID_ARGUMENT; one that
               stands twice too
  path         of logs over HTTP, /v1/logs
  encodings    content encodings it takes; gzip and zstd where there is nothing
  echo         failures repeat the request's own headers, as some servers do
An answer may also be {"half": true}: half of a response, and the connection is closed.
"""

import base64
import gzip
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import any_pb2, duration_pb2, json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

try:
    import zstandard
except ImportError:
    zstandard = None

PLAN = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
ANSWERS = list(PLAN.get("answers", []))
LOCK = threading.Lock()


def tell(**line):
    with LOCK:
        print(json.dumps(line), flush=True)


def next_answer():
    with LOCK:
        return ANSWERS.pop(0) if ANSWERS else {}


def replan(plan):
    with LOCK:
        PLAN.clear()
        PLAN.update(plan)
        ANSWERS[:] = plan.get("answers", [])


def longest(value):
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return len(value.string_value.encode())
    if kind == "bytes_value":
        return len(value.bytes_value)
    if kind == "array_value":
        return max([longest(v) for v in value.array_value.values], default=0)
    return 0


def too_much(request):
    """What is wrong with the attributes of a request, if anything: a strict store's limits."""
    for resource in request.resource_logs:
        lists = [resource.resource.attributes] + [r.attributes for sl in resource.scope_logs for r in sl.log_records]
        for attributes in lists:
            keys = [a.key for a in attributes]
            if len(keys) != len(set(keys)):
                return "an attribute twice"
            if len(keys) > PLAN.get("max_attributes", 128):
                return f"{len(keys)} attributes"
            for attribute in attributes:
                if longest(attribute.value) > PLAN.get("max_value_bytes", 1 << 30):
                    return f"a value of {longest(attribute.value)} bytes: {attribute.key}"
    return None


def log_records(request):
    return [r for rl in request.resource_logs for sl in rl.scope_logs for r in sl.log_records]


def verdict(request, headers):
    """None, or the pair of codes that refuses the request."""
    name, value = PLAN.get("header", [None, None])
    if name and headers.get(name.lower()) != value:
        return 401, grpc.StatusCode.UNAUTHENTICATED, "who are you?"
    records = log_records(request)
    if len(records) > PLAN.get("max_records", 10_000) or request.ByteSize() > PLAN.get("max_bytes", 1 << 30):
        return 413, grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max"
    wrong = too_much(request)
    if wrong:
        return 400, grpc.StatusCode.INVALID_ARGUMENT, wrong
    poison = PLAN.get("poison")
    if poison and any(poison in r.body.string_value for r in records):
        return 400, grpc.StatusCode.INVALID_ARGUMENT, "one record is bad"
    return None


def told(request):
    return json_format.MessageToDict(request)


def response(answer):
    out = logs_service_pb2.ExportLogsServiceResponse()
    out.partial_success.rejected_log_records = answer.get("partial", 0)
    out.partial_success.error_message = answer.get("message", "") if "partial" in answer else ""
    return out


class Service(logs_service_pb2_grpc.LogsServiceServicer):
    def Export(self, request, context):
        answer = next_answer()
        headers = dict(context.invocation_metadata())
        line = {"transport": "grpc", "headers": headers, "peer": context.peer()}
        time.sleep(answer.get("stall", 0))
        refused = verdict(request, headers)
        if "grpc" in answer:
            tell(answer=answer["grpc"], **line)
            if "retry_delay_ms" in answer:
                context.set_trailing_metadata([("grpc-status-details-bin", retry_info(answer))])
            context.abort(getattr(grpc.StatusCode, answer["grpc"]), words(answer, headers))
        if refused:
            tell(answer=refused[1].name, records=len(log_records(request)), **line)
            context.abort(refused[1], refused[2])
        tell(answer="OK", request=told(request), **line)
        return response(answer)


def words(answer, headers):
    said = answer.get("message", "scripted")
    return said + " " + " ".join(f"{k}: {v}" for k, v in headers.items()) if PLAN.get("echo") else said


def retry_info(answer):
    """google.rpc.Status with a RetryInfo, by hand: googleapis-common-protos is not among what this needs."""
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(answer["retry_delay_ms"])
    packed = delay.SerializeToString()
    info = any_pb2.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a" + bytes([len(packed)]) + packed)
    packed = info.SerializeToString()
    code = getattr(grpc.StatusCode, answer["grpc"]).value[0]
    return b"\x08" + bytes([code]) + b"\x1a" + bytes([len(packed)]) + packed


def parse_json(text):
    """OTLP/JSON: ids are hexadecimal where protobuf's own JSON has base64; 64-bit integers are strings."""
    data = json.loads(text, parse_constant=lambda name: sys.exit(f"not JSON: {name}"))

    def walk(value, key=None):
        if isinstance(value, dict):
            return {k: walk(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        if key in ("traceId", "spanId"):
            raw = bytes.fromhex(value)
            if len(raw) != {"traceId": 16, "spanId": 8}[key]:
                raise ValueError(f"{key} of {len(raw)} bytes")
            return base64.b64encode(raw).decode()
        if key in ("intValue", "timeUnixNano", "observedTimeUnixNano") and not isinstance(value, str):
            raise ValueError(f"{key} is not a string")
        return value

    return json_format.ParseDict(walk(data), logs_service_pb2.ExportLogsServiceRequest())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", kind="text/plain", retry_after=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        encoding = self.headers.get("Content-Encoding")
        if encoding is not None and encoding not in PLAN.get("encodings", ["gzip", "zstd"]):
            return None
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "zstd" and zstandard:
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        return body if encoding is None else None

    def handle_export(self):
        kind = self.headers.get("Content-Type")
        headers = {k.lower(): v for k, v in self.headers.items()}
        line = {"transport": f"http/{kind}", "headers": headers, "path": self.path, "method": self.command}
        body = self.body()
        line["bytes"] = len(body) if body is not None else 0
        if body is not None and len(body) > PLAN.get("max_bytes", 1 << 30):
            tell(answer=413, **line)
            return self.answer(413, b"too large")
        if self.path.split("?")[0] != PLAN.get("path", "/v1/logs"):
            tell(answer=404, **line)
            return self.answer(404, b"no such path")
        if body is None or kind not in ("application/json", "application/x-protobuf"):
            tell(answer=415, **line)
            return self.answer(415, b"unknown encoding")
        try:
            if kind == "application/json":
                request = parse_json(body)
            else:
                request = logs_service_pb2.ExportLogsServiceRequest.FromString(body)
        except Exception as error:
            tell(answer=400, error=str(error), **line)
            return self.answer(400, str(error).encode())
        answer = next_answer()
        time.sleep(answer.get("stall", 0))
        if answer.get("reset"):
            tell(answer="reset", **line)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return self.connection.close()
        if answer.get("half"):
            tell(answer="half", **line)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-")
            self.close_connection = True
            return None
        if "http" in answer:
            tell(answer=answer["http"], **line)
            kind = answer.get("kind", "text/plain")
            return self.answer(answer["http"], words(answer, headers).encode(), kind, answer.get("retry_after"))
        refused = verdict(request, headers)
        if refused:
            tell(answer=refused[0], records=len(log_records(request)), **line)
            return self.answer(refused[0], refused[2].encode())
        tell(answer="OK", request=told(request), **line)
        if kind == "application/json":
            return self.answer(200, json_format.MessageToJson(response(answer)).encode(), kind)
        return self.answer(200, response(answer).SerializeToString(), kind)

    do_POST = handle_export
    do_PUT = handle_export


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that break off are part of the tests."""


def self_signed(tls):
    """A certificate that is its own authority, made by the openssl program."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", tls["key"], "-out", tls["certificate"], "-subj", "/CN=qtap test", "-addext", "subjectAltName=DNS:" + tls["name"],
         "-addext", "basicConstraints=critical,CA:FALSE"],
        check=True, stderr=subprocess.DEVNULL,
    )


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", 256 << 20)])
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Service(), server)
    web = Server(("127.0.0.1", 0), Handler)
    if "tls" in PLAN:
        tls = PLAN["tls"]
        self_signed(tls)
        client = tls.get("client", False)
        pair = (open(tls["key"], "rb").read(), open(tls["certificate"], "rb").read())
        credentials = grpc.ssl_server_credentials([pair], pair[1] if client else None, client)
        grpc_port = server.add_secure_port("127.0.0.1:0", credentials)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls["certificate"], tls["key"])
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(tls["certificate"])
        web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
    else:
        grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tell(grpc=grpc_port, http=web.server_port)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    for plan in sys.stdin:  # ends when the test that started it closes the pipe or dies
        if plan.strip():
            replan(json.loads(plan))
        tell(ready=True)


main()
