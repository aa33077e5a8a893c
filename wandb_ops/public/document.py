"""A JSON text of a run that the user edits: its config or its summary.

Holds what the server had when it was read and what the user made of it, parsed on first use: one run's broken
text is an error when it is asked for, and not when a page of fifty runs arrives.
"""

from __future__ import annotations

import copy
import os
import threading
from typing import Any

from wandb_ops.errors import DataError
from wandb_ops.protocol import values
from wandb_ops.public.encode import to_stored
from wandb_ops.public.merge import Change, changes

#: Config keys that the W&B clients write for themselves.
INTERNAL_KEYS = frozenset({"_wandb", "wandb_version"})

_parsing = threading.RLock()


def _new_lock() -> None:
    global _parsing  # noqa: PLW0603 - whoever held it is not there in a forked child
    _parsing = threading.RLock()


os.register_at_fork(after_in_child=_new_lock)


class Document:
    """One editable JSON object.

    Args:
        text: As the server gave it; None and "" are an empty object.
        where: For messages.
        wrapped: Whether values are stored as `{"value": ...}`, as a config's are.
    """

    def __init__(self, text: Any, *, where: str, wrapped: bool) -> None:
        self._text = text
        self._where = where
        self._wrapped = wrapped
        self._stored: dict[str, Any] | None = None  # the server's, wrapping and internal keys included
        self._base: dict[str, Any] = {}
        self._now: dict[str, Any] = {}

    def _parse(self) -> dict[str, Any]:
        if self._stored is None:
            with _parsing:  # threads share the runs of a list, and nobody may see half of this
                self._parse_once()
        return self._stored or {}

    def _parse_once(self) -> None:
        if self._stored is None:
            stored = parse_object(self._text, self._where)
            self._base = self._unwrap(stored)
            self._now.clear()
            self._now.update(copy.deepcopy(self._base))
            self._stored = stored

    @property
    def base(self) -> dict[str, Any]:
        """The user's part of what the server had.

        Raises:
            DataError: The text is no JSON object.
        """
        self._parse()
        return self._base

    @property
    def now(self) -> dict[str, Any]:
        """The user's part, to be edited in place."""
        self._parse()
        return self._now

    @property
    def internal(self) -> dict[str, Any]:
        """The clients' own keys, without wrapping."""
        return {key: _inner(item) for key, item in self._parse().items() if self._is_internal(key)}

    def pending(self) -> list[Change]:
        """What the user changed since it was read."""
        if self._stored is None:
            return []  # never looked at, so never changed
        return changes(self._base, to_stored(self._now, where=self._where))

    def text_with(self, user: dict[str, Any]) -> str:
        """The text to send: `user` as the user's part, the rest as the server has it."""
        if not self._wrapped:
            return values.dumps(user)
        whole = {key: item for key, item in self._parse().items() if self._is_internal(key)}
        for key, value in user.items():
            old = self._parse().get(key)
            described = old.get("desc") if isinstance(old, dict) and "value" in old else None
            whole[key] = {"value": value, "desc": described}
        return values.dumps(whole)

    def replace(self, text: Any) -> None:
        """Take over the server's text and drop what was not saved; holders of `now` see it change."""
        looked_at = self._stored is not None
        self._text, self._stored = text, None
        if looked_at:
            self._parse()

    def _is_internal(self, key: str) -> bool:
        return self._wrapped and key in INTERNAL_KEYS

    def _unwrap(self, stored: dict[str, Any]) -> dict[str, Any]:
        if not self._wrapped:
            return copy.deepcopy(stored)
        return {
            key: copy.deepcopy(_inner(item)) for key, item in stored.items() if not self._is_internal(key)
        }


def _inner(item: Any) -> Any:
    return item["value"] if isinstance(item, dict) and "value" in item else item


def parse_object(text: Any, where: str) -> dict[str, Any]:
    """The JSON object in `text`; None and "" are empty, and a dict is itself.

    Raises:
        DataError: No JSON, or not an object.
    """
    if isinstance(text, dict):
        return text
    try:
        return values.loads_object(text)
    except DataError as error:
        raise DataError(f"What the server holds cannot be read: {error.message}", where=where) from None
