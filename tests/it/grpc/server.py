"""A gRPC service of the official Python library, without protobuf: messages are bytes.

Says `listening PORT` and later what happens to its calls, one line each; ends with its standard input.
Arguments: nothing for plain text, or the paths of a certificate and its key.
"""

import sys
import threading
from concurrent import futures

import grpc


def say(line):
    print(line, flush=True)


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-first", metadata.get("x-asked", "none")), ("x-data-bin", metadata.get("x-data-bin", b""))))
    context.set_trailing_metadata((("x-last", "over"), ("x-last-bin", b"\x00\xff")))
    return request.upper()


def large(request, context):
    return request


def fail(request, context):
    context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x09\x12\x02no"), ("x-last", "failed")))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "50 % of it: ärgerlich\nreally")


def gather(requests, context):
    return b" ".join(requests)


def scatter(request, context):
    for number in range(int(request)):
        yield b"message %d" % number


def talk(requests, context):
    for request in requests:
        yield b"re: " + request


def hang(request, context):
    ended = threading.Event()

    def over():
        say("ended " + request.decode())
        ended.set()

    context.add_callback(over)
    yield b"begun"
    ended.wait()


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Large": grpc.unary_unary_rpc_method_handler(large),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Gather": grpc.stream_unary_rpc_method_handler(gather),
    "Scatter": grpc.unary_stream_rpc_method_handler(scatter),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
    if len(sys.argv) > 2:
        credentials = grpc.ssl_server_credentials([(read(sys.argv[2]), read(sys.argv[1]))])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say("listening %d" % port)
    sys.stdin.read()
    server.stop(None)


main()
