"""Which column of a lake's table each key goes to, and which type it gets.

Columns widen by docs/values.md. Delta does not tell upper from lower case: a key that would get the name of
another column has `~` behind it, and its field's metadata has the key itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.export.lake.scan import batches_of
from wandb_ops.export.rows.schema import bits_of_column, bits_of_field, field_of
from wandb_ops.history import kinds as k
from wandb_ops.history.table import key_of_field
from wandb_ops.history.unify import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa
    from deltalake import DeltaTable


@dataclass(frozen=True, slots=True)
class Part:
    """Rows on their way into a table.

    Attributes:
        tables: The rows, in tables of `schema`; may be asked for again when a commit was lost to another.
        schema: Their columns, named as W&B's keys are.
        bits: Column -> what it holds, as bits of `history.kinds`; None for columns not made of such values.
        constants: Columns with one value for all rows, such as the run's name.
    """

    tables: Callable[[], Iterator[pa.Table]]
    schema: pa.Schema
    bits: Mapping[str, int | None]
    constants: Mapping[str, str]


@dataclass
class Columns:
    """The columns of a table, as they have to be for the parts that come."""

    known: pa.Schema | None
    fields: dict[str, pa.Field[Any]] = field(default_factory=dict)
    bits: dict[str, int | None] = field(default_factory=dict)
    names: list[dict[str, str]] = field(default_factory=list)  # per part: column -> column of the part

    def __post_init__(self) -> None:
        self._used: set[str] = set()
        self._own: dict[str, int | None] = {}
        for known in self.known or ():
            self.fields[known.name] = known
            self.bits[known.name] = self._own[known.name] = bits_of_field(known)
        self._by_key = {
            (bits_of_field(f) is not None, key_of_field(f)): name for name, f in self.fields.items()
        }
        self._taken = {name.lower() for name in self.fields}

    def add(self, part: Part) -> None:
        """Find or make a column for each of the part's."""
        import pyarrow as pa

        for name in part.constants:
            self._column(pa.field(name, pa.string()), None)
        names = {}
        for one in part.schema:
            bits = part.bits.get(one.name)
            if bits == 0 and (True, key_of_field(one)) not in self._by_key:
                continue  # nothing but nulls: absent says the same
            names[self._column(one, bits)] = one.name
        self.names.append(names)

    def _column(self, one: pa.Field[Any], bits: int | None) -> str:
        import pyarrow as pa

        key = key_of_field(one)
        name = self._by_key.get((bits is not None, key))
        if name is None:
            name = one.name
            while name.lower() in self._taken or not name:
                name += "~"  # Delta does not tell upper from lower case, and wants a name
            metadata: Any = dict(one.metadata or {})
            if name != key:
                metadata[KEY] = json.dumps(key).encode()
            self.fields[name] = pa.field(name, one.type, metadata=metadata)
            self.bits[name] = bits
            self._by_key[bits is not None, key] = name
            self._taken.add(name.lower())
        elif bits is not None:
            self.bits[name] = (self.bits[name] or 0) | bits
        self._used.add(name)
        return name

    @property
    def widened(self) -> list[str]:
        """Columns of the table whose type is too narrow now."""
        return [
            name
            for name, own in self._own.items()
            if own is not None and k.column_type(self.bits[name] or 0) != k.column_type(own)
        ]

    def know(self, name: str, bits: int) -> None:
        """What the table's column really holds."""
        self._own[name] = bits
        self.bits[name] = (self.bits[name] or 0) | bits

    def whole(self, *, only_known: bool) -> pa.Schema:
        """All columns, or those that the table has already."""
        import pyarrow as pa

        names = [name for name in self.fields if not only_known or name in self._own]
        return pa.schema([self._typed(name) for name in names])

    def written(self) -> pa.Schema:
        """The columns that this commit has values for."""
        import pyarrow as pa

        return pa.schema([self._typed(name) for name in self.fields if name in self._used])

    def _typed(self, name: str) -> pa.Field[Any]:
        bits = self.bits[name]
        return self.fields[name] if bits is None else field_of(self.fields[name], bits)


def schema_of(table: DeltaTable) -> pa.Schema:
    """A table's columns as Arrow's, each with its metadata."""
    import pyarrow as pa

    schema = pa.schema(cast("Any", table.schema().to_arrow()))
    return pa.schema([pa.field(f.name, _plain(f.type), metadata=f.metadata) for f in schema])


def _plain(kind: Any) -> Any:
    """Arrow has several texts and lists; Delta has one of each."""
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.string() if str(kind) in ("large_string", "string_view") else kind


def bits_in(table: DeltaTable, name: str) -> int:
    """What a column of the table really holds."""
    import pyarrow as pa

    known, bits = schema_of(table).field(name), 0
    for batch in batches_of(table, columns=[name]):
        bits |= bits_of_column(known, pa.chunked_array([batch.column(0)])) or 0
    return bits


def with_constants(rows: pa.Table, constants: Mapping[str, str]) -> pa.Table:
    """`rows` with one value in each of some columns."""
    import pyarrow as pa

    for name, value in constants.items():
        place = rows.schema.get_field_index(name)
        column = pa.chunked_array([pa.repeat(pa.scalar(value, pa.string()), rows.num_rows)])
        rows = rows.set_column(place, rows.schema.field(place), column)
    return rows
