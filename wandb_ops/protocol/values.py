"""W&B's JSON text to Python and back, with no value changed on the way.

W&B writes history rows, config and summary as JSON text with the bare tokens NaN, Infinity and -Infinity.
A fast parser does not read those, and turns integers beyond 64 bits into doubles without a word; the
standard one reads both, seven times slower. So: the fast parser for what it reads exactly, the standard
one for the texts (of a page: for the rows) that need it. docs/values.md is the contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from wandb_ops.errors import DataError
from wandb_ops.transport.integers import has_long_integer

MAX_DEPTH = 400
"""Levels of nesting that `dumps` writes; deeper values are refused, not recursed into."""

_SIMPLE = frozenset({str, int, float, bool, type(None)})
_NEVER_NULL = frozenset({str, int, float, bool})
_ORJSON_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)


def loads(text: str | bytes | bytearray | memoryview) -> Any:
    """The Python value of a JSON text of W&B: NaN tokens, integers of any length, lone surrogates.

    Raises:
        DataError: The text is not JSON, is nested too deep, or holds an integer of thousands of digits.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if not has_long_integer(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # the standard parser decides: it also reads NaN and lone surrogates
    return _loads_exactly(data)


def _loads_exactly(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise DataError("JSON text is nested too deep to be read") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and integers of > 4300 digits
        raise DataError(f"text is not JSON: {_reason(error)}") from None


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "bytes that are not UTF-8" if isinstance(error, UnicodeError) else str(error)


def loads_object(text: str | bytes | None) -> dict[str, Any]:
    """`loads` of a text that must be an object; None and the empty text are the empty object."""
    if not text:
        return {}
    value = loads(text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, got {type(value).__name__}")
    return value


def loads_rows(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of one history page, parsed in one call where that is exact.

    Args:
        texts: JSON objects, one a row, as `history` and `events` return them.

    Raises:
        DataError: A text is not a JSON object; the message names its place in the page.
    """
    if not texts:
        return []
    parts = list(texts)
    parts[0] = "[" + parts[0]
    parts[-1] += "]"
    page = ",".join(parts).encode("utf-8", "surrogatepass")
    del parts
    if not has_long_integer(page):
        try:
            rows = orjson.loads(page)
        except orjson.JSONDecodeError:
            rows = None
        # A text such as `{},{}` would smuggle in a row: then the rows are read one by one, and it fails.
        if rows is not None and len(rows) == len(texts) and set(map(type, rows)) == {dict}:
            return rows  # type: ignore[no-any-return]  # orjson.loads returns Any
    return [_loads_row(text, place) for place, text in enumerate(texts)]


def _loads_row(text: str, place: int) -> dict[str, Any]:
    try:
        row = loads(text)
    except DataError as error:
        raise DataError(f"row {place} of the page: {error.message}") from None
    if not isinstance(row, dict):
        raise DataError(f"row {place} of the page is not a JSON object but {type(row).__name__}")
    return row


def dumps(value: Any) -> str:
    """JSON text of `value` as W&B takes it: bare NaN, Infinity and -Infinity, no spaces.

    Takes None, bool, int, float, str, mappings, lists and tuples of these, and numpy's scalars and arrays
    (a float32 is written as the double of the same value). Integer keys become their decimal text.

    Raises:
        TypeError: A value or key of another type; the message names the path to it.
        DataError: Nested deeper than `MAX_DEPTH` levels, or an object that contains itself.
    """
    if type(value) is dict and _NEVER_NULL.issuperset(map(type, value.values())):
        try:
            fast = orjson.dumps(value, option=_ORJSON_OPTIONS)
        except TypeError:
            fast = b"null"  # keys that are not text, long integers, lone surrogates
        if b"null" not in fast:  # NaN and the infinities would have become null
            return fast.decode()
    plain = to_plain(value)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=True, separators=(",", ":"))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate: only its escape can be sent or stored
            return json.dumps(plain, ensure_ascii=True, allow_nan=True, separators=(",", ":"))
    return text


def to_plain(value: Any) -> Any:
    """`value` in JSON's types only, as new containers; see `dumps` for what is taken and raised."""
    try:
        return _plain(value, (), 0)
    except RecursionError:
        raise DataError("value is nested too deep to be written") from None


def _plain(value: Any, path: tuple[Any, ...], depth: int) -> Any:
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if depth > MAX_DEPTH:
        raise DataError(f"value at {_spell(path[:8])}... is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return _plain_mapping(value, path, depth)
    if isinstance(value, (list, tuple)):
        if _SIMPLE.issuperset(map(type, value)):
            return list(value)
        return [_plain(item, (*path, place), depth + 1) for place, item in enumerate(value)]
    # Subclasses (IntEnum, numpy.float64, numpy.str_) are written as the plain value they are.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if kind.__module__ == "numpy":
        plain = value.tolist() if hasattr(value, "tolist") else value
        if type(plain) is not kind:  # an extended double has no plain counterpart and returns itself
            return _plain(plain, path, depth + 1)
    raise TypeError(f"{_spell(path)}: {kind.__module__}.{kind.__qualname__} is not a value W&B can hold")


def _plain_mapping(value: Mapping[Any, Any], path: tuple[Any, ...], depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(key, str):
            name = str.__str__(key)
        elif isinstance(key, int) and not isinstance(key, bool):
            name = str(int(key))
        else:
            raise TypeError(f"{_spell(path)}: key {key!r} is {type(key).__name__}, not text")
        if name in plain:
            raise TypeError(f"{_spell(path)}: two keys are written {name!r}")
        plain[name] = _plain(item, (*path, name), depth + 1)
    return plain


def _spell(path: tuple[Any, ...]) -> str:
    if not path:
        return "value"
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def unwrap_config(text: str | bytes | None, *, whole: bool = False) -> dict[str, Any]:
    """A run's config as the user wrote it: `{"k":{"value":v}}` gives `{"k": v}`.

    Keys of W&B's own (`_wandb` and others that begin with `_`) are left out, unless `whole`: whoever sends a
    config back must send them too, because a config is stored as one piece.

    Raises:
        DataError: The text is not a JSON object.
    """
    return {
        key: entry["value"] if isinstance(entry, dict) and "value" in entry else entry
        for key, entry in loads_object(text).items()
        if whole or not key.startswith("_")
    }


def wrap_config(config: Mapping[str, Any]) -> str:
    """A run's config as W&B stores it; the inverse of `unwrap_config`.

    Raises:
        TypeError: A value W&B cannot hold; the message names the key.
    """
    return dumps({key: {"value": item} for key, item in to_plain(config).items()})
