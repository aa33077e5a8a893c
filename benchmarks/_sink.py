"""A server that takes what a TensorBoard sync sends, acknowledges it and counts lines: the cheapest W&B.

python -m benchmarks._sink        prints its address, and serves until stdin ends
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    """Answers just the operations of a sync; `GET /lines` says how many history lines came."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # http.server writes an answer in pieces
    lines = 0

    def do_GET(self) -> None:
        self._answer({"lines": Sink.lines})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/file_stream"):
            files = json.loads(body).get("files", {})
            Sink.lines += len(files.get("wandb-history.jsonl", {}).get("content", ()))
            self._answer({})
        elif b"UpsertBucket" in body:
            run = {"id": "UnVu", "name": "r", "project": {"name": "bench", "entity": {"name": "local"}}}
            self._answer({"data": {"upsertBucket": {"bucket": run, "inserted": True}}})
        elif b"RunResumeStatus" in body:
            self._answer({"data": {"model": {"bucket": None}}})
        else:
            self._answer({"data": {"serverInfo": {"features": []}}})

    def _answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
