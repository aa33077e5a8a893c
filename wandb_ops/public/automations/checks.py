"""What the parts of an automation share: choices that are checked, and JSON that servers wrap into text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wandb_ops.errors import UsageError
from wandb_ops.protocol import values


def read_object(value: Any) -> dict[str, Any]:
    """A JSON object, however deeply the server wrapped it into texts."""
    found = values.loads(value) if isinstance(value, str) else value
    return dict(found) if isinstance(found, Mapping) else {}


def one_of(given: str, known: Mapping[str, str]) -> str:
    if given not in known:
        raise UsageError(f"{given!r} is none of {', '.join(sorted(known))}")
    return known[given]
