"""A receiver of OTLP logs, metrics and spans, over HTTP with protobuf or gRPC (`http` or `grpc`), on a port that it chooses and prints. The answer to
a line on stdin is what came: bodies of log records, names of metrics and spans, attributes of the resources, and the request headers of interest.
"""

import gzip
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace

LOCK = threading.Lock()
SEEN = {"logs": [], "metrics": [], "spans": [], "resource": {}, "headers": {}}


def note(kind, names, resource, headers):
    with LOCK:
        SEEN[kind] += names
        SEEN["resource"].update({a.key: a.value.string_value for a in resource.attributes})
        SEEN["headers"][kind] = headers.get("x-key", "")


def take(request, headers):
    if isinstance(request, logs.ExportLogsServiceRequest):
        for part in request.resource_logs:
            note("logs", [r.body.string_value for s in part.scope_logs for r in s.log_records], part.resource, headers)
        return logs.ExportLogsServiceResponse()
    if isinstance(request, metrics.ExportMetricsServiceRequest):
        for part in request.resource_metrics:
            note("metrics", [m.name for s in part.scope_metrics for m in s.metrics], part.resource, headers)
        return metrics.ExportMetricsServiceResponse()
    for part in request.resource_spans:
        note("spans", [s.name for scope in part.scope_spans for s in scope.spans], part.resource, headers)
    return trace.ExportTraceServiceResponse()


REQUESTS = {
    "/v1/logs": logs.ExportLogsServiceRequest,
    "/v1/metrics": metrics.ExportMetricsServiceRequest,
    "/v1/traces": trace.ExportTraceServiceRequest,
}


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = take(REQUESTS[self.path].FromString(body), headers).SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def by_grpc():
    import grpc
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

    class Service:
        def Export(self, request, context):
            return take(request, dict(context.invocation_metadata()))

    server = grpc.server(futures.ThreadPoolExecutor(4))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Service(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Service(), server)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


if sys.argv[1] == "grpc":
    kept, port = by_grpc()
else:
    kept = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    kept.daemon_threads = True
    threading.Thread(target=kept.serve_forever, daemon=True).start()
    port = kept.server_address[1]
print(port, flush=True)
for _ in sys.stdin:
    with LOCK:
        print(json.dumps(SEEN), flush=True)
