"""A project as rows of Delta Lake tables, which many projects and many writers may share.

A run's application transactions are `entity/project/run_id`, whose number is the run's line count, and
`seen:entity/project/run_id`, whose number is a digest of all that tells a change (state, counts, heartbeat,
what was asked for). A run that only grew is extended from its last step on; any other change replaces it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from wandb_ops.errors import Error, IncompleteHistory, OutputError
from wandb_ops.export.files.sink import read_part, source_of
from wandb_ops.export.lake.columns import Part, schema_of
from wandb_ops.export.lake.lake import TABLES, Commit, LakeTable, lake_uri, sql_text, transaction
from wandb_ops.export.lake.scan import batches_of
from wandb_ops.export.places.places import table_options
from wandb_ops.export.request.project import NotTaken, Taken
from wandb_ops.export.rows.stream import stream_history
from wandb_ops.export.runs.loose import LooseFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from deltalake import DeltaTable

    from wandb_ops.export.request.project import PerRun, ProjectRequest, What
    from wandb_ops.export.rows.stream import HistoryStream
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.export.runs.tables import ProjectTable
    from wandb_ops.history.pages import Rows
    from wandb_ops.history.ref import RunCounts
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.export")

_REFETCHES = 3
_WHOLE = -(2**62)


@dataclass(slots=True)
class Fetched:
    """A part of a run, read and waiting for its commit."""

    listed: Listed
    what: PerRun
    stream: HistoryStream
    after: int  # rows beyond this step are to be added; _WHOLE for all of the run
    rows: int
    base: int | None  # digest in the table when reading began
    seen: int
    lines: int
    refetched: int = 0
    forced: bool = False  # to be written even when the table says that it has these rows
    action: Literal["written", "appended", "replaced", "unchanged"] = "written"

    @property
    def path(self) -> str:
        """The run's application transaction."""
        return self.listed.ref.path

    def close(self) -> None:
        """Forget the rows."""
        self.stream.close()

    def part(self) -> Part:
        """The rows as a part of a commit."""
        ref = self.listed.ref
        schema = self.stream.schema
        bits = dict(zip(schema.names, self._bits(schema), strict=True))
        constants = {"entity": ref.entity, "project": ref.project, "run_id": ref.run_id}
        return Part(self._tables, schema, bits, constants)

    def _bits(self, schema: pa.Schema) -> Iterator[int]:
        from wandb_ops.history.table import key_of_field

        kinds = self.stream.kinds()
        for one in schema:
            yield kinds[key_of_field(one)]

    def _tables(self) -> Iterator[pa.Table]:
        import pyarrow.compute as pc

        for table in self.stream.tables():
            steps: Any = None if self.after == _WHOLE else table.column("_step")
            yield table if steps is None else table.filter(pc.greater(steps, cast("Any", self.after)))


