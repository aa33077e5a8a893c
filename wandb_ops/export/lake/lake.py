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

import logging
import random
import re
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from wandb_ops.errors import Error, OutputError, UsageError
from wandb_ops.export.lake.columns import Columns, Part, bits_in, schema_of, with_constants
from wandb_ops.export.lake.scan import batches_of
from wandb_ops.export.places.targets import folder, shown
from wandb_ops.export.rows.schema import conform
from wandb_ops.redaction import redact
from wandb_ops.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from deltalake import DeltaTable

logger = logging.getLogger("wandb_ops.export")

TABLES = ("runs", "history", "system", "snapshots", "artifacts", "lineage")
_ATTEMPTS = 30  # lost races before a commit is given up
_LONGEST_PAUSE = 2.0
_BATCH_ROWS = 32_768
_GROUP_VALUES = 400_000  # the writer holds a row group in memory; Delta's own choice is a million rows
_DECORATION = re.compile(r"\x1b\[[0-9;]*m|↳")  # colours and arrows between causes
_REMOTE = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_NUMBER = re.compile(r"(?:os error|Os \{ code:) (?!2\b)(\d+)")  # what the system said, in the words of Rust


@dataclass(frozen=True, slots=True)
class Commit:
    """One step of a table.

    Attributes:
        parts: Rows to add.
        transactions: Application transactions to record.
        replaces: SQL predicate of the rows that the new ones replace; None adds to what is there.
        written: Called once the commit is made.
    """

    parts: Sequence[Part]
    transactions: Mapping[str, int]
    replaces: str | None = None
    written: Callable[[], object] | None = None


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
        options: Of its store, by object_store's names; None takes what stands in the environment.
        rng: Source of the pauses after lost races.
        sleep: For tests.
    """

    def __init__(
        self,
        lake: str,
        name: str,
        *,
        options: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.uri = f"{lake}/{name}"
        self._options = dict(options) if options else None
        self._rng = rng or random.Random()
        self._sleep = sleep

    def load(self) -> DeltaTable | None:
        """The table as it is now; None when there is none yet."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        with explained_lake(self.uri, "read"):
            try:
                return DeltaTable(self.uri, storage_options=self._options)
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
                if self._commit(table, step) and step.written is not None:
                    step.written()
            except CommitFailedError as error:
                lost += 1
                logger.info(
                    "%s: another writer was faster (%s); looking again", shown(self.uri), redact(str(error))
                )
                if lost >= _ATTEMPTS:
                    raise OutputError(
                        f"Other writers were faster {lost} times in a row", where=shown(self.uri)
                    ) from error
                self._sleep(self._rng.uniform(0, min(_LONGEST_PAUSE, 0.05 * 2**lost)))

    def _commit(self, table: DeltaTable | None, step: Commit) -> bool:
        """Whether the step itself was taken, and not one on the way to it."""
        if table is None:
            # Somebody may have written into it before we know that it is there: `commit` asks again.
            self._create(step)
            return False
        plan = Columns(schema_of(table))
        for part in step.parts:
            plan.add(part)
        if plan.widened:
            # An integer column becomes one of floats only if each of its integers is a double.
            for name in plan.widened:
                plan.know(name, bits_in(table, name))
            if plan.widened:
                self._rewrite(table, plan)
                return False  # somebody may have committed since: `commit` asks again
        self._write(table, plan, step)
        return True

    def _create(self, step: Commit) -> None:
        """An empty table. Of several who make it at once one succeeds, and all go on from there."""
        import pyarrow as pa
        from deltalake import CommitProperties, DeltaTable
        from deltalake.exceptions import CommitFailedError

        constants = (name for part in step.parts for name in part.constants)
        names = dict.fromkeys((*constants, "run_id"))
        with explained_lake(self.uri, "create"):
            try:
                DeltaTable.create(
                    self.uri,
                    pa.schema([pa.field(name, pa.string()) for name in names]),
                    mode="error",
                    commit_properties=CommitProperties(max_commit_retries=0),
                    storage_options=self._options,
                )
            except Exception as error:
                if self.load() is None:
                    raise
                raise CommitFailedError("another writer made the table") from error

    def _write(self, table: DeltaTable, plan: Columns, step: Commit) -> None:
        schema = plan.written()

        def batches() -> Iterator[pa.RecordBatch]:
            for part, names in zip(step.parts, plan.names, strict=True):
                for rows in part.tables():
                    yield from with_constants(conform(rows, schema, names), part.constants).to_batches(
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

    def _rewrite(self, table: DeltaTable, plan: Columns) -> None:
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
    with pa.ipc.new_stream(pa.PythonFile(cast("Any", file), "w"), schema, options=options) as writer:
        for batch in batches_of(table):
            writer.write_table(conform(pa.Table.from_batches([batch]).cast(known), schema, names))
    file.flush()


def transaction(table: DeltaTable | None, name: str) -> int | None:
    """The number of an application transaction; None when there was none."""
    return None if table is None else table.transaction_version(name)


def sql_text(value: str) -> str:
    """`value` as a literal of a predicate."""
    return "'" + value.replace("'", "''") + "'"


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
    rows = max(1, _GROUP_VALUES // len(schema))
    with explained_lake(table.table_uri, "write", failures):
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(schema, guarded()),
            mode=mode,
            predicate=predicate,
            schema_mode=schema_mode,
            commit_properties=properties,
            writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=rows),
        )


class explained_lake:  # noqa: N801 - reads like a function
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
        from deltalake.exceptions import CommitFailedError, DeltaError

        if isinstance(error, CommitFailedError):
            return
        text = redact(" ".join(_DECORATION.sub("", str(error)).split()))
        if isinstance(error, (DeltaError, OSError)) or type(error) is Exception:
            number = _NUMBER.search(text)
            raise OutputError(
                f"Cannot {self._action} the table: {text[:300]}",
                where=shown(self._uri),
                number=int(number[1]) if number else None,
            ) from error
