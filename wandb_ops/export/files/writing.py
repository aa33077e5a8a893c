"""A history into one file: written beside what stands there, and put in its place when it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from wandb_ops.export.places.atomic import Discard
from wandb_ops.export.places.targets import explained, measure

if TYPE_CHECKING:
    from wandb_ops.export.places.targets import Target
    from wandb_ops.export.rows.stream import HistoryStream

FileFormat = Literal["parquet", "csv", "jsonl"]


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was put in place, or found to be the same already."""

    action: Literal["written", "unchanged"]
    bytes: int
    sha256: str
    columns: tuple[tuple[str, str], ...]  # name, Arrow type


def write_history(
    history: HistoryStream,
    place: Target,
    kind: FileFormat,
    source: dict[str, Any],
    *,
    excel_safe: bool = False,
    force: bool = False,
) -> Written:
    """Put a history in place; what stands there already stays when it is the same, byte for byte."""
    action: Literal["written", "unchanged"] = "written"
    size, digest = 0, ""
    columns: tuple[tuple[str, str], ...] = ()
    with explained(place.uri, "write"), place.publish() as out:
        columns = _write(history, kind, out, source, excel_safe)
        size, digest = measure(out)
        if kind != "parquet" and not force and _same(place, digest):
            action = "unchanged"
            raise Discard
    return Written(action, size, digest, columns)


def _write(
    history: HistoryStream, kind: FileFormat, out: BinaryIO, source: dict[str, Any], excel_safe: bool
) -> tuple[tuple[str, str], ...]:
    """Write `history` in a format; returns its columns as (name, Arrow type)."""
    from wandb_ops.export.rows.parquet import ParquetSink
    from wandb_ops.export.rows.text import write_csv, write_jsonl
    from wandb_ops.history.table import key_of_field

    schema = history.schema
    if kind == "parquet":
        steps = {"first_step_read": history.first_step, "last_step_read": history.last_step}
        with ParquetSink(out, schema) as sink:
            for table in history.tables():
                sink.write(table)
            sink.close(source | steps)
    elif kind == "csv":
        write_csv(
            history.iter_rows(), [key_of_field(column) for column in schema], out, excel_safe=excel_safe
        )
    else:
        write_jsonl(history.iter_rows(), out)
    out.flush()
    return tuple((column.name, str(column.type)) for column in schema)


def _same(place: Target, digest: str) -> bool:
    if not place.exists():
        return False
    with place.open() as standing:
        return measure(standing)[1] == digest
