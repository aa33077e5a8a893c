"""Where a sync stands, kept in the run itself, so that any machine can go on.

Rows of several directories are merged by wall time, and a folder can grow while it is synced or between two
syncs. What was sent must not change its order afterwards. So a sync works in passes: before its first row
leaves, a pass writes down from where to where it reads each file; its rows are a function of those byte
ranges alone. A pass that was interrupted is played again over the same ranges, and the server's line count
says which of its rows are there already. A finished pass leaves the positions at which the next one begins.

The state is one object in the run's summary, under `_wandb`, which W&B's own pages do not show. Without it
(an older run, a summary that was replaced) the folder is read from the beginning as one pass, and the
server's last row must be the row that this pass gives for that line.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from wandb_ops.errors import RunConflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.tensorboard.discover import EventFile

VERSION = 1
SUMMARY_KEY = "tensorboard_sync"
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class SyncState:
    """What the next sync must know.

    Attributes:
        line: The history line at which the pass (under way, or the next one) begins.
        origin: Wall time of the first row, `_runtime` 0; None before there is one.
        since: File name -> byte at which the pass begins; files not named begin at 0.
        until: File name -> byte at which the pass under way ends; None when no pass is under way.
        heads: File name -> stored CRC of its first record, which tells one file from another.
        tail: Fingerprint of the row before `line`; empty when there is none.
    """

    line: int = 0
    origin: float | None = None
    since: Mapping[str, int] = field(default_factory=dict)
    until: Mapping[str, int] | None = None
    heads: Mapping[str, int] = field(default_factory=dict)
    tail: str = ""

    def to_json(self) -> dict[str, Any]:
        """The object that stands in the summary."""
        return {
            "version": VERSION,
            "line": self.line,
            "origin": self.origin,
            "since": dict(self.since),
            "until": None if self.until is None else dict(self.until),
            "heads": dict(self.heads),
            "tail": self.tail,
        }

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any], *, where: str) -> Self | None:
        """The state in a run's summary; None when there is none.

        Raises:
            RunConflict: The state was written by a version of this program that this one does not know.
        """
        internal = summary.get("_wandb")
        found = internal.get(SUMMARY_KEY) if isinstance(internal, dict) else None
        if not isinstance(found, dict):
            return None
        if found.get("version") != VERSION:
            raise RunConflict(
                f"the run was synced by another version of wandb-ops (state {found.get('version')!r})",
                where=where,
                hint="Use the newest version of wandb-ops for this run.",
            )
        until = found["until"]
        return cls(
            line=int(found["line"]),
            origin=None if found["origin"] is None else float(found["origin"]),
            since={str(name): int(at) for name, at in found["since"].items()},
            until=None if until is None else {str(name): int(at) for name, at in until.items()},
            heads={str(name): int(head) for name, head in found["heads"].items()},
            tail=str(found["tail"]),
        )

    def check_files(self, files: Mapping[str, EventFile], *, where: str) -> None:
        """Refuse a folder that is not the one this state speaks of.

        Raises:
            RunConflict: Files are replaced, shorter than what was read of them, or all gone; or a pass is
                under way and one of its files is gone.
        """
        needed = self.since if self.until is None else {**self.since, **self.until}
        missing = [name for name in needed if name not in files]
        unread = [
            name
            for name in missing
            if self.until is not None and self.until.get(name, 0) > self.since.get(name, 0)
        ]
        if needed and (len(missing) == len(needed) or unread):
            raise RunConflict(
                f"the run was synced from a folder with {(unread or missing)[0]!r}, which is not here",
                where=where,
                hint="Sync this folder to another run id, or give the folder that belongs to this run.",
            )
        for name, end in needed.items():
            file = files.get(name)
            if file is None:
                continue
            if file.size < end or (self.heads.get(name) and head_of(file) != self.heads[name]):
                raise RunConflict(
                    f"{name!r} is not the file that was synced to this run: it was replaced or cut",
                    where=where,
                    hint="Sync the folder to a new run id.",
                )


def head_of(file: EventFile) -> int:
    """The CRC stored behind the file's first record; 0 while there is no whole record."""
    header = file.read(0, 12)
    if len(header) < 12:
        return 0
    stored = file.read(12 + int.from_bytes(header[:8], "little"), 4) if file.size >= 16 else b""
    return int.from_bytes(stored, "little") if len(stored) == 4 else 0


def fingerprint(row: Mapping[str, Any]) -> str:
    """A row by its values: key order and the spelling of numbers do not count."""
    text = json.dumps(_plain(row), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
