"""A project as a folder of files.

::

    runs.parquet              one row per run (and runs.csv or runs.jsonl, when that is the format)
    history/RUN.parquet       every row of the run
    system/RUN.parquet        its system metrics
    files/RUN/...             the files that it saved
    artifacts.parquet         one row per version that the runs logged or used
    lineage.parquet           which run made and which read which version
    artifact_files/TYPE/NAME/vN/...  the files of the versions that the runs logged

A Parquet file says in its footer what it holds. CSV and JSON lines cannot; beside each of them stands a small
`RUN.csv.wandb-ops.json` with the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, cast

from wandb_ops.errors import IncompleteHistory, UsageError
from wandb_ops.export.files.writing import write_history
from wandb_ops.export.places.atomic import Discard
from wandb_ops.export.places.naming import safe_name
from wandb_ops.export.places.places import child
from wandb_ops.export.places.targets import explained, folder, measure
from wandb_ops.export.request.project import NotTaken, Taken
from wandb_ops.export.rows.metadata import describe_source, describe_system, origin, seal, unseal
from wandb_ops.export.rows.stream import HistoryStream, stream_events, stream_history, stream_of
from wandb_ops.export.runs.loose import LooseFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from wandb_ops.export.files.writing import FileFormat
    from wandb_ops.export.places.targets import Target
    from wandb_ops.export.request.project import PerRun, ProjectRequest, What
    from wandb_ops.export.rows.spool import TableSpool
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.export.runs.tables import ProjectTable
    from wandb_ops.history.pages import Rows
    from wandb_ops.history.ref import RunCounts, RunRef
    from wandb_ops.transport.session import Transport

MARK = ".wandb-ops.json"
_TABLE_ROWS = 4096


def source_of(
    base_url: str, ref: RunRef, counts: RunCounts, what: PerRun, keys: Sequence[str] | None
) -> dict[str, Any]:
    """What a part of a run is, as its mark says it, with the fingerprint that tells a change."""
    if what == "system":
        return describe_system(base_url, ref, counts)
    return describe_source(base_url, ref, counts, keys=keys, keys_mode="any", min_step=0, max_step=None)


def read_part(
    transport: Transport,
    listed: Listed,
    what: PerRun,
    keys: Sequence[str] | None,
    concurrency: int,
    rows: Rows | None = None,
) -> HistoryStream:
    """The rows of a part of a run, given or asked for; when the list's counts were overtaken, once more with
    new ones."""
    if rows is not None and listed.counts is not None:
        return stream_of(
            listed.counts, rows, keys=keys if what == "history" else None, steps=what == "history"
        )
    if what == "system":
        return stream_events(transport, listed.ref, listed.counts)
    try:
        return stream_history(transport, listed.ref, keys=keys, counts=listed.counts, concurrency=concurrency)
    except IncompleteHistory:
        if listed.counts is None:
            raise
        return stream_history(transport, listed.ref, keys=keys, concurrency=concurrency)


class FileDestination:
    """See the module. Writes of different runs touch different files, so they need no order."""

    def __init__(self, transport: Transport, request: ProjectRequest) -> None:
        self._transport = transport
        self._request = request
        self._kind = cast("FileFormat", request.format)
        self._base_url = transport.settings.base_url
        self._root = folder(request.to)
        self.uri = self._root.uri
        self._folders = {
            what: folder(child(request.to, what)) for what in ("history", "system") if what in request.include
        }
        self._loose = LooseFiles(transport, request)

    def check(self) -> None:
        """Refuse a folder that holds another project."""
        mark = read_mark(self._root.file("runs.parquet"), "parquet")
        mine = (origin(self._base_url), self._request.entity, self._request.project)
        if mark and (theirs := tuple(mark.get(k) for k in ("base_url", "entity", "project"))) != mine:
            raise UsageError(
                f"The folder holds the project {theirs[1]}/{theirs[2]} of {theirs[0]}",
                where=self.uri,
                hint="Give each project a folder of its own.",
            )

    def standing(self, listed: Listed, what: PerRun) -> int | None:
        """Rows of a file whose mark is that of the run now."""
        if what in {"files", "artifacts"}:
            return self._loose.standing(listed, what)
        if listed.counts is None:
            return None
        mark = read_mark(self._place(listed.ref, what), self._kind)
        if mark is None:
            return None
        if mark.get("run_id") != listed.ref.run_id or mark.get("project") != listed.ref.project:
            raise UsageError(
                f"The folder holds {mark.get('entity')}/{mark.get('project')}/{mark.get('run_id')} under the"
                f" name of {listed.ref.path}",
                where=self.uri,
                hint="Give each project a folder of its own.",
            )
        source = source_of(self._base_url, listed.ref, listed.counts, what, self._request.keys)
        return int(mark["rows"]) if mark.get("fingerprint") == source["fingerprint"] else None

    def begun(self, listed: Listed, what: PerRun) -> bool:
        """A file is always written whole."""
        del listed, what
        return False

    def fetch(
        self, listed: Listed, what: PerRun, concurrency: int, rows: Rows | None = None
    ) -> list[Taken | NotTaken]:
        """Read and write one part of a run."""
        if what in {"files", "artifacts"}:
            return self._loose.take(listed, what)
        with read_part(self._transport, listed, what, self._request.keys, concurrency, rows) as history:
            place = self._place(listed.ref, what)
            source = source_of(self._base_url, listed.ref, history.counts, what, self._request.keys)
            written = write_history(history, place, self._kind, source, force=self._request.force)
            if self._kind != "parquet":
                _write_mark(place, source, history, written.bytes, written.sha256)
            return [
                Taken(
                    run_id=listed.ref.run_id,
                    what=what,
                    action=written.action,
                    rows=history.rows,
                    bytes=written.bytes,
                )
            ]

    def store(self, fetched: Sequence[Any]) -> list[Taken | NotTaken]:
        """Nothing is left to do: `fetch` put it in place."""
        return [outcome for outcomes in fetched for outcome in outcomes]

    def put_table(self, table: ProjectTable) -> Taken:
        """Write runs.parquet, artifacts.parquet or lineage.parquet, and runs in the format asked for, too."""
        place = self._root.file(f"{table.name}.parquet")
        spool = table.spool
        with explained(place.uri, "read"):
            if read_mark(place, "parquet") is not None:
                with place.open() as source:
                    table.merge(_batches(source))
            else:
                table.merge(())
        size, changed = _write_table(place, spool, self._description(table.name))
        if self._kind != "parquet":
            more, also = _write_text(self._root.file(f"{table.name}.{self._kind}"), spool, self._kind)
            size, changed = size + more, changed or also
        what: What = "runs" if table.name == "runs" else "artifacts"
        action: Any = "written" if changed else "unchanged"
        return Taken(run_id="", what=what, action=action, rows=spool.rows, bytes=size)

    def _description(self, kind: str) -> dict[str, Any]:
        return {
            "kind": kind,
            "base_url": origin(self._base_url),
            "entity": self._request.entity,
            "project": self._request.project,
        }

    def _place(self, ref: RunRef, what: PerRun) -> Target:
        return self._folders[what].file(f"{safe_name(ref.run_id)}.{self._kind}")


def read_mark(place: Target, kind: str) -> dict[str, Any] | None:
    """What a file of ours says about itself; None when there is none, or it is damaged or foreign."""
    from wandb_ops.export.rows.parquet import read_footer

    with explained(place.uri, "read"):
        if not place.exists():
            return None
        if kind == "parquet":
            with place.open() as file:
                footer = read_footer(file)
            return footer.description if footer is not None and footer.ours else None
        mark = beside(place)
        if not mark.exists():
            return None
        with mark.open() as file:
            description, sealed = unseal(file.read(1 << 20))
        if not sealed:
            return None
        with place.open() as file:
            file.seek(0, 2)
            return description if file.tell() == description.get("bytes") else None


def beside(place: Target) -> Target:
    """Where the mark of a file without a footer stands."""
    return place.sibling(place.name + MARK)


def _write_mark(
    place: Target, source: dict[str, Any], history: HistoryStream, size: int, digest: str
) -> None:
    words = {
        **source,
        "rows": history.rows,
        "first_step_read": history.first_step,
        "last_step_read": history.last_step,
        "bytes": size,
        "sha256": digest,
    }
    mark = beside(place)
    with explained(mark.uri, "write"), mark.publish() as out:
        out.write(seal(words) + b"\n")


def _batches(source: BinaryIO) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=_TABLE_ROWS):
            yield pa.Table.from_batches([batch], schema=file.schema_arrow)


def _write_table(place: Target, spool: TableSpool, description: dict[str, Any]) -> tuple[int, bool]:
    from wandb_ops.export.rows.parquet import ParquetSink

    size, changed = 0, True
    with explained(place.uri, "write"), place.publish() as out:
        with ParquetSink(out, spool.schema, group_rows=_TABLE_ROWS) as sink:
            for rows in spool.tables():
                sink.write(rows)
            sink.close(description)
        size, changed = _settle(place, out)
        if not changed:
            raise Discard
    return size, changed


def _write_text(place: Target, spool: TableSpool, kind: str) -> tuple[int, bool]:
    from wandb_ops.export.rows.text import write_csv, write_jsonl
    from wandb_ops.history.table import rows_of_batch

    rows = (
        _plain(row)
        for table in spool.tables()
        for batch in table.to_batches()
        for row in rows_of_batch(batch)
    )
    size, changed = 0, True
    with explained(place.uri, "write"), place.publish() as out:
        if kind == "csv":
            write_csv(rows, spool.schema.names, out)
        else:
            write_jsonl(rows, out)
        size, changed = _settle(place, out)
        if not changed:
            raise Discard
    return size, changed


def _settle(place: Target, out: Any) -> tuple[int, bool]:
    """(bytes written, whether they differ from what stands there)."""
    out.flush()
    size, digest = measure(out)
    if not place.exists():
        return size, True
    with place.open() as standing:
        return size, measure(standing) != (size, digest)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Times as ISO 8601 text, which CSV and JSON can hold."""
    return {
        key: value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value
        for key, value in row.items()
    }
