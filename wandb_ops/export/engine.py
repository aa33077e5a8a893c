"""A project's runs, exported side by side: what changed is fetched, what fails is named, the rest goes on."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AuthenticationError, Error, UsageError
from wandb_ops.export.crew import Crew, Item
from wandb_ops.export.places.places import placed
from wandb_ops.export.planning import Work, run_ids
from wandb_ops.export.request.limit import CONCURRENCY, LimitedTransport
from wandb_ops.export.request.progress import shown_progress
from wandb_ops.export.request.project import (
    DEFAULT,
    Destination,
    ExportPlan,
    NotTaken,
    ProjectExport,
    ProjectRequest,
    Taken,
)
from wandb_ops.export.request.scope import project_of, project_url
from wandb_ops.export.runs.artifactfiles import VersionPlace
from wandb_ops.export.runs.listing import Listing
from wandb_ops.export.runs.loose import path_below
from wandb_ops.export.runs.tables import ArtifactsTable, LineageTable, RunsTable
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wandb_ops.export.request.progress import Progress
    from wandb_ops.export.request.project import ProjectFormat, What
    from wandb_ops.export.runs.listing import Listed, ListedPage
    from wandb_ops.export.runs.tables import ProjectTable
    from wandb_ops.public.api import Api
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.export")


def export_project(
    api: Api,
    *,
    project: str,
    to: str | os.PathLike[str],
    entity: str | None = None,
    filters: Mapping[str, Any] | None = None,
    keys: Sequence[str] | None = None,
    format: ProjectFormat = "parquet",
    include: Sequence[What] = DEFAULT,
    shard: Mapping[str, Any] | None = None,
    force: bool = False,
    concurrency: int = CONCURRENCY,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> ProjectExport:
    """Bring a project to `to`: what is there already and has not changed costs no request of its own.

    A run that fails does not keep the others back: it is named in `not_taken`, and what an earlier export
    left of it stands. Runs that were deleted upstream are kept and flagged.

    Args:
        api: The client.
        project: Project name, or "entity/project".
        to: Folder, or URL of one; a project needs a folder of its own, but for "delta", where tables may hold
            many projects.
        entity: User or team; None for the client's default.
        filters: Only runs that match, in W&B's filter language.
        keys: History columns to keep; None keeps all. Rows with at least one of them are taken.
        format: One file per run ("parquet", "csv", "jsonl"), or Delta Lake tables ("delta").
        include: What to take: "runs" (config, summary, state), "history", "system" (system metrics), "files",
            "artifacts" (those that the runs logged, with their files; those that they used are listed).
        shard: One of the `shards` of a plan: take only its runs. The first shard writes the tables of runs
            and artifacts.
        force: Fetch even what has not changed.
        concurrency: Requests at once.
        progress: Show bars; None does when stderr is a terminal.
        storage_options: Options of the store that `to` is in, credentials among them, by the names of fsspec
            or of object_store; None takes them from the environment. They are written nowhere.

    Raises:
        UsageError: Arguments that make no sense, or a destination that holds something else.
        NotFoundError: There is no such project.
        AuthenticationError: The key is refused.
    """
    request = request_of(
        api, project, placed(to, storage_options), entity, filters, keys, format, include, force=force
    )
    return _Engine(api, request, concurrency).run(shard, progress)


def plan_export(
    api: Api,
    *,
    project: str,
    to: str | os.PathLike[str],
    entity: str | None = None,
    filters: Mapping[str, Any] | None = None,
    keys: Sequence[str] | None = None,
    format: ProjectFormat = "parquet",
    include: Sequence[What] = DEFAULT,
    shards: int = 1,
    force: bool = False,
    concurrency: int = CONCURRENCY,
    storage_options: Mapping[str, Any] | None = None,
) -> ExportPlan:
    """What `export_project` with the same arguments would fetch; only the list of runs is asked for, and with
    "artifacts" what they logged.

    Args:
        shards: How many parts of about equal work to make at most. There is always at least one, for the
            table of runs. The other arguments are those of `export_project`.
    """
    if shards < 1:
        raise UsageError(f"shards must be at least 1, not {shards}")
    request = request_of(
        api, project, placed(to, storage_options), entity, filters, keys, format, include, force=force
    )
    return _Engine(api, request, concurrency).plan(shards)


def request_of(
    api: Api,
    project: str,
    to: str | os.PathLike[str],
    entity: str | None,
    filters: Mapping[str, Any] | None,
    keys: Sequence[str] | None,
    format: ProjectFormat,
    include: Sequence[What],
    *,
    force: bool = False,
) -> ProjectRequest:
    """What was asked for, with the entity that is meant."""
    entity, project = project_of(api, project, entity)
    return ProjectRequest(
        entity=entity,
        project=project,
        to=to,
        format=format,
        filters=filters,
        keys=keys,
        include=include,
        force=force,
    )


@dataclass
class _Tally:
    """What came of it; counted, because there may be very many."""

    counts: Counter[str] = field(default_factory=Counter)
    not_taken: list[NotTaken] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    deleted: tuple[str, ...] = ()
    looked_at: int = 0

    def add(self, outcomes: Iterable[Taken | NotTaken]) -> None:
        for one in outcomes:
            if isinstance(one, NotTaken):
                logger.warning("%s of run %s was not taken: %s", one.what, one.run_id, one.message)
                self.not_taken.append(one)
                continue
            self.left_out.update(one.left_out)
            new = one.action != "unchanged"
            if one.run_id:
                self.counts["written" if new else "unchanged"] += 1
            if new:
                self.counts[f"{one.what} rows"] += one.rows
                self.counts["bytes"] += one.bytes
            self.counts["files"] += one.files
            self.counts["artifacts"] += one.artifacts


class _Engine:
    def __init__(self, api: Api, request: ProjectRequest, concurrency: int) -> None:
        if concurrency < 1:
            raise UsageError(f"concurrency must be at least 1, not {concurrency}")
        self.request = request
        self.transport = LimitedTransport(api.transport, concurrency)
        self.concurrency = concurrency
        self.destination = destination_for(self.transport, request)
        self.crew = Crew(self.destination, request, self.transport, concurrency)
        self.listing = Listing(
            self.transport, request.entity, request.project, request.filters, files="files" in request.include
        )
        self.url = project_url(api.transport.settings.app_url, request.entity, request.project)

    def run(self, shard: Mapping[str, Any] | None, progress: bool | None) -> ProjectExport:
        pages = self._pages(shard)  # a shard that is none is refused before anything else
        self.destination.check()
        tally = _Tally()
        with ExitStack() as stack:
            tables = self._tables(shard)
            for table in tables:
                stack.callback(table.close)
            bars = stack.enter_context(shown_progress(self.request.project, wanted=progress))
            items = self._items(pages, shard, tables, tally, bars)
            for item, outcomes in self.crew.outcomes(items):
                tally.add(outcomes)
                bars.advance(1, item.rows)
            for table in tables:
                self._put(table, tally)
        result = self._result(tally)
        logger.info(
            "%s: %d runs, %d written, %d unchanged, %d not taken",
            result.uri, result.runs, result.written, result.unchanged, len(result.not_taken),
        )  # fmt: skip
        return result

    def plan(self, shards: int) -> ExportPlan:
        self.destination.check()
        work = Work(self.request)
        with workers(self.concurrency, "wandb-plan") as pool:
            for page in self.listing.pages():
                items = [Item(one, what) for one in page.runs for what in self.request.per_run]
                there = pool.map(self.crew.is_there, items)
                work.add(len(page.runs), [i for i, done in zip(items, there, strict=True) if not done])
        return ExportPlan(
            **self._names(),
            runs=work.runs,
            changed=work.changed,
            rows=work.rows["history"],
            system_rows=work.rows["system"],
            requests=work.requests,
            shards=work.shards(shards),
        )

    def _pages(self, shard: Mapping[str, Any] | None) -> Iterator[ListedPage]:
        """The runs to look at: for the tables of a project all of them, else only those of the shard."""
        if shard is None:
            return self.listing.pages()
        names = run_ids(shard)
        return self.listing.pages() if self._has_tables(shard) else self.listing.named(names)

    def _has_tables(self, shard: Mapping[str, Any] | None) -> bool:
        wanted = {"runs", "artifacts"} & set(self.request.include)
        return bool(wanted) and (shard is None or shard.get("index") == 0)

    def _tables(self, shard: Mapping[str, Any] | None) -> list[ProjectTable]:
        """The tables that this export writes: runs, artifacts, lineage."""
        request, seen = self.request, self.listing.seen
        tables: list[ProjectTable] = []
        if self._has_tables(shard) and "runs" in request.include:
            tables.append(RunsTable(self.transport, request.entity, request.project, seen))
        if self._has_tables(shard) and "artifacts" in request.include:
            below = path_below(request, "artifacts")
            tables.append(ArtifactsTable(seen, lambda node: VersionPlace.of("", below, node).shown))
            tables.append(LineageTable(seen))
        return tables

    def _items(
        self,
        pages: Iterator[ListedPage],
        shard: Mapping[str, Any] | None,
        tables: Sequence[ProjectTable],
        tally: _Tally,
        bars: Progress,
    ) -> Iterator[list[Item]]:
        """Parts of runs, a page of runs at a time; on the way each page goes into the tables."""
        chosen = None if shard is None else set(run_ids(shard))
        looked_at = 0
        for page in pages:
            for table in tables:
                _gather(table, page.runs, tally)
            mine = [one for one in page.runs if chosen is None or one.ref.run_id in chosen]
            items = [Item(one, what) for one in mine for what in self.request.per_run]
            looked_at += len(mine)
            tally.looked_at = looked_at if self.request.per_run else tally.looked_at + len(page.runs)
            expected = page.total if chosen is None and page.total is not None else looked_at
            bars.expect(max(expected, looked_at) * len(self.request.per_run), sum(i.rows for i in items))
            yield items

    def _put(self, table: ProjectTable, tally: _Tally) -> None:
        try:
            tally.add([self.destination.put_table(table)])
        except AuthenticationError:
            raise
        except (Error, OSError) as error:
            what: What = "runs" if table.name == "runs" else "artifacts"
            tally.add([NotTaken.of("", what, error)])
            return
        if isinstance(table, RunsTable):
            tally.deleted = tuple(sorted(table.deleted))
            tally.left_out.update(table.left_out)

    def _names(self) -> dict[str, Any]:
        request = self.request
        return {
            "entity": request.entity,
            "project": request.project,
            "url": self.url,
            "uri": self.destination.uri,
            "format": request.format,
            "include": tuple(request.include),
        }

    def _result(self, tally: _Tally) -> ProjectExport:
        counts = tally.counts
        return ProjectExport(
            **self._names(),
            runs=tally.looked_at,
            written=counts["written"],
            unchanged=counts["unchanged"],
            rows=counts["history rows"],
            system_rows=counts["system rows"],
            files=counts["files"],
            artifacts=counts["artifacts"],
            bytes=counts["bytes"],
            deleted_upstream=tally.deleted,
            not_taken=tuple(sorted(tally.not_taken, key=lambda n: (n.run_id, n.what, n.message))),
            left_out=dict(tally.left_out),
        )


def destination_for(transport: Transport, request: ProjectRequest) -> Destination:
    """The kind of destination that a format needs."""
    if request.format == "delta":
        from wandb_ops.export.lake.sink import LakeDestination

        return LakeDestination(transport, request)
    from wandb_ops.export.files.sink import FileDestination

    return FileDestination(transport, request)


def _gather(table: ProjectTable, listed: Sequence[Listed], tally: _Tally) -> None:
    """Rows of some runs into one of the tables."""
    if isinstance(table, RunsTable):
        table.add(listed)
        return
    nodes = []
    for one in listed:
        if one.book is None:
            continue
        try:
            known = one.book.of(one.ref.run_id)
        except AuthenticationError:
            raise
        except Error as error:
            if isinstance(table, ArtifactsTable):  # the other table of artifacts need not say so again
                tally.add([NotTaken.of(one.ref.run_id, "artifacts", error)])
            continue
        nodes += [(one.ref.run_id, "output", node) for node in known.logged]
        nodes += [(one.ref.run_id, "input", node) for node in known.used]
    if isinstance(table, (ArtifactsTable, LineageTable)):
        table.add(nodes)
