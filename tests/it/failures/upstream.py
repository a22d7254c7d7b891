"""An upstream in a process of its own, which tests kill, stop and start again.

Usage: upstream.py MODE [PORT]. Says the port it listens on, then answers every request on every connection in its mode:
ok, slow (after 400 ms), failing (503), garbage (no HTTP), cut (half a body, then the end).
"""

import socket
import sys
import threading
import time

MODE = sys.argv[1]
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 0

ANSWERS = {
    "ok": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "slow": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow",
    "failing": b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    "garbage": b"\x16\x03\x01 what is this\x00\xff\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
}


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            more = connection.recv(65536)
            if not more:
                return
            received += more
        head, _, received = received.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(received) < length:
            received += connection.recv(65536)
        received = received[length:]
        if MODE == "slow":
            time.sleep(0.4)
        connection.sendall(ANSWERS[MODE])
        if MODE in ("garbage", "cut"):
            connection.close()
            return


def guarded(connection):
    try:
        serve(connection)
    except OSError:
        pass


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", PORT))
listener.listen(512)
print(listener.getsockname()[1], flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=guarded, args=(accepted,), daemon=True).start()
