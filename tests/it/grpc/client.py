"""Calls by the official Python client, without protobuf: messages are bytes.

Arguments: the case, the address, and for TLS the path of the authority's certificate. Says what came of it as JSON.
"""

import base64
import json
import queue
import sys

import grpc

LIMIT = 30


def readable(value):
    return "base64 " + base64.b64encode(value).decode() if isinstance(value, bytes) else value


def own(metadata):
    """Those of the test, without what the gateway and the library add."""
    kept = ("x-first", "x-data-bin", "x-last", "x-last-bin", "grpc-status-details-bin")
    return {key: readable(value) for key, value in metadata or () if key in kept}


def failed(error):
    return {"code": error.code().name, "details": error.details(), "trailing": own(error.trailing_metadata())}


def unary(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    metadata = (("x-asked", "yes"), ("x-data-bin", b"\x00\x01\xfe"))
    answer, done = call.with_call(b"hello", metadata=metadata, timeout=LIMIT)
    first, last = own(done.initial_metadata()), own(done.trailing_metadata())
    return {"answer": answer.decode(), "code": done.code().name, "initial": first, "trailing": last}


def streams(channel):
    gathered = channel.stream_unary("/test.Echo/Gather")(iter([b"a", b"b", b"c"]), timeout=LIMIT)
    scattered = channel.unary_stream("/test.Echo/Scatter")(b"3", timeout=LIMIT)
    none = channel.unary_stream("/test.Echo/Scatter")(b"0", timeout=LIMIT)
    return {
        "gathered": gathered.decode(),
        "scattered": [message.decode() for message in scattered],
        "none": [message.decode() for message in none],
    }


def talk(channel):
    """Each message is only sent once the answer to the one before is here."""
    outgoing = queue.Queue()
    answers = channel.stream_stream("/test.Echo/Talk")(iter(outgoing.get, None), timeout=LIMIT)
    heard = []
    for message in (b"one", b"two", b"three"):
        outgoing.put(message)
        heard.append(next(answers).decode())
    outgoing.put(None)
    rest = [message.decode() for message in answers]
    return {"heard": heard, "rest": rest, "code": answers.code().name}


def large(channel):
    message = bytes(range(256)) * (4 * 1024 * 4)
    answer = channel.unary_unary("/test.Echo/Large")(message, timeout=LIMIT)
    return {"length": len(answer), "same": answer == message}


def call(channel, method):
    try:
        channel.unary_unary("/test.Echo/" + method)(b"x", timeout=LIMIT)
        return {"code": "OK"}
    except grpc.RpcError as error:
        return failed(error)


def fail(channel):
    return call(channel, "Fail")


def missing(channel):
    return call(channel, "Missing")


def deadline(channel):
    heard = []
    try:
        for message in channel.unary_stream("/test.Echo/Hang")(b"deadline", timeout=1):
            heard.append(message.decode())
    except grpc.RpcError as error:
        return {"heard": heard, "code": error.code().name}


def stalled(channel):
    """The server falls silent in the middle of its answer; the client would wait."""
    heard = []
    try:
        for message in channel.unary_stream("/test.Echo/Hang")(b"stalled", timeout=LIMIT):
            heard.append(message.decode())
    except grpc.RpcError as error:
        return {"heard": heard, "code": error.code().name, "details": error.details()}


def cancel(channel):
    """No deadline at all, so that only the cancellation can end it at the server."""
    answers = channel.unary_stream("/test.Echo/Hang")(b"cancel")
    first = next(answers).decode()
    answers.cancel()
    # The server hears of it while the client is still connected.
    sys.stdin.read()
    return {"heard": [first], "code": answers.code().name}


def main():
    name, address = sys.argv[1], sys.argv[2]
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    if len(sys.argv) > 3:
        with open(sys.argv[3], "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(address, credentials, options=options)
    else:
        channel = grpc.insecure_channel(address, options=options)
    with channel:
        print(json.dumps(globals()[name](channel)))


main()
