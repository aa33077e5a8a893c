"""Downloading the Parquet files into which the server exports a run's history.

The files appear under their names together, when all are there and their rows were counted. Until then each
one that is whole waits in the same folder under a hidden name, made from its address and from what the run
held, so that a call that was interrupted goes on where it stopped, and never takes an older export for this
one.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_ops.errors import DataError, IncompleteRunHistoryError, StatusError, UsageError
from wandb_ops.history.parquet import (
    EXPIRED,
    MAX_PART_BYTES,
    UnreadableExportError,
    export_urls,
    object_of,
    open_part,
)
from wandb_ops.history.ref import RunCounts, RunRef, run_counts
from wandb_ops.protocol.storage import safe_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.transport.session import Transport

_log = logging.getLogger("wandb_ops.public")
_WAITING = ".wandb-ops-waiting"


@dataclass(frozen=True)
class DownloadHistoryResult:
    """What `Run.download_history_exports` saved.

    Attributes:
        paths: The files, in order of step.
        contains_live_data: Whether the run holds rows that are in none of them.
        errors: Empty: a file that cannot be had is raised. W&B's name.
    """

    paths: list[Path]
    contains_live_data: bool
    errors: dict[Path, str] | None = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    file: Path
    rows: int
    first: int
    last: int


def download_exports(
    transport: Transport, ref: RunRef, folder: str | Path, *, require_complete: bool
) -> DownloadHistoryResult:
    """Save a run's exported history; see `Run.download_history_exports`."""
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise UsageError(f"{str(folder)!r} is no folder", where=ref.path)
    stem = f"{ref.entity}_{ref.project}_{ref.run_id}"
    safe_path(root, stem)  # names from the server
    counts = run_counts(transport, ref)
    urls, live_from = export_urls(transport, ref)
    if require_complete and (live_from is not None or (counts.history_lines and not urls)):
        raise _incomplete(ref, counts.history_lines, 0)
    if not urls:
        return DownloadHistoryResult([], contains_live_data=counts.history_lines > 0)
    root.mkdir(parents=True, exist_ok=True)
    try:
        files = _fetch(transport, ref, urls, root, stem, counts)
    except StatusError as error:
        if error.status not in EXPIRED:
            raise
        _log.info("%s: a URL of the export has expired; asking for new ones", ref.path)
        urls, live_from = export_urls(transport, ref)
        files = _fetch(transport, ref, urls, root, stem, counts)
    parts = sorted(map(_look, files), key=lambda part: (part.first, part.last))
    rows = sum(part.rows for part in parts)
    _check(ref, parts, rows, counts)
    live = live_from is not None or rows < counts.history_lines
    if live and require_complete:
        raise _incomplete(ref, counts.history_lines, rows)
    paths = [root / f"{stem}_{number}.runhistory.parquet" for number in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        part.file.replace(path)
    return DownloadHistoryResult(paths, contains_live_data=live)


def _fetch(
    transport: Transport, ref: RunRef, urls: Sequence[str], root: Path, stem: str, counts: RunCounts
) -> list[Path]:
    """Every part under its hidden name; what an interrupted call left and this one cannot use is removed."""
    holds = f"{counts.history_lines} {counts.last_step} {counts.heartbeat_at}"
    names = [hashlib.sha256(f"{object_of(url)} {holds}".encode()).hexdigest()[:32] for url in urls]
    if len(set(names)) < len(names):
        raise DataError("Two exported files have one address", where=ref.path)
    files = [root / f".{stem}.{name}{_WAITING}" for name in names]
    for found in root.glob(f".*{_WAITING}"):
        if found.name.rpartition(".")[0].rpartition(".")[0] == f".{stem}" and found not in files:
            found.unlink(missing_ok=True)
    for number, (url, file) in enumerate(zip(urls, files, strict=True), 1):
        if not file.exists():
            _save(transport, url, file, where=f"{ref.path}, exported file {number} of {len(urls)}")
    return files


def _save(transport: Transport, url: str, file: Path, *, where: str) -> None:
    part = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as sink:
            transport.download(url, sink, where=where, max_bytes=MAX_PART_BYTES)
            open_part(sink)
        part.replace(file)
    except UnreadableExportError as error:
        part.unlink(missing_ok=True)
        error.where = where
        raise
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _look(file: Path) -> _Part:
    with file.open("rb") as opened:
        part = open_part(opened)
    return _Part(file, part.rows, part.first, part.last)


def _check(ref: RunRef, parts: Sequence[_Part], rows: int, counts: RunCounts) -> None:
    """That no row is there twice.

    Raises:
        DataError: The parts hold more rows than the run.
    """
    if rows > counts.history_lines:
        raise DataError(
            f"The {len(parts)} exported files hold {rows:,} rows, the run {counts.history_lines:,}",
            where=ref.path,
            hint="The run may have gone on meanwhile: call again, or read it with scan_history().",
        )


def _incomplete(ref: RunRef, expected: int, received: int) -> IncompleteRunHistoryError:
    return IncompleteRunHistoryError(
        f"The run holds {expected:,} rows of history, and not all of them are exported yet",
        expected=expected,
        received=received,
        where=ref.path,
    )
