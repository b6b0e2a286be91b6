"""Tells the time over HTTP, with nothing but the standard library."""

import os
import signal
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INSTANCE = os.environ.get("HOP3_INSTANCE", f"pid {os.getpid()}")


class Clock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One packet an answer, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    stopping = threading.Event()

    def do_GET(self):
        if self.path == "/health":
            self.answer(503 if self.stopping.is_set() else 200, "ok\n")
        elif self.path == "/":
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            self.answer(200, f"{now} says {INSTANCE}\n")
        else:
            self.answer(404, "There is nothing here.\n")

    do_HEAD = do_GET

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Instance", INSTANCE)
        if self.stopping.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format, *args):
        """The proxy has a log of requests; this one would only repeat it."""


def main():
    address = os.environ.get("BIND_ADDRESS", "127.0.0.1")
    port = int(os.environ.get("PORT", "8000"))
    server = ThreadingHTTPServer((address, port), Clock)
    server.daemon_threads = True

    def stop(signum, frame):
        Clock.stopping.set()
        # shutdown() waits for serve_forever(), which this very thread is in.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"{INSTANCE} listens on {address}:{port}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    print(f"{INSTANCE} stopped", flush=True)


if __name__ == "__main__":
    main()
