"""One schema for tables that were typed apart: runs of many days, snapshots of many weeks.

Each table has the narrowest types for its own values. Put together, a column gets the type that
docs/values.md gives to all of them: integers and floats become floats while that is exact, anything that does
not fit becomes JSON text of each value. What a column is stands in its field's metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError
from wandb_ops.history import kinds as k
from wandb_ops.history.table import kind_of_field
from wandb_ops.history.unify import KIND
from wandb_ops.protocol.values import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

_BITS = {
    "int": k.INT,
    "bigint": k.INT | k.LARGE | k.ROUNDED,
    "float": k.FLOAT,
    "bool": k.BOOL,
    "str": k.TEXT,
    "json": k.JSON,
    "null": 0,
}
_EXACT = 2**53


def bits_of_field(field: pa.Field[Any]) -> int | None:
    """What a column may hold, by its type alone; None for columns that are not made of W&B's values."""
    return _BITS.get(kind_of_field(field))


def bits_of_column(field: pa.Field[Any], column: pa.ChunkedArray[Any]) -> int | None:
    """What a column holds: for integers, whether all of them are doubles too."""
    import pyarrow.compute as pc

    bits = bits_of_field(field)
    if bits != k.INT:
        return bits
    found: Any = pc.min_max(column).as_py()
    if found["min"] is None or -_EXACT <= found["min"] <= found["max"] <= _EXACT:
        return bits
    return bits | k.ROUNDED


def field_of(field: pa.Field[Any], bits: int) -> pa.Field[Any]:
    """`field` in the type that keeps values of these kinds."""
    import pyarrow as pa

    kind = k.column_type(bits)
    types: dict[str, Any] = {
        "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "null": pa.float64()
    }  # fmt: skip
    metadata: Any = {**(field.metadata or {}), KIND: kind.encode()}
    return pa.field(field.name, types.get(kind, pa.string()), metadata=metadata)


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables, one after the other; a column that one of them lacks is null there.

    Raises:
        DataError: A column that is not made of W&B's values has two types.
    """
    import pyarrow as pa

    fields: dict[str, pa.Field[Any]] = {}
    bits: dict[str, int | None] = {}
    for table in tables:
        for place, field in enumerate(table.schema):
            own = bits_of_column(field, table.column(place))
            known = bits.get(field.name)
            if field.name not in fields:
                fields[field.name], bits[field.name] = field, own
            elif own is not None and known is not None:
                bits[field.name] = known | own
            elif field.type != fields[field.name].type:
                raise DataError(f"The column {field.name!r} is {fields[field.name].type} and {field.type}")
    joined = {name: bits[name] for name in fields}
    schema = pa.schema(
        [field if (b := joined[name]) is None else field_of(field, b) for name, field in fields.items()]
    )
    return pa.concat_tables([conform(table, schema) for table in tables])


def conform(table: pa.Table, schema: pa.Schema, names: Mapping[str, str] | None = None) -> pa.Table:
    """`table` in `schema`; columns that it lacks are null.

    Args:
        table: Rows.
        schema: Columns and types, each as wide as the table's or wider.
        names: Name in the schema -> name in the table, where they differ.
    """
    import pyarrow as pa

    columns = []
    for field in schema:
        name = field.name if names is None else names.get(field.name)
        place = -1 if name is None else table.schema.get_field_index(name)
        if place < 0:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
        else:
            columns.append(convert(table.column(place), table.schema.field(place), field))
    return pa.table(columns, schema=schema) if columns else table.select([])


def convert(column: pa.ChunkedArray[Any], own: pa.Field[Any], want: pa.Field[Any]) -> Any:
    """A column's values in a wider type."""
    import pyarrow as pa

    mine, theirs = kind_of_field(own), kind_of_field(want)
    if mine == theirs or not mine or not theirs:
        return column if column.type == want.type else column.cast(want.type)
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), want.type)])
    if theirs == "float":
        if mine == "int":
            return column.cast(want.type)
        listed = column.to_pylist()
        if mine == "bigint":
            return pa.chunked_array(
                [pa.array([None if x is None else float(int(x)) for x in listed], want.type)]
            )
        return pa.chunked_array(
            [pa.array([None if x is None else k.NONFINITE[x] for x in listed], want.type)]
        )
    if theirs == "bigint" and mine == "int":
        return column.cast(want.type)
    if theirs == "json":
        listed = column.to_pylist()
        if mine != "bigint":
            listed = [None if value is None else dumps(value) for value in listed]
        return pa.chunked_array([pa.array(listed, want.type)])
    raise AssertionError(f"no way from {mine} to {theirs}")
