"""Which rows and keys of a page were asked for.

W&B's `keys=` means rows that have every key. Whole rows are read and the choice is made here, because the
server's own selection (`sampledHistory`) thins rows out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

KeysMode = Literal["all", "any"]
_ABSENT: Any = object()


class Selection:
    """The keys asked for; with none given, every row whole.

    Args:
        keys: Names as in the row; a name with dots also finds `{"a": {"b": ...}}`, as W&B lists it.
        mode: "all" takes rows that have every key, "any" rows that have at least one.

    Raises:
        UsageError: A mode that is neither, or `keys` as one string.
    """

    def __init__(self, keys: Sequence[str] | None, mode: KeysMode = "all") -> None:
        if mode not in ("all", "any"):
            raise UsageError(f"keys_mode must be 'all' or 'any', not {mode!r}")
        if isinstance(keys, str):
            raise UsageError("keys must be a list of names, not one string", hint=f"Write keys=[{keys!r}].")
        self.keys = tuple(dict.fromkeys(keys)) if keys else ()
        self.mode = mode

    def __bool__(self) -> bool:
        return bool(self.keys)

    def rows(self, rows: list[dict[str, Any]], *, extra: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The rows asked for, cut down to the keys asked for; `extra` keys come along where present."""
        if not self.keys:
            return rows
        chosen = []
        for row in rows:
            found = {key: row[key] if key in row else _nested(row, key) for key in self.keys}
            present = {key: value for key, value in found.items() if value is not _ABSENT}
            if len(present) == len(found) or (present and self.mode == "any"):
                ahead = {key: row[key] for key in extra if key in row and key not in present}
                chosen.append(ahead | present if ahead else present)
        return chosen


def _nested(row: dict[str, Any], key: str) -> Any:
    """The value at a dotted path, a part of which may itself hold dots."""
    for place, letter in enumerate(key):
        if letter == "." and isinstance(inner := row.get(key[:place]), dict):
            rest = key[place + 1 :]
            value = inner[rest] if rest in inner else _nested(inner, rest)
            if value is not _ABSENT:
                return value
    return _ABSENT
