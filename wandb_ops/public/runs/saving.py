"""Saving a run: what this side changed is put onto the run as it is on the server now, in one mutation."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import ProtocolError
from wandb_ops.protocol.documents.runs import UPDATE_RUN
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.document import Document
from wandb_ops.public.merge import Change, apply, conflicts, merge_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.public")

#: Plain fields of a run that can be changed -> variable of the mutation.
FIELDS = {
    "displayName": "display_name",
    "notes": "notes",
    "description": "description",
    "group": "groupName",
    "jobType": "jobType",
}

# A save reads, merges and writes. Threads that save the same run take turns.
_turns: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()
_guard = threading.Lock()


def _forget_turns() -> None:
    """In a forked child nobody holds a turn: the threads that did are not there."""
    global _turns, _guard  # noqa: PLW0603 - the child needs locks of its own
    _turns = weakref.WeakValueDictionary()
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_forget_turns)


@dataclass(frozen=True, slots=True)
class Edits:
    """What was changed on one `Run` object since it was loaded.

    Attributes:
        config: Changes of the config.
        config_before: The config as it was loaded.
        summary: Changes of the summary.
        summary_before: The summary as it was loaded.
        fields: Field of `FIELDS` -> new value.
        tags: (before, after), or None when they are the same.
    """

    config: list[Change]
    config_before: dict[str, Any]
    summary: list[Change]
    summary_before: dict[str, Any]
    fields: dict[str, Any]
    tags: tuple[list[str], list[str]] | None

    def __bool__(self) -> bool:
        return bool(self.config or self.summary or self.fields or self.tags)

    def onto(self, theirs: dict[str, Any], where: str) -> dict[str, Any]:
        """Variables of the mutation that makes these changes to the run `theirs`, and no others."""
        variables: dict[str, Any] = {"id": theirs["id"]}
        if self.config:
            there = Document(theirs.get("config"), where=f"config of {where}", wrapped=True)
            _warn(where, "config", conflicts(self.config, self.config_before, there.now))
            variables["config"] = there.text_with(apply(self.config, there.now))
        if self.summary:
            there = Document(theirs.get("summaryMetrics"), where=f"summary of {where}", wrapped=False)
            _warn(where, "summary", conflicts(self.summary, self.summary_before, there.now))
            variables["summaryMetrics"] = there.text_with(apply(self.summary, there.now))
        variables |= {FIELDS[field]: value or "" for field, value in self.fields.items()}
        if self.tags:
            before, after = self.tags
            variables["tags"] = merge_tags(before, after, list(theirs.get("tags") or []))
        return variables


def save(
    transport: Transport, edits: Edits, *, fetch: Callable[[], dict[str, Any]], where: str
) -> dict[str, Any]:
    """Make the edits; the run's node as the server has it afterwards.

    Args:
        transport: How to reach the server.
        edits: What to change.
        fetch: Reads the run as it is now.
        where: entity/project/run.

    Raises:
        NotFoundError: The run is gone; it is not made anew.
    """
    with _turn(f"{transport.settings.base_url}/{where}"):
        variables = edits.onto(fetch(), where)
        data = execute(transport, UPDATE_RUN, variables, where=where)
    node: dict[str, Any] | None = (data.get("upsertBucket") or {}).get("bucket")
    if not node:
        raise ProtocolError("The server did not say what became of the run", where=where)
    return node


def _warn(where: str, what: str, keys: list[str]) -> None:
    if keys:
        logger.warning("%s: %s changed on the server too; the value set here wins: %r", where, what, keys)


@contextmanager
def _turn(place: str) -> Iterator[None]:
    with _guard:
        lock = _turns.setdefault(place, threading.Lock())
    with lock:
        yield
