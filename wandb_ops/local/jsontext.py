"""JSON as W&B writes it: lines may hold bare ``NaN`` and ``Infinity``, which standard parsers refuse.

Stored texts are never re-encoded; they are read only for what a query needs.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from wandb_ops.local.errors import Refused


def loads(text: str | bytes) -> Any:
    """Parse JSON, bare NaN and Infinity included; raises ``ValueError``."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def loads_object(text: str | None, what: str) -> dict[str, Any]:
    """Parse a JSON object that a client sent; :class:`Refused` names ``what`` when it is none."""
    try:
        value = loads(text) if text else {}
    except ValueError:
        raise Refused(f"{what} is not valid JSON") from None
    if not isinstance(value, dict):
        raise Refused(f"{what} must be a JSON object")
    return value


def dumps(value: Any) -> str:
    """JSON text with bare NaN and Infinity where the value has them."""
    return json.dumps(value, separators=(",", ":"))


def finite(value: Any) -> float | None:
    """A number as a float; None for all else: bools, texts, NaN, infinities, integers beyond every float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def strict(value: Any) -> Any:
    """The value with NaN and infinities as the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.

    For the JSON scalar of an answer, where bare tokens would break the client's parser.
    """
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict(item) for item in value]
    return value
