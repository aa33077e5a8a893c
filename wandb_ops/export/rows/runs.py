"""One row per run: what a run is, its config and its summary, as one Arrow table.

Nested config and summary become columns with dots in their names (`config.optimizer.lr`, `summary.loss`).
Types follow docs/values.md, as in a history. Where two different keys would get one name (`{"a.b": 1}` beside
`{"a": {"b": 2}}`) the parts that hold a dot are quoted (`config."a.b"`); every such column also carries
its path as JSON, so that a name can always be taken apart again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError
from wandb_ops.history.kinds import is_utf8
from wandb_ops.history.unify import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from wandb_ops.public.runs.run import Run

PATH = b"wandb_ops.path"
"""Field metadata: where a column's values come from, such as `["summary", "loss"]`."""

_DEEPEST = 16  # levels that become columns; below, a value stays one JSON text
Path = tuple[str, ...]


def runs_chunk(runs: Iterable[Run], left_out: Counter[str], *, at: datetime | None = None) -> pa.Table:
    """Rows for `runs`, in their order: one of the tables for a `TableSpool`, which puts them together and
    gives the columns their names.

    Columns: run_id, display_name, state, url, created_at, heartbeat_at, group, job_type, tags, user,
    history_lines, last_step, `at` when given, then `config.…` and `summary.…` sorted by name.

    Args:
        runs: Runs with config and summary loaded: none of them is asked for again.
        left_out: Counts what could not be taken, by reason.
        at: The moment that the rows are for.
    """
    import pyarrow as pa

    fixed: list[dict[str, Any]] = []
    loose: list[dict[Path, Any]] = []
    for run in runs:
        fixed.append(_fixed_part(run, at, left_out))
        values: dict[Path, Any] = {}
        for part in ("config", "summary"):
            try:
                values.update(_flat(getattr(run, part), (part,)))
            except DataError:
                left_out[f"{part} that is no JSON"] += 1
        loose.append(values)
    table = pa.Table.from_pylist(fixed, schema=_fixed_schema(at is not None))
    for field, column in _loose_columns(loose):
        table = table.append_column(field, column)
    return table


def identity(field: pa.Field[Any]) -> str:
    """What tells the columns of such tables apart: where the values come from, else the name."""
    path = (field.metadata or {}).get(PATH)
    return path.decode() if path else field.name


def renamed(fields: Mapping[str, pa.Field[Any]]) -> Iterator[tuple[str, pa.Field[Any]]]:
    """Columns by identity, as they are to stand in a table: the fixed ones first, then config and summary
    sorted by name, each under the name that its path has among all the others."""
    paths = {ident: path_of_field(one) for ident, one in fields.items()}
    names = column_names(path for path in paths.values() if path)
    for ident, one in fields.items():
        if not paths[ident]:
            yield ident, one
    loose = sorted((names[path], ident) for ident, path in paths.items() if path)
    taken = {one.name for ident, one in fields.items() if not paths[ident]}
    for name, ident in loose:
        yield ident, _named(fields[ident], name, taken)


def _named(field: pa.Field[Any], name: str, taken: set[str]) -> pa.Field[Any]:
    """`field` under a name that UTF-8 can hold; where it had to change, the metadata has the real one."""
    metadata: Any = {key: value for key, value in (field.metadata or {}).items() if key != KEY}
    spelled = name if is_utf8(name) else json.dumps(name)[1:-1]
    while spelled in taken:
        spelled += "~"
    taken.add(spelled)
    if spelled != name:
        metadata[KEY] = json.dumps(name).encode()
    return field.with_name(spelled).with_metadata(metadata)


def path_of_field(field: pa.Field[Any]) -> Path:
    """Where the values of a column of such a table come from; () for the fixed columns."""
    spelled = (field.metadata or {}).get(PATH)
    return tuple(json.loads(spelled)) if spelled else ()


def column_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for each path: its parts joined with dots, different for different paths."""
    paths = sorted(set(paths))
    shared = Counter(".".join(path) for path in paths)
    names: dict[Path, str] = {}
    taken: set[str] = {name for name, count in shared.items() if count == 1}
    for path in paths:
        name = ".".join(path)
        if shared[name] > 1:
            name = ".".join(json.dumps(part, ensure_ascii=False) if "." in part else part for part in path)
            while name in taken:
                name += "~"
            taken.add(name)
        names[path] = name
    return names


def _fixed_schema(with_moment: bool) -> pa.Schema:
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    fields: list[tuple[str, pa.DataType]] = [
        ("run_id", pa.string()),
        ("display_name", pa.string()),
        ("state", pa.string()),
        ("url", pa.string()),
        ("created_at", moment),
        ("heartbeat_at", moment),
        ("group", pa.string()),
        ("job_type", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("user", pa.string()),
        ("history_lines", pa.int64()),
        ("last_step", pa.int64()),
    ]
    return pa.schema([*fields, ("at", moment)] if with_moment else fields)


def _fixed_part(run: Run, at: datetime | None, left_out: Counter[str]) -> dict[str, Any]:
    user = run.user
    keys = run.history_keys
    row = {
        "run_id": _text(run.id),
        "display_name": _text(run.name),
        "state": _text(run.state),
        "url": run.url,
        "created_at": _time(run.created_at, left_out),
        "heartbeat_at": _time(run.heartbeat_at, left_out),
        "group": _text(run.group),
        "job_type": _text(run.job_type),
        "tags": [_text(tag) for tag in run.tags],
        "user": _text(user.username) if user else None,
        "history_lines": _count(run.history_line_count),
        "last_step": _count(keys.get("lastStep")) if isinstance(keys, Mapping) else None,
    }
    return row | ({"at": at} if at is not None else {})


def _text(value: Any) -> str | None:
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode()


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None


def _time(text: str | None, left_out: Counter[str]) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        left_out["time that is no ISO 8601"] += 1
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _flat(values: Mapping[str, Any], path: Path) -> dict[Path, Any]:
    """Path -> value. A media object or histogram (`_type`) is one value, and so is an empty dict."""
    flat: dict[Path, Any] = {}
    for key, value in values.items():
        inner = (*path, str(key))
        if isinstance(value, Mapping) and value and "_type" not in value and len(inner) < _DEEPEST:
            flat.update(_flat(value, inner))
        else:
            flat[inner] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _loose_columns(rows: Sequence[dict[Path, Any]]) -> list[tuple[pa.Field[Any], pa.ChunkedArray[Any]]]:
    """Config and summary as typed columns, each under its path as JSON."""
    from wandb_ops.history.columns import ColumnBuilder
    from wandb_ops.history.table import key_of_field
    from wandb_ops.history.unify import unify

    spelled = {path: json.dumps(path) for row in rows for path in row}
    builder = ColumnBuilder()
    builder.add([{spelled[path]: value for path, value in row.items()} for row in rows])
    table = unify(builder.finish(), always=list(spelled.values()))
    columns = []
    for place, field in enumerate(table.schema):
        metadata: Any = {**(field.metadata or {}), PATH: key_of_field(field).encode()}
        columns.append((field.with_metadata(metadata), table.column(place)))
    return columns
