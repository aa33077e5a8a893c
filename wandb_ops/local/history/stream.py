"""file_stream: how a run's writer sends lines, its summary, its heartbeats and its end.

A chunk is placed by its offset, so that a repeated request changes nothing. Everything in one request is one
transaction: a client that got no answer may send it again whatever became of the first.
"""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.runs import files, runs

if TYPE_CHECKING:
    import sqlite3

SUMMARY = "wandb-summary.json"
MAX_LINE = 10 << 20
_MAX_OFFSET = 2**53


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of one file from one request."""

    file: int
    offset: int
    content: list[str]
    steps: list[int] | None


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A file_stream body, checked."""

    chunks: list[Chunk] = field(default_factory=list)
    summary: str | None = None
    uploaded: list[str] = field(default_factory=list)
    preempting: bool = False
    complete: bool = False
    exitcode: int | None = None


def inflate(body: bytes, limit: int) -> bytes:
    """Undo gzip, never beyond ``limit`` bytes."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        data = unzip.decompress(body, limit + 1)
    except zlib.error:
        raise Refused("the body is not valid gzip") from None
    if len(data) > limit:
        raise Refused("the body is too large", 413)
    if not unzip.eof:
        raise Refused("the gzip body is cut short")
    return data


def _content(name: str, value: Any) -> tuple[int, list[str]]:
    if not isinstance(value, dict):
        raise Refused(f"files.{name} must be an object")
    offset, content = value.get("offset", 0), value.get("content", [])
    if type(offset) is not int or not 0 <= offset <= _MAX_OFFSET:
        raise Refused(f"files.{name}.offset must be a line number")
    if not isinstance(content, list) or not all(type(line) is str for line in content):
        raise Refused(f"files.{name}.content must be a list of strings")
    if any(len(line) > MAX_LINE for line in content):
        raise Refused(f"a line of {name} is longer than {MAX_LINE} characters", 413)
    return offset, content


def parse(body: bytes) -> StreamRequest:
    """Read and check a body; :class:`Refused` names what is wrong with it. Touches no database."""
    try:
        data = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise Refused("the body is not valid JSON") from None
    if not isinstance(data, dict):
        raise Refused("the body must be a JSON object")
    chunks, summary = [], None
    for name, value in (data.get("files") or {}).items():
        offset, content = _content(name, value)
        if not content:
            continue
        if name == SUMMARY:
            summary = content[-1]
            loads_object(summary, SUMMARY)
        elif name in lines.FILES:
            file = lines.FILES[name]
            steps = lines.steps_of(content, offset) if file == lines.HISTORY else None
            chunks.append(Chunk(file, offset, content, steps))
    exitcode = data.get("exitcode")
    if exitcode is not None and type(exitcode) is not int:
        raise Refused("exitcode must be an integer")
    uploaded = data.get("uploaded") or []
    if not isinstance(uploaded, list) or not all(isinstance(name, str) for name in uploaded):
        raise Refused("uploaded must be a list of file names")
    return StreamRequest(
        chunks, summary, uploaded, bool(data.get("preempting")), bool(data.get("complete")), exitcode
    )


def apply(
    connection: sqlite3.Connection, now: int, path: tuple[str, str, str], request: StreamRequest
) -> runs.Run:
    """Store a request of the writer of run ``(entity, project, name)``; returns the run as it then is."""
    run = runs.find(connection, *path)
    if run is None:
        raise NotFound(f"run {'/'.join(path)} not found")
    changes: dict[str, Any] = {"heartbeat_at": now}
    for chunk in request.chunks:
        counter = lines.COUNTERS[chunk.file]
        known = changes.get(counter, getattr(run, counter))
        try:
            changes[counter] = lines.write(
                connection, run.pk, chunk.file, chunk.offset, chunk.content, chunk.steps, known
            )
        except UnicodeEncodeError:
            raise Refused("a line is not valid Unicode") from None
        if chunk.file == lines.HISTORY and chunk.offset < run.exported_lines:
            # What the export holds is no longer what the run holds.
            changes |= {"exported_lines": 0, "exported_step": -1}
    if request.summary is not None:
        changes["summary"] = request.summary
    if request.uploaded:
        files.touch(connection, now, run.pk, request.uploaded)
    changes |= _state(run, request)
    if request != StreamRequest():
        changes["updated_at"] = now
    assignments = ", ".join(f"{column}=?" for column in changes)
    connection.execute(
        f"UPDATE runs SET {assignments} WHERE id=?",  # noqa: S608 - only constants are put in
        (*changes.values(), run.pk),
    )
    if "state" in changes:
        changes["stored_state"] = changes.pop("state")
    return dataclasses.replace(run, **changes)


def _state(run: runs.Run, request: StreamRequest) -> dict[str, Any]:
    """What the request says of the run's state.

    A writer that goes on after the end revives the run, as W&B does; a heartbeat alone does not. A run that
    said it is being preempted stays so until it ends: in failure it was preempted, else it was done in time.
    """
    if request.complete:
        exitcode = request.exitcode or 0
        failed = "preempted" if request.preempting or run.stored_state == "preempting" else "failed"
        return {"state": failed if exitcode else "finished", "exitcode": exitcode}
    if request.preempting:
        return {"state": "preempting"}
    if run.stored_state == "preempting":
        return {}
    if request.chunks or request.summary is not None or request.uploaded or run.stored_state == "pending":
        return {"state": "running", "exitcode": None}
    return {}


def answer(run: runs.Run) -> bytes:
    """What the writer is told: limits, and whether somebody asked the run to stop."""
    return orjson.dumps(
        {"limits": {}, "exitcode": run.exitcode, **({"stopped": True} if run.stop_requested else {})}
    )