class LakeDestination:
    """See the module."""

    def __init__(self, transport: Transport, request: ProjectRequest) -> None:
        self._transport = transport
        self._request = request
        self._base_url = transport.settings.base_url
        self.uri = lake_uri(request.to)
        options = table_options(request.to)
        self._tables = {name: LakeTable(self.uri, name, options=options) for name in TABLES}
        self._views: dict[str, DeltaTable | None] = {}
        self._loose = LooseFiles(transport, request)

    def check(self) -> None:
        """Look at the tables once; what changes later is seen at the commit."""
        parts = [what for what in ("history", "system") if what in self._request.include]
        self._views = {name: self._tables[name].load() for name in parts}

    def standing(self, listed: Listed, what: PerRun) -> int | None:
        """Rows of a run whose digest is that of the run now."""
        if what in {"files", "artifacts"}:
            return self._loose.standing(listed, what)
        if listed.counts is None:
            return None
        view = self._views[what]
        if transaction(view, _seen_name(listed.ref.path)) != self._seen(listed, listed.counts, what):
            return None
        return transaction(view, listed.ref.path)

    def begun(self, listed: Listed, what: PerRun) -> bool:
        """Whether the table holds rows of the run, which may only have to be extended."""
        return bool(transaction(self._views.get(what), listed.ref.path))

    def fetch(
        self, listed: Listed, what: PerRun, concurrency: int, rows: Rows | None = None
    ) -> Fetched | list[Taken | NotTaken]:
        """Read what the table lacks of a part of a run."""
        if what in {"files", "artifacts"}:
            return self._loose.take(listed, what)
        view = self._views[what]
        base = transaction(view, _seen_name(listed.ref.path))
        tail = self._tail(listed, view, concurrency) if what == "history" else None
        if tail is not None:
            return replace(tail, base=base)
        return self._whole(listed, what, base, concurrency, rows)

    def store(self, fetched: Sequence[Fetched]) -> list[Taken | NotTaken]:
        """Commit the rows of many runs at once, in each of the tables."""
        outcomes: list[Taken | NotTaken] = []
        for what in ("history", "system"):
            mine = [one for one in fetched if one.what == what]
            if mine:
                outcomes += self._store(mine, self._tables[what])
        return outcomes

    def put_table(self, table: ProjectTable) -> Taken:
        """Replace the project's rows of one of the tables that have rows of many runs."""
        from wandb_ops.export.rows.digest import RowDigest

        entity, project = self._request.entity, self._request.project
        scope = f"entity = {sql_text(entity)} AND project = {sql_text(project)}"
        name = f"seen:{entity}/{project}"
        spool = table.spool
        wanted: list[int] = []
        actions: list[Literal["written", "unchanged"]] = []

        def decide(view: DeltaTable | None) -> Commit | None:
            if wanted and transaction(view, name) == wanted[-1]:
                return None
            table.merge(_rows_of_project(view, entity, project))
            schema = spool.schema
            digest = RowDigest(schema)
            for rows in spool.tables():
                digest.update(rows)
            wanted.append(int(digest.hexdigest()[:15], 16))
            actions.append("written" if transaction(view, name) != wanted[-1] else "unchanged")
            if actions[-1] == "unchanged":
                return None
            constants = {"entity": entity, "project": project}
            part = Part(spool.tables, schema, spool.bits(), constants)
            return Commit([part], {name: wanted[-1]}, None if view is None else scope)

        self._tables[table.name].commit(decide)
        what: What = "runs" if table.name == "runs" else "artifacts"
        return Taken(run_id="", what=what, action=actions[-1], rows=spool.rows)

    def _seen(self, listed: Listed, counts: RunCounts, what: PerRun) -> int:
        source = source_of(self._base_url, listed.ref, counts, what, self._request.keys)
        return int(source["fingerprint"][:15], 16)

    def _whole(
        self, listed: Listed, what: PerRun, base: int | None, concurrency: int, rows: Rows | None = None
    ) -> Fetched:
        stream = read_part(self._transport, listed, what, self._request.keys, concurrency, rows)
        counts = stream.counts
        lines = counts.history_lines if what == "history" else counts.events_lines or 0
        seen = self._seen(listed, counts, what)
        fetched = Fetched(listed, what, stream, _WHOLE, stream.rows, base, seen, lines)
        fetched.forced = self._request.force
        return fetched

    def _tail(self, listed: Listed, view: DeltaTable | None, concurrency: int) -> Fetched | None:
        """The rows beyond those in the table, when it is sure that those are still the run's first ones."""
        counts, path = listed.counts, listed.ref.path
        lines = transaction(view, path)
        if counts is None or view is None or self._request.keys or self._request.force:
            return None
        if not lines or lines >= counts.history_lines:
            return None
        edge = _Edge.of(view, listed)
        if edge is None or edge.rows != lines or edge.step > counts.last_step:
            return None
        try:
            stream = stream_history(
                self._transport, listed.ref, min_step=edge.step, counts=counts, concurrency=concurrency
            )
        except IncompleteHistory:
            return None
        if edge.continues(stream) and stream.rows - edge.at_step == counts.history_lines - lines:
            seen = self._seen(listed, counts, "history")
            rows = stream.rows - edge.at_step
            return Fetched(listed, "history", stream, edge.step, rows, None, seen, counts.history_lines)
        stream.close()
        logger.info("%s: what the table holds of it has changed; it is read whole", path)
        return None

    def _store(self, fetched: list[Fetched], table: LakeTable) -> list[Taken | NotTaken]:
        outcomes: list[Taken | NotTaken] = []
        waiting = list(fetched)

        def decide(view: DeltaTable | None) -> Commit | None:
            fresh: list[Fetched] = []
            stale: list[Fetched] = []
            for one in list(waiting):
                now = transaction(view, _seen_name(one.path))
                if now == one.seen and not one.forced:
                    waiting.remove(one)
                    outcomes.append(_taken(one))
                    continue
                if now != one.base and not self._again(one, now, outcomes):
                    waiting.remove(one)
                    continue
                (stale if transaction(view, one.path) is not None and one.after == _WHOLE else fresh).append(
                    one
                )
            chosen = fresh or stale
            for one in chosen:
                one.action = "replaced" if not fresh else "written" if one.after == _WHOLE else "appended"
            if not chosen:
                return None
            numbers = {one.path: one.lines for one in chosen}
            numbers |= {_seen_name(one.path): one.seen for one in chosen}
            return Commit(
                [one.part() for one in chosen],
                numbers,
                None if fresh else _predicate(chosen),
                lambda: _settled(chosen),
            )

        for one in fetched:
            one.action = "unchanged"
        table.commit(decide)
        return outcomes

    def _again(self, one: Fetched, now: int | None, outcomes: list[Taken | NotTaken]) -> bool:
        """Another writer committed this run after it was read here: read it again, whole."""
        one.refetched += 1
        run_id = one.listed.ref.run_id
        if one.refetched > _REFETCHES:
            error = OutputError("Other exports keep writing this run", where=one.path)
            outcomes.append(NotTaken.of(run_id, one.what, error))
            return False
        try:
            other = self._whole(replace(one.listed, counts=None), one.what, now, 1)
        except (Error, OSError) as error:
            outcomes.append(NotTaken.of(run_id, one.what, error))
            return False
        one.stream.close()
        one.stream, one.after, one.rows = other.stream, _WHOLE, other.rows
        one.base, one.seen, one.lines, one.action = now, other.seen, other.lines, "unchanged"
        return True


