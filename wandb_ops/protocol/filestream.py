"""The file stream of a run: lines appended by number, so that sending them twice changes nothing.

W&B keeps a run's history, system metrics and console output as files of lines. A chunk says at which line it
begins; the same chunk again overwrites itself. So a chunk whose answer was lost is simply sent again, and a
line counts as written only when the server has said so.
"""

from __future__ import annotations

import gzip
import json
from collections import deque
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import orjson

from wandb_ops.errors import DataError, UsageError
from wandb_ops.transport.body import parse_object
from wandb_ops.transport.retry import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.transport.session import Transport

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
OUTPUT = "output.log"
SUMMARY = "wandb-summary.json"

MAX_CHUNK = 10 << 20
MAX_LINE = (10 << 20) - (100 << 10)
_ENVELOPE = 1 << 10  # names, offsets and brackets around the lines
_MARK = b"\x7f"  # a character that JSON does not escape and lines hardly hold


class FileStream:
    """The one writer of one run. Not for use by several threads at once.

    A failed call leaves the lines that were not acknowledged in the buffer: the next `flush` sends them again
    at the same place.

    Args:
        transport: Sends and retries.
        entity: The run's entity.
        project: The run's project.
        run_id: The run's id.
        offsets: File name to the number of lines that are there already (`ResumeStatus.offsets`).
        gzip: Compress what is sent; only for servers with the feature FILESTREAM_GZIP.

    Attributes:
        stopped: Whether the server said that someone asked the run to stop.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        entity: str,
        project: str,
        run_id: str,
        offsets: Mapping[str, int],
        gzip: bool = False,
    ) -> None:
        self._transport = transport
        self._path = "/files/{}/{}/{}/file_stream".format(
            *(quote(n, safe="") for n in (entity, project, run_id))
        )
        self._where = f"{entity}/{project}/{run_id}"
        self._gzip = gzip
        if any(offset < 0 for offset in offsets.values()):
            raise UsageError("Line offsets begin at 0", where=self._where)
        self._sent: dict[str, int] = dict(offsets)
        self._waiting: dict[str, deque[bytes]] = {}
        self._waiting_bytes = 0
        self._summary: bytes | None = None
        self.stopped = False

    @property
    def history_offset(self) -> int:
        """Number of the next line of history, buffered ones included."""
        return self.offset(HISTORY)

    def offset(self, file: str) -> int:
        """Number of the next line of `file`, buffered ones included."""
        return self._sent.get(file, 0) + len(self._waiting.get(file, ()))

    def acknowledged(self, file: str) -> int:
        """Lines of `file` that the server has said it holds, or held when the stream was opened."""
        return self._sent.get(file, 0)

    def append(self, file: str, lines: Sequence[str | bytes]) -> None:
        """Add `lines` to `file`; sent when enough came together, the rest by `flush`.

        Args:
            file: `wandb-history.jsonl`, `wandb-events.jsonl` or `output.log`.
            lines: Text or UTF-8; those of a `.jsonl` file are one JSON object each.

        Raises:
            DataError: A line is longer than W&B takes (10 MiB - 100 KiB), holds a line break where it may
                not, or is no UTF-8. Nothing of `lines` is taken then.
            CommError: Sending failed; see the class.
        """
        encoded = self._encode_all(file, lines)
        self._waiting.setdefault(file, deque()).extend(encoded)
        self._waiting_bytes += sum(map(len, encoded)) + len(encoded)
        while self._waiting_bytes > MAX_CHUNK:
            self._send_chunk({})

    def set_summary(self, summary_json: str) -> None:
        """Replace the run's summary, with the next chunk."""
        self._summary = self._encode(SUMMARY, summary_json, 0)

    def flush(self) -> None:
        """Send everything that waits; returns when the server has all of it."""
        while self._waiting_bytes or self._summary is not None:
            self._send_chunk({})

    def finish(self, exit_code: int) -> None:
        """Send everything, and that the run is over: 0 is finished, anything else failed. Idempotent."""
        while True:
            last = self._waiting_bytes + len(self._summary or b"") <= MAX_CHUNK - _ENVELOPE
            self._send_chunk({"complete": True, "exitcode": exit_code} if last else {})
            if last:
                return

    def heartbeat(self) -> None:
        """Tell that the run is alive, when there is nothing else to tell (W&B expects it every 30 s)."""
        self._post(b"{}")

    def _encode_all(self, file: str, lines: Sequence[str | bytes]) -> list[bytes]:
        """The lines as JSON strings; many lines of bytes in one go, when nothing speaks against it."""
        if len(lines) > 1 and all(isinstance(line, bytes) for line in lines):
            whole = _MARK.join(cast("Sequence[bytes]", lines))
            if b"\n" not in whole and b"\r" not in whole and max(map(len, lines)) <= MAX_LINE:
                try:
                    # JSON leaves the mark as it is, so it still parts the lines.
                    parts = orjson.dumps(whole.decode("utf-8"))[1:-1].split(_MARK)
                except (UnicodeDecodeError, orjson.JSONEncodeError):
                    parts = []
                if len(parts) == len(lines):
                    return [b'"%b"' % part for part in parts]
        return [self._encode(file, line, index) for index, line in enumerate(lines)]

    def _encode(self, file: str, line: str | bytes, index: int) -> bytes:
        try:
            text = line if isinstance(line, str) else line.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"Line {index} for {file} is no UTF-8", where=self._where) from None
        if file.endswith((".jsonl", ".json")) and ("\n" in text or "\r" in text):
            raise DataError(f"Line {index} for {file} holds a line break", where=self._where)
        try:
            encoded = orjson.dumps(text)
            size = len(text) if text.isascii() else len(text.encode("utf-8"))
        except (TypeError, UnicodeEncodeError):  # a lone surrogate travels as an escape
            encoded = json.dumps(text).encode("ascii")
            size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_LINE:
            raise DataError(
                f"Line {index} for {file} has {size:,} bytes; W&B takes {MAX_LINE:,}",
                where=self._where,
                hint="Log large values as files.",
            )
        return encoded

    def _send_chunk(self, more: dict[str, Any]) -> None:
        """Send what fits one request, oldest lines of each file first; forget them when acknowledged."""
        room = MAX_CHUNK - _ENVELOPE
        taken: dict[str, list[bytes]] = {}
        for file, waiting in self._waiting.items():
            chunk: list[bytes] = []
            for line in waiting:
                if len(line) + 1 > room and (chunk or taken):
                    break
                chunk.append(line)
                room -= len(line) + 1
            if chunk:
                taken[file] = chunk
        files = [(file, self._sent.get(file, 0), chunk) for file, chunk in taken.items()]
        summary = self._summary if len(self._summary or b"") <= room or not taken else None
        if summary is not None:
            files.append((SUMMARY, 0, [summary]))
        self._post(_body(files, more))
        for file, chunk in taken.items():
            self._sent[file] = self._sent.get(file, 0) + len(chunk)
            self._waiting_bytes -= sum(map(len, chunk)) + len(chunk)
            waiting = self._waiting[file]
            if len(chunk) == len(waiting):
                waiting.clear()
            else:
                for _ in chunk:
                    waiting.popleft()
        if summary is not None and self._summary is summary:
            self._summary = None

    def _post(self, body: bytes) -> None:
        headers = {}
        if self._gzip:
            body, headers = gzip.compress(body, compresslevel=1, mtime=0), {"Content-Encoding": "gzip"}
        answer = self._transport.post_json(
            self._path, body, kind=Kind.UPSERT, operation="file_stream", where=self._where, headers=headers
        )
        self.stopped = self.stopped or bool(parse_object(answer).get("stopped"))


def _body(files: Sequence[tuple[str, int, Sequence[bytes]]], more: Mapping[str, Any]) -> bytes:
    """The request for (file, offset, lines), in one piece: bodies are large, and each copy of one costs."""
    pieces: list[bytes] = []
    for file, offset, lines in files:
        before = b"," if pieces else b'{"files":{'
        pieces.append(b'%b%b:{"offset":%d,"content":[' % (before, orjson.dumps(file), offset))
        pieces += [b",".join(lines), b"]}"]
    if pieces:
        pieces.append(b"}")
    for name, value in more.items():
        pieces.append(b"%b%b:%b" % (b"," if pieces else b"{", orjson.dumps(name), orjson.dumps(value)))
    return b"".join([*(pieces or [b"{"]), b"}"])


__all__ = ["EVENTS", "HISTORY", "MAX_CHUNK", "MAX_LINE", "OUTPUT", "SUMMARY", "FileStream"]
