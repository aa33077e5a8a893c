"""Delta Lake tables: many writers, one truth.

What makes an export safe here is one property of Delta: a commit may carry *application transactions*, a name
and a number each, which become visible together with the data. Each run is such a name. A writer looks at the
run's number, reads what is missing, and commits rows and the new number at once; when somebody else committed
the same run meanwhile, Delta refuses the commit and the writer looks again. A killed writer leaves files that
no commit names, which nobody reads and `vacuum` removes.

Columns widen by docs/values.md. What Delta cannot widen in place (integers that meet floats, a number that
meets text) is written anew in one commit, streamed.
"""

from __future__ import annotations

import json
import logging
import random
import re
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, cast

from wandb_ops.errors import Error, OutputError, UsageError
from wandb_ops.export.schema import bits_of_column, bits_of_field, conform, field_of
from wandb_ops.export.targets import folder, shown
from wandb_ops.history import kinds as k
from wandb_ops.history.table import key_of_field
from wandb_ops.history.unify import KEY
from wandb_ops.redaction import redact
from wandb_ops.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from deltalake import DeltaTable

logger = logging.getLogger("wandb_ops.export")

TABLES = ("runs", "history", "system", "snapshots")
_ATTEMPTS = 30  # lost races before a commit is given up
_LONGEST_PAUSE = 2.0
_BATCH_ROWS = 32_768
_REMOTE = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


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


@dataclass(frozen=True, slots=True)
class Commit:
    """One step of a table.

    Attributes:
        parts: Rows to add.
        transactions: Application transactions to record.
        replaces: SQL predicate of the rows that the new ones replace; None adds to what is there.
    """

    parts: Sequence[Part]
    transactions: Mapping[str, int]
    replaces: str | None = None


def lake_uri(to: str | os.PathLike[str]) -> str:
    """Where a lake lies, as Delta wants to be told.

    Raises:
        UsageError: A place that Delta tables cannot be kept in.
    """
    text = str(to)
    scheme = _REMOTE.match(text)
    if scheme is None or text.startswith("file://"):
        return folder(to).uri
    if scheme[0] in ("memory://", "local://"):
        raise UsageError(
            f"Delta tables cannot be kept in {scheme[0]}", hint="Use a folder or an object store."
        )
    return shown(to).rstrip("/")


