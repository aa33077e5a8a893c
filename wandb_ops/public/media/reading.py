"""Media objects out of logged artifacts, whoever logged them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from wandb_ops.errors import DataError, Error, UsageError
from wandb_ops.protocol import values
from wandb_ops.public.media import types
from wandb_ops.public.media.cells import moment
from wandb_ops.public.media.html import Html
from wandb_ops.public.media.image import FORMATS, Image
from wandb_ops.public.media.pixels import format_and_size
from wandb_ops.public.media.table import Table
from wandb_ops.public.runs.histogram import Histogram

if TYPE_CHECKING:
    from wandb_ops.public.media.base import Media

Fetch = Callable[[Iterable[str]], Mapping[str, bytes]]
Held = Mapping[str, bytes]

#: How the names of entries that hold an object end.
SUFFIXES = ("table.json", "image-file.json", "html-file.json")
_UNREAD = ("joined-table", "partitioned-table", "audio-file", "video-file", "object3D-file", "molecule-file")
_UNREAD_SUFFIXES = tuple(
    f"{kind}.json" for kind in (*_UNREAD, "bokeh-file", "classes", "mask", "saved-model")
)


def find_object(names: object, name: str) -> str | None:
    """The entry that holds the object `name`: the name itself, or with the suffix of an object's kind."""
    held: Any = names
    if name in held and name.endswith((*SUFFIXES, *_UNREAD_SUFFIXES)):
        return name
    for suffix in (*SUFFIXES, *_UNREAD_SUFFIXES):
        if f"{name}.{suffix}" in held:
            return f"{name}.{suffix}"
    return None


def read_object(entry: str, fetch: Fetch, where: str) -> Media | Histogram:
    """The object that an entry holds.

    Args:
        entry: Its name.
        fetch: The bytes of entries of the same artifact, by name.
        where: For errors.

    Raises:
        UsageError: Objects of that kind are not read here.
        DataError: The entry is not what its name says.
    """
    try:
        content = values.loads_object(fetch([entry])[entry])
    except DataError as error:
        error.where = error.where or where
        raise
    kind = content.get("_type")
    held = fetch(set(_files_of(content)))  # together: a table may have thousands
    if kind == "table":
        return _table(content, held, where)
    found = _object(content, held, where)
    if found is None:
        raise UsageError(
            f"Objects of type {kind!r} are not read here",
            where=where,
            hint="Its files can be downloaded, and the wandb SDK reads it.",
        )
    return found


def _files_of(value: Any) -> Iterator[str]:
    """Names of the files that the objects in a JSON value need."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and (
            value.get("_type") in {"image-file", "html-file"} or set(value) == {"key", "path"}
        ):
            yield path
        for item in value.values():
            yield from _files_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from _files_of(item)


def _object(content: dict[str, Any], held: Held, where: str) -> Media | Histogram | None:
    kind = content.get("_type")
    try:
        if kind == "image-file":
            data = held[content["path"]]
            if format_and_size(data) is None and content.get("format") not in FORMATS:
                return None  # the SDK keeps files of any kind
            image = Image(data, caption=content.get("caption"), grouping=content.get("grouping"))
            image.format = content.get("format") or image.format
            return image
        if kind == "html-file":
            return Html(held[content["path"]].decode(), inject=False, data_is_not_path=True)
        if kind == "histogram" and "packedBins" not in content:
            return Histogram(np_histogram=(content["values"], content["bins"]))
    except (KeyError, TypeError, UnicodeDecodeError, UsageError) as error:
        raise DataError(f"The object of type {kind!r} is damaged: {error}", where=where) from error
    return None


def _table(content: dict[str, Any], held: Held, where: str) -> Table:
    try:
        columns, rows = list(content["columns"]), list(content["data"])
        kinds = ((content.get("column_types") or {}).get("params") or {}).get("type_map") or {}
        made = Table([str(number) for number in range(len(columns))])
        made.columns, made.log_mode = columns, content.get("log_mode") or made.log_mode
        made._types = [kinds.get(str(name)) or types.optional(types.ANY) for name in columns]
        made._mixed = any(types.ANY in types.members_of(kind) for kind in made._types)
        made._quick = [set() for _ in columns]
        made.data = [list(row) for row in rows]
        if any(len(row) != len(columns) for row in made.data):
            raise IndexError(f"a row has not {len(columns)} cells")
        for place, kind in enumerate(made._types):
            cells = _arrays(kind, held, len(rows)) or [
                _cell(row[place], kind, held, where) for row in made.data
            ]
            for row, cell in zip(made.data, cells, strict=True):
                row[place] = cell
    except Error:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, OSError, BadZipFile) as error:
        raise DataError(f"The table is damaged: {type(error).__name__} {error}", where=where) from error
    return made


def _arrays(kind: types.Type, held: Held, count: int) -> list[Any] | None:
    """The cells of a column that lies in a file of numpy's; None for another column."""
    for each in types.members_of(kind):
        at = (each.get("params") or {}).get("serialization_path") if each["wb_type"] == "ndarray" else None
        if at:
            import numpy as np

            with np.load(BytesIO(held[at["path"]]), allow_pickle=False) as found:
                cells = list(found[at["key"]])
            if len(cells) != count:
                raise IndexError(f"{len(cells)} arrays for {count} rows")
            return cells
    return None


def _cell(value: Any, kind: types.Type, held: Held, where: str) -> Any:
    """A cell as it was put in: times and objects instead of their JSON."""
    if value is None:
        return None
    if isinstance(value, dict):
        if isinstance(value.get("_type"), str):
            found = _object(value, held, where)
            return value if found is None else found
        members = _params(kind, "typedDict", "type_map") or {}
        return {key: _cell(item, members.get(key) or types.ANY, held, where) for key, item in value.items()}
    if isinstance(value, list):
        element = _params(kind, "list", "element_type") or types.ANY
        return [_cell(item, element, held, where) for item in value]
    return moment(value) if types.TIMESTAMP in types.members_of(kind) else value


def _params(kind: types.Type, name: str, key: str) -> Any:
    for each in types.members_of(kind):
        if each["wb_type"] == name:
            return (each.get("params") or {}).get(key)
    return None
