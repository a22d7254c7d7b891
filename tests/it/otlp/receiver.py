"""A collector of traces, from OpenTelemetry's own package: decodes what is posted and prints it, one JSON line a request.

The first line says the port. Standard input closing ends it.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

OUTPUT = threading.Lock()


def say(value):
    with OUTPUT:
        print(json.dumps(value), flush=True)


def plain(value):
    return getattr(value, value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


def span(it):
    return {
        "trace": it.trace_id.hex(),
        "id": it.span_id.hex(),
        "parent": it.parent_span_id.hex(),
        "name": it.name,
        "kind": type(it).SpanKind.Name(it.kind),
        "attributes": attributes(it.attributes),
        "status": type(it.status).StatusCode.Name(it.status.code),
        "begun": it.start_time_unix_nano,
        "ended": it.end_time_unix_nano,
    }


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in request.resource_spans:
            spans = [span(it) for scope in resource.scope_spans for it in scope.spans]
            say({
                "path": self.path,
                "type": self.headers["content-type"],
                "token": self.headers.get("x-token"),
                "resource": attributes(resource.resource.attributes),
                "spans": spans,
            })
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # A gateway that is gone leaves connections behind, which is no mistake.
    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Collector)
say({"port": server.server_port})
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