class LakeTable:
    """One Delta table of a lake.

    Args:
        lake: URI of the lake.
        name: Name of the table: a folder in the lake.
        rng: Source of the pauses after lost races.
        sleep: For tests.
    """

    def __init__(
        self,
        lake: str,
        name: str,
        *,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.uri = f"{lake}/{name}"
        self._rng = rng or random.Random()
        self._sleep = sleep

    def load(self) -> DeltaTable | None:
        """The table as it is now; None when there is none yet."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        with _explained(self.uri, "read"):
            try:
                return DeltaTable(self.uri)
            except TableNotFoundError:
                return None

    def commit(self, decide: Callable[[DeltaTable | None], Commit | None]) -> None:
        """Commit what `decide` wants, again and again, until it wants nothing more.

        `decide` sees the newest state each time. When another writer was faster, nothing was committed, and
        it is asked anew.

        Raises:
            OutputError: The store refused, or the race was lost too often.
        """
        from deltalake.exceptions import CommitFailedError

        lost = 0
        while True:
            table = self.load()
            step = decide(table)
            if step is None:
                return
            try:
                self._commit(table, step)
            except CommitFailedError as error:
                lost += 1
                logger.info("%s: another writer was faster (%s); looking again", self.uri, error)
                if lost >= _ATTEMPTS:
                    raise OutputError(
                        f"Other writers were faster {lost} times in a row", where=shown(self.uri)
                    ) from error
                self._sleep(self._rng.uniform(0, min(_LONGEST_PAUSE, 0.05 * 2**lost)))

    def _commit(self, table: DeltaTable | None, step: Commit) -> None:
        if table is None:
            # Somebody may have written into it before we know that it is there: `commit` asks again.
            self._create(step)
            return
        plan = _Columns(schema_of(table))
        for part in step.parts:
            plan.add(part)
        if plan.widened:
            # An integer column becomes one of floats only if each of its integers is a double.
            for name in plan.widened:
                plan.know(name, _bits_in(table, name))
            if plan.widened:
                self._rewrite(table, plan)
                return  # somebody may have committed since: `commit` asks again
        self._write(table, plan, step)

    def _create(self, step: Commit) -> None:
        """An empty table. Of several who make it at once one succeeds, and all go on from there."""
        import pyarrow as pa
        from deltalake import CommitProperties, DeltaTable
        from deltalake.exceptions import CommitFailedError

        constants = (name for part in step.parts for name in part.constants)
        names = dict.fromkeys((*constants, "run_id"))
        with _explained(self.uri, "create"):
            try:
                DeltaTable.create(
                    self.uri,
                    pa.schema([pa.field(name, pa.string()) for name in names]),
                    mode="error",
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            except Exception as error:
                if self.load() is None:
                    raise
                raise CommitFailedError("another writer made the table") from error

    def _write(self, table: DeltaTable, plan: _Columns, step: Commit) -> None:
        schema = plan.written()

        def batches() -> Iterator[pa.RecordBatch]:
            for part, names in zip(step.parts, plan.names, strict=True):
                for rows in part.tables():
                    yield from _with_constants(conform(rows, schema, names), part.constants).to_batches(
                        max_chunksize=_BATCH_ROWS
                    )

        _write(
            table,
            schema,
            batches(),
            mode="append" if step.replaces is None else "overwrite",
            predicate=step.replaces,
            schema_mode="merge",
            transactions=step.transactions,
        )

    def _rewrite(self, table: DeltaTable, plan: _Columns) -> None:
        """The same rows with wider columns, in one commit that fails when anybody else commits meanwhile."""
        import pyarrow as pa

        schema = plan.whole(only_known=True)
        logger.info("%s: writing the table anew, wider: %s", self.uri, ", ".join(plan.widened))

        # Delta's reader cannot run inside Delta's writer: the rows wait in a file in between.
        with tempfile.TemporaryFile(prefix="wandb-ops-") as file:
            _spool(table, schema, file)
            file.seek(0)
            with pa.ipc.open_stream(pa.PythonFile(cast("Any", file), "r")) as reader:
                _write(
                    table,
                    schema,
                    iter(reader),
                    mode="overwrite",
                    predicate=None,
                    schema_mode="overwrite",
                    transactions={},
                    alone=True,
                )


def _spool(table: DeltaTable, schema: pa.Schema, file: IO[bytes]) -> None:
    """All rows of `table` in `schema`, into a file."""
    import pyarrow as pa

    known = schema_of(table)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    names = {one.name: one.name for one in schema}
    batches = table.to_pyarrow_dataset().to_batches(
        batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=1
    )
    with pa.ipc.new_stream(pa.PythonFile(cast("Any", file), "w"), schema, options=options) as writer:
        for batch in batches:
            writer.write_table(conform(pa.Table.from_batches([batch]).cast(known), schema, names))
    file.flush()


@dataclass
class _Columns:
    """Which column of the table each key goes to, and which type it gets."""

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


def transaction(table: DeltaTable | None, name: str) -> int | None:
    """The number of an application transaction; None when there was none."""
    return None if table is None else table.transaction_version(name)


def sql_text(value: str) -> str:
    """`value` as a literal of a predicate."""
    return "'" + value.replace("'", "''") + "'"


def _bits_in(table: DeltaTable, name: str) -> int:
    rows = table.to_pyarrow_dataset().to_table(columns=[name])
    known = schema_of(table).field(name)
    return bits_of_column(known, rows.column(0)) or 0


def _with_constants(rows: pa.Table, constants: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    for name, value in constants.items():
        place = rows.schema.get_field_index(name)
        column = pa.chunked_array([pa.repeat(pa.scalar(value, pa.string()), rows.num_rows)])
        rows = rows.set_column(place, rows.schema.field(place), column)
    return rows


def _write(
    table: DeltaTable,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    *,
    mode: Any,
    predicate: str | None,
    schema_mode: Any,
    transactions: Mapping[str, int],
    alone: bool = False,
) -> None:
    import pyarrow as pa
    from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

    failures: list[BaseException] = []

    def guarded() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:  # it has to pass through a library that forgets it
            failures.append(error)
            raise

    properties = CommitProperties(
        app_transactions=[Transaction(name, number) for name, number in transactions.items()],
        custom_metadata={"tool": f"wandb-ops {__version__}"},
        max_commit_retries=0 if alone else None,
    )
    with _explained(table.table_uri, "write", failures):
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(schema, guarded()),
            mode=mode,
            predicate=predicate,
            schema_mode=schema_mode,
            commit_properties=properties,
            writer_properties=WriterProperties(compression="ZSTD"),
        )


class _explained:  # noqa: N801 - reads like a function
    """What Delta says as an `OutputError`; a lost race passes, for `commit` to take up."""

    def __init__(self, uri: str, action: str, failures: Sequence[BaseException] = ()) -> None:
        self._uri = uri
        self._action = action
        self._failures = failures

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, Error):
            return
        if self._failures:
            raise self._failures[0] from None
        from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

        if isinstance(error, (CommitFailedError, TableNotFoundError)):
            return
        text = redact(str(error).split("\n", maxsplit=1)[0])
        if isinstance(error, (DeltaError, OSError)) or type(error) is Exception:
            raise OutputError(
                f"Cannot {self._action} the table: {text[:300]}", where=shown(self._uri)
            ) from error


def optimize_lake(to: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    """Join the small files of many commits into large ones; readers see the same rows all along.

    Returns:
        Table -> {"files_added", "files_removed"}.
    """
    done = {}
    for name, table in _tables(to):
        with _explained(table.table_uri, "optimize"):
            metrics = table.optimize.compact()
        done[name] = {"files_added": metrics["numFilesAdded"], "files_removed": metrics["numFilesRemoved"]}
    return done


def vacuum_lake(
    to: str | os.PathLike[str], *, keep_hours: int = 168, dry_run: bool = False
) -> dict[str, list[str]]:
    """Delete files that no version of the last `keep_hours` needs, those that killed writers left among them.

    Args:
        to: The lake.
        keep_hours: Readers of older versions fail afterwards. Less than a week is unsafe while others write.
        dry_run: Only name the files.

    Returns:
        Table -> files.
    """
    done = {}
    for name, table in _tables(to):
        with _explained(table.table_uri, "vacuum"):
            done[name] = table.vacuum(
                keep_hours, dry_run=dry_run, enforce_retention_duration=keep_hours >= 168
            )
    return done


def _tables(to: str | os.PathLike[str]) -> Iterator[tuple[str, DeltaTable]]:
    uri = lake_uri(to)
    for name in TABLES:
        table = LakeTable(uri, name).load()
        if table is not None:
            yield name, table
