"""A project's runs, exported side by side: what changed is fetched, what fails is named, the rest goes on."""

from __future__ import annotations

import errno
import logging
import threading
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AuthenticationError, Error, UsageError
from wandb_ops.export.limit import CONCURRENCY, LimitedTransport
from wandb_ops.export.listing import Listed, listed_runs, runs_named
from wandb_ops.export.progress import shown_progress
from wandb_ops.export.project import (
    DEFAULT,
    Destination,
    ExportPlan,
    NotTaken,
    ProjectExport,
    ProjectRequest,
    RunsOutcome,
    Taken,
)
from wandb_ops.export.scope import project_of, project_url

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wandb_ops.export.project import PerRun, ProjectFormat, What
    from wandb_ops.public.api import Api
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.export")

_PAGE_ROWS = 1000  # history rows per request
_LIST_PAGE = 200  # runs per request
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # the next run would fare no better
_HELD_ROWS = 250_000  # rows that a destination may hold back for one commit
_HELD_PARTS = 200


@dataclass(frozen=True, slots=True)
class _Item:
    """One part of one run."""

    listed: Listed
    what: PerRun

    @property
    def rows(self) -> int:
        """How many rows it has, as far as known."""
        counts = self.listed.counts
        if counts is None or self.what == "files":
            return 0
        return counts.history_lines if self.what == "history" else counts.events_lines or 0


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
        include: What to take: "runs" (config, summary, state), "history", "system" (system metrics), "files".
        shard: One of the `shards` of a plan: take only its runs. The first shard writes the table of runs.
        force: Fetch even what has not changed.
        concurrency: Requests at once.
        progress: Show bars; None does when stderr is a terminal.

    Raises:
        UsageError: Arguments that make no sense, or a destination that holds something else.
        NotFoundError: There is no such project.
        AuthenticationError: The key is refused.
    """
    engine = _Engine(api, project, to, entity, filters, keys, format, include, force, concurrency)
    return engine.run(shard, progress)


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
) -> ExportPlan:
    """What `export_project` with the same arguments would fetch; only the list of runs is asked for.

    Args:
        shards: How many parts of about equal work to make at most. There is always at least one, for the
            table of runs. The other arguments are those of `export_project`.
    """
    if shards < 1:
        raise UsageError(f"shards must be at least 1, not {shards}")
    return _Engine(api, project, to, entity, filters, keys, format, include, force, concurrency).plan(shards)


@dataclass
class _Tally:
    """What came of it, run by run."""

    taken: list[Taken] = field(default_factory=list)
    not_taken: list[NotTaken] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    deleted: tuple[str, ...] = ()

    def add(self, outcomes: Iterable[Taken | NotTaken]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Taken):
                self.taken.append(outcome)
            else:
                logger.warning(
                    "%s of run %s was not taken: %s", outcome.what, outcome.run_id, outcome.message
                )
                self.not_taken.append(outcome)

    def rows(self, what: What) -> int:
        return sum(t.rows for t in self.taken if t.what == what and t.action != "unchanged")


class _Engine:
    def __init__(
        self,
        api: Api,
        project: str,
        to: str | os.PathLike[str],
        entity: str | None,
        filters: Mapping[str, Any] | None,
        keys: Sequence[str] | None,
        format: ProjectFormat,
        include: Sequence[What],
        force: bool,
        concurrency: int,
    ) -> None:
        if concurrency < 1:
            raise UsageError(f"concurrency must be at least 1, not {concurrency}")
        entity, project = project_of(api, project, entity)
        self.request = ProjectRequest(
            entity=entity,
            project=project,
            to=to,
            format=format,
            filters=filters,
            keys=keys,
            include=include,
            force=force,
        )
        self.transport: Transport = LimitedTransport(api.transport, concurrency)
        self.concurrency = concurrency
        self.destination = destination_for(self.transport, self.request)
        self.url = project_url(api.transport.settings.app_url, entity, project)
        self._stop = threading.Event()

    def run(self, shard: Mapping[str, Any] | None, progress: bool | None) -> ProjectExport:
        self.destination.check()
        tally = _Tally()
        listed = list(self._listed(shard))
        items = list(self._items(listed, shard))
        rows = sum(item.rows for item in items)
        with shown_progress(self.request.project, runs=len(items), rows=rows, wanted=progress) as bars:
            for item, outcomes in self._outcomes(items):
                tally.add(outcomes)
                bars.advance(1, item.rows)
        if "runs" in self.request.include and _is_first(shard):
            self._put_runs(listed, tally)
        result = self._result(len({item.listed.ref.run_id for item in items} or listed), tally)
        logger.info(
            "%s: %d runs, %d written, %d unchanged, %d not taken",
            result.uri, result.runs, result.written, result.unchanged, len(result.not_taken),
        )  # fmt: skip
        return result

    def plan(self, shards: int) -> ExportPlan:
        self.destination.check()
        listed = list(self._listed(None))
        items = list(self._items(listed, None))
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="wandb-plan") as pool:
            changed = [
                item for item, there in zip(items, pool.map(self._is_there, items), strict=True) if not there
            ]
        work: dict[str, int] = {}
        for item in changed:
            name = item.listed.ref.run_id
            work[name] = work.get(name, 0) + item.rows + _PAGE_ROWS
        return ExportPlan(
            **self._names(),
            runs=len(listed),
            changed=len(work),
            rows=sum(item.rows for item in changed if item.what == "history"),
            system_rows=sum(item.rows for item in changed if item.what == "system"),
            requests=max(1, -(-len(listed) // _LIST_PAGE)) + sum(map(_requests, changed)),
            shards=_shards(work, shards),
        )

    def _listed(self, shard: Mapping[str, Any] | None) -> Iterator[Listed]:
        """The runs to look at: for the table of runs all of them, else only those of the shard."""
        request = self.request
        if shard is not None and not (_is_first(shard) and "runs" in request.include):
            return runs_named(self.transport, request.entity, request.project, _run_ids(shard))
        return listed_runs(self.transport, request.entity, request.project, request.filters)

    def _items(self, listed: Sequence[Listed], shard: Mapping[str, Any] | None) -> Iterator[_Item]:
        """Parts of runs, the longest first, so that none is left running alone at the end."""
        chosen = None if shard is None else set(_run_ids(shard))
        items = [
            _Item(one, what)
            for one in listed
            if chosen is None or one.ref.run_id in chosen
            for what in self.request.per_run
        ]
        return iter(sorted(items, key=lambda item: -item.rows))

    def _is_there(self, item: _Item) -> bool:
        return not self.request.force and self.destination.standing(item.listed, item.what) is not None

    def _outcomes(self, items: Sequence[_Item]) -> Iterator[tuple[_Item, Sequence[Taken | NotTaken]]]:
        """Fetch in parallel; hand what came to the destination in the order in which it comes."""
        waiting = deque(items)
        workers = max(1, min(self.concurrency, len(items)))
        pages = max(1, self.concurrency // workers)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="wandb-export")
        flying: dict[Future[Any], _Item] = {}
        held: list[tuple[_Item, Any]] = []
        try:
            while waiting or flying:
                while waiting and len(flying) < 2 * workers:
                    item = waiting.popleft()
                    flying[pool.submit(self._fetch, item, pages)] = item
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    item, fetched = flying.pop(future), future.result()
                    if isinstance(fetched, list):
                        yield item, fetched
                    else:
                        held.append((item, fetched))
                enough = sum(item.rows for item, _ in held) >= _HELD_ROWS or len(held) >= _HELD_PARTS
                if held and (enough or not (waiting or flying)):
                    batch, held = held, []
                    yield from self._stored(batch)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for _, fetched in held:
                fetched.close()

    def _stored(self, batch: list[tuple[_Item, Any]]) -> Iterator[tuple[_Item, Sequence[Taken | NotTaken]]]:
        try:
            outcomes: Sequence[Taken | NotTaken] = self.destination.store([fetched for _, fetched in batch])
        except (Error, OSError) as error:
            self._note(error)
            outcomes = [NotTaken.of(item.listed.ref.run_id, item.what, error) for item, _ in batch]
        finally:
            for _, fetched in batch:
                fetched.close()
        yield batch[0][0], outcomes
        for item, _ in batch[1:]:
            yield item, ()

    def _fetch(self, item: _Item, pages: int) -> Any:
        """In a worker: what `store` needs, or outcomes."""
        run_id = item.listed.ref.run_id
        if self._stop.is_set():
            message = "not tried: the destination or the server had failed for good before"
            return [
                NotTaken(run_id=run_id, what=item.what, error="NotTried", message=message, retryable=True)
            ]
        try:
            if not self.request.force:
                rows = self.destination.standing(item.listed, item.what)
                if rows is not None:
                    return [Taken(run_id=run_id, what=item.what, action="unchanged", rows=rows)]
            return self.destination.fetch(item.listed, item.what, pages)
        except AuthenticationError:
            self._stop.set()
            raise
        except (Error, OSError) as error:
            self._note(error)
            return [NotTaken.of(run_id, item.what, error)]

    def _note(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            self._stop.set()

    def _put_runs(self, listed: Sequence[Listed], tally: _Tally) -> None:
        try:
            outcome: RunsOutcome = self.destination.put_runs(listed)
        except AuthenticationError:
            raise
        except (Error, OSError) as error:
            tally.add([NotTaken.of("", "runs", error)])
            return
        tally.add([outcome.taken])
        tally.deleted = outcome.deleted_upstream
        tally.left_out.update(outcome.left_out)

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

    def _result(self, runs: int, tally: _Tally) -> ProjectExport:
        parts = [taken for taken in tally.taken if taken.what != "runs"]
        unchanged = sum(taken.action == "unchanged" for taken in parts)
        not_taken = sorted(tally.not_taken, key=lambda n: (n.run_id, n.what, n.message))
        return ProjectExport(
            **self._names(),
            runs=runs,
            written=len(parts) - unchanged,
            unchanged=unchanged,
            rows=tally.rows("history"),
            system_rows=tally.rows("system"),
            files=sum(taken.files for taken in parts),
            bytes=sum(taken.bytes for taken in tally.taken if taken.action != "unchanged"),
            deleted_upstream=tally.deleted,
            not_taken=tuple(not_taken),
            left_out=dict(tally.left_out),
        )


def destination_for(transport: Transport, request: ProjectRequest) -> Destination:
    """The kind of destination that a format needs."""
    if request.format == "delta":
        from wandb_ops.export.lakesink import LakeDestination

        return LakeDestination(transport, request)
    from wandb_ops.export.filesink import FileDestination

    return FileDestination(transport, request)


def _requests(item: _Item) -> int:
    """Requests that a part of a run takes, when all goes well."""
    if item.what == "system":
        return 3 if item.rows else 0
    if item.what == "files":
        return 1
    pages = -(-item.rows // _PAGE_ROWS)
    return pages + 1 if pages > 1 else pages


def _shards(work: Mapping[str, int], most: int) -> tuple[dict[str, Any], ...]:
    """Runs dealt out so that the shards have about the same to do; the same for the same runs."""
    count = max(1, min(most, len(work)))
    loads, names = [0] * count, [list[str]() for _ in range(count)]
    for name, size in sorted(work.items(), key=lambda entry: (-entry[1], entry[0])):
        least = loads.index(min(loads))
        loads[least] += size
        names[least].append(name)
    return tuple({"index": i, "of": count, "runs": sorted(names[i])} for i in range(count))


def _is_first(shard: Mapping[str, Any] | None) -> bool:
    return shard is None or shard.get("index") == 0


def _run_ids(shard: Mapping[str, Any]) -> list[str]:
    runs = shard.get("runs")
    if not isinstance(runs, (list, tuple)) or not all(isinstance(name, str) for name in runs):
        raise UsageError("A shard is one of the values that plan_export returned", hint="Pass it as it is.")
    return list(runs)
