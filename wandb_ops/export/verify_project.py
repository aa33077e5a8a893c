"""Does an export of a project still hold what it says, and is that what the server has?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.export.engine import destination_for, request_of
from wandb_ops.export.files.sink import MARK, read_mark
from wandb_ops.export.lake.lake import LakeTable, lake_uri, transaction
from wandb_ops.export.lake.scan import batches_of
from wandb_ops.export.places.places import child, placed, table_options
from wandb_ops.export.places.targets import explained, folder, measure
from wandb_ops.export.request.limit import CONCURRENCY, LimitedTransport
from wandb_ops.export.request.project import DEFAULT
from wandb_ops.export.runs.artifactfiles import logged_of, version_problems
from wandb_ops.export.runs.listing import Listing
from wandb_ops.export.runs.loose import path_below
from wandb_ops.export.verify import verify_target

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from wandb_ops.export.places.targets import Folder
    from wandb_ops.export.request.project import PerRun, ProjectFormat, ProjectRequest, What
    from wandb_ops.public.api import Api


@dataclass(frozen=True, kw_only=True)
class ProjectVerified:
    """What was found when an export of a project was checked."""

    uri: str
    ok: bool  # everything holds what it says
    current: bool  # and the server has nothing that is newer or missing here
    parts: int  # histories and system metrics that were read again
    rows: int
    problems: tuple[str, ...]
    missing: tuple[str, ...]  # run ids of which a part is not there
    stale: tuple[str, ...]  # run ids of which a part is older than the server's
    deleted_upstream: tuple[str, ...]  # run ids that the server has no longer


def verify_export(
    api: Api,
    *,
    project: str,
    to: str | os.PathLike[str],
    entity: str | None = None,
    filters: Mapping[str, Any] | None = None,
    keys: Sequence[str] | None = None,
    format: ProjectFormat = "parquet",
    include: Sequence[What] = DEFAULT,
    storage_options: Mapping[str, Any] | None = None,
) -> ProjectVerified:
    """Read an export of a project again, every row of it, and compare it with its own marks and the server's
    list of runs; no history is asked for. The arguments are those of `export_project`.

    Raises:
        UsageError: The destination holds another project.
    """
    request = request_of(api, project, placed(to, storage_options), entity, filters, keys, format, include)
    transport = LimitedTransport(api.transport, CONCURRENCY)
    destination = destination_for(transport, request)
    destination.check()
    found = list(_in_lake(request) if format == "delta" else _in_files(request))
    there = {(one.what, one.run_id) for one in found}
    missing: set[str] = set()
    stale: set[str] = set()
    wrong: list[str] = []
    listing = Listing(transport, request.entity, request.project, filters, files="files" in request.include)
    for page in listing.pages():
        for one in page.runs:
            for what in _checked(request):
                if (what, one.ref.run_id) not in there:
                    missing.add(one.ref.run_id)
                elif destination.standing(one, what) is None:
                    stale.add(one.ref.run_id)
            # Files are compared with the MD5 that the server has now, every byte of them read.
            if "files" in request.include and destination.standing(one, "files") is None:
                missing.add(one.ref.run_id)
            if "artifacts" in request.include:
                for node in logged_of(one):
                    bad = version_problems(request.to, path_below(request, "artifacts"), node)
                    if bad is None:
                        missing.add(one.ref.run_id)
                    wrong += bad or ()
    gone: set[str] = set()
    if filters is None:
        gone = {one.run_id for one in found if one.run_id not in listing.seen}
    problems = (*(problem for one in found for problem in one.problems), *wrong)
    return ProjectVerified(
        uri=destination.uri,
        ok=not problems,
        current=not (missing or stale),
        parts=len(found),
        rows=sum(one.rows for one in found),
        problems=problems,
        missing=tuple(sorted(missing)),
        stale=tuple(sorted(stale)),
        deleted_upstream=tuple(sorted(gone)),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    what: PerRun
    run_id: str
    rows: int
    problems: tuple[str, ...]


def _checked(request: ProjectRequest) -> list[PerRun]:
    """What has marks with a number of rows."""
    return [what for what in request.per_run if what in ("history", "system")]


def _in_files(request: ProjectRequest) -> Iterator[_Found]:
    for what in _checked(request):
        place = folder(child(request.to, what))
        for name in place.names():
            if name.endswith(f".{request.format}") and not name.startswith("."):
                yield _file(place, name, request.format, what)


def _file(place: Folder, name: str, kind: str, what: PerRun) -> _Found:
    target = place.file(name)
    mark = read_mark(target, kind)
    run_id = str((mark or {}).get("run_id", Path(name).stem))
    if kind == "parquet":
        verified = verify_target(target)
        return _Found(what, run_id, verified.rows, tuple(f"{name}: {p}" for p in verified.problems))
    if mark is None:
        return _Found(what, run_id, 0, (f"{name}: no mark, or one that does not fit, in {name}{MARK}",))
    with explained(target.uri, "read"), target.open() as file:
        intact = measure(file)[1] == mark["sha256"]
    problems = () if intact else (f"{name}: the bytes are not those that were written",)
    return _Found(what, run_id, int(mark["rows"]), problems)


def _in_lake(request: ProjectRequest) -> Iterator[_Found]:
    import pyarrow.compute as pc

    uri = lake_uri(request.to)
    for what in _checked(request):
        view = LakeTable(uri, what, options=table_options(request.to)).load()
        if view is None:
            continue
        mine = (pc.field("entity") == request.entity) & (pc.field("project") == request.project)
        rows: Counter[str] = Counter()
        for batch in batches_of(view, columns=["run_id"], where=mine):
            counted: Any = pc.value_counts(cast("Any", batch.column(0)))
            rows.update({each["values"]: each["counts"] for each in counted.to_pylist()})
        for run_id, count in sorted(rows.items()):
            path = f"{request.entity}/{request.project}/{run_id}"
            lines = transaction(view, path)
            # With `keys`, rows that have none of them were not taken.
            wrong = lines is None or count > lines or (count < lines and not request.keys)
            problem = f"{what} of {run_id}: {count} rows, and its transaction says {lines}"
            yield _Found(what, run_id, count, (problem,) if wrong else ())
        for run_id in _without_rows(view, request, set(rows)):
            yield _Found(what, run_id, 0, ())


def _without_rows(view: Any, request: ProjectRequest, seen: set[Any]) -> Iterator[str]:
    """Runs that have no rows, and a transaction that says so."""
    runs = LakeTable(lake_uri(request.to), "runs", options=table_options(request.to)).load()
    if runs is None:
        return
    import pyarrow.compute as pc

    mine = (pc.field("entity") == request.entity) & (pc.field("project") == request.project)
    for batch in batches_of(runs, columns=["run_id"], where=mine):
        names: list[Any] = batch.column(0).to_pylist()
        for run_id in names:
            if run_id not in seen and transaction(view, f"{request.entity}/{request.project}/{run_id}") == 0:
                yield run_id