@dataclass(frozen=True, slots=True)
class _Edge:
    """The last step of a run in the table.

    The rows are counted without their values, and only those row groups are read that may hold the last step:
    their statistics tell the greatest.
    """

    step: int
    rows: int  # of the whole run
    at_step: int  # of the last step
    stamps: tuple[Any, ...]  # times at which these were logged

    @classmethod
    def of(cls, view: DeltaTable, listed: Listed) -> _Edge | None:
        import pyarrow as pa
        import pyarrow.compute as pc

        schema = schema_of(view)
        if not {"_step", "_timestamp"} <= set(schema.names) or not pa.types.is_integer(
            schema.field("_step").type
        ):
            return None
        ref = listed.ref
        mine = (
            (pc.field("run_id") == ref.run_id)
            & (pc.field("project") == ref.project)
            & (pc.field("entity") == ref.entity)
        )
        data = view.to_pyarrow_dataset()
        rows = data.count_rows(filter=mine)
        if not rows or data.count_rows(filter=mine & pc.field("_step").is_null()):
            return None
        last, stamps = _WHOLE, list[Any]()
        for greatest, part in _row_groups(data, mine):
            if greatest < last:
                break
            late = mine & (pc.field("_step") >= last)
            found = part.to_table(columns=["_step", "_timestamp"], filter=late).to_pylist()
            now = max((row["_step"] for row in found), default=last)
            stamps = [] if now > last else stamps
            stamps += [row["_timestamp"] for row in found if row["_step"] == now]
            last = now
        return None if None in stamps else cls(last, rows, len(stamps), tuple(sorted(stamps)))

    def continues(self, stream: HistoryStream) -> bool:
        """Whether the stream begins with the very rows that the table ends with: a run that was rewound and
        logged again has that step too, from another time."""
        import pyarrow.compute as pc

        stamps: list[Any] = []
        for table in stream.tables():
            if not {"_step", "_timestamp"} <= set(table.column_names):
                return False
            steps = cast("Any", table.column("_step"))
            stamps += table.filter(pc.equal(steps, cast("Any", self.step))).column("_timestamp").to_pylist()
        return None not in stamps and tuple(sorted(stamps)) == self.stamps


def _row_groups(data: Any, mine: Any) -> list[tuple[float, Any]]:
    """(greatest step, fragment) of the row groups that may hold rows of a run, the latest steps first."""
    found = []
    for fragment in data.get_fragments(filter=mine):
        for part in fragment.split_by_row_group(mine, schema=data.schema):
            steps = ((part.row_groups[0].statistics or {}).get("_step") or {}).get("max")
            found.append((math.inf if steps is None else steps, part))
    return sorted(found, key=lambda each: each[0], reverse=True)


def _rows_of_project(view: DeltaTable | None, entity: str, project: str) -> Iterator[pa.Table]:
    """A table as far as it is about one project, under the names that the columns had before the lake made
    them differ in more than case."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from wandb_ops.history.table import key_of_field

    if view is None:
        return
    mine = (pc.field("entity") == entity) & (pc.field("project") == project)
    schema = schema_of(view)
    for batch in batches_of(view, where=mine):
        rows = pa.Table.from_batches([batch]).cast(schema).drop_columns(["entity", "project"])
        names = [key_of_field(f) if f.name.endswith("~") else f.name for f in rows.schema]
        yield rows.rename_columns(names)


def _settled(fetched: Sequence[Fetched]) -> None:
    """These were written: from now on the table is believed."""
    for one in fetched:
        one.forced = False


def _seen_name(path: str) -> str:
    return f"seen:{path}"


def _predicate(fetched: Sequence[Fetched]) -> str:
    ref = fetched[0].listed.ref
    names = ", ".join(sql_text(one.listed.ref.run_id) for one in fetched)
    return f"entity = {sql_text(ref.entity)} AND project = {sql_text(ref.project)} AND run_id IN ({names})"


def _taken(one: Fetched) -> Taken:
    return Taken(run_id=one.listed.ref.run_id, what=one.what, action=one.action, rows=one.rows)
