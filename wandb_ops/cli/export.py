"""`export`, `plan`, `verify`, `snapshot`, `lake`: what is taken out of W&B, and whether it is all there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from wandb_ops import steps
from wandb_ops.cli.output import json_option, pairs, show, size, table
from wandb_ops.cli.steps import client, counts, json_object, split_project
from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.steps import ExportResult, NotTakenInfo, ProjectExportResult

_FORMATS = ["parquet", "csv", "jsonl", "delta"]
_PARTS = ["runs", "history", "system", "files", "artifacts"]
_SHOWN = 20  # names in a list for people; --json has all


def _project_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--entity", help="User or team; default: the account's."),
        click.option("--filters", help="W&B filter as JSON."),
        click.option(
            "--key", "keys", multiple=True, help="Keep this column; may be given again. Default: all."
        ),
        click.option(
            "--include",
            multiple=True,
            type=click.Choice(_PARTS),
            help="What to take; may be given again. Default: runs and history.",
        ),
    ):
        command = option(command)
    return command


_format_option = click.option("--format", "file_format", type=click.Choice(_FORMATS))
# A file, because what stands on a command line is seen by everybody on the machine.
_options_option = click.option(
    "--storage-options",
    type=click.File("r"),
    help="JSON file with the options of the store that TO is in, credentials among them; - for stdin."
    " Default: what stands in the environment.",
)


@click.command()
@click.argument("what")
@click.argument("to")
@_format_option
@_project_options
@click.option("--shard", help="One of the shards of `plan --json`, as JSON: take only its runs.")
@click.option("--force", is_flag=True, help="Fetch even what has not changed.")
@_options_option
@json_option
def export(
    what: str,
    to: str,
    file_format: Any,
    entity: str | None,
    filters: str | None,
    keys: tuple[str, ...],
    include: tuple[str, ...],
    shard: str | None,
    force: bool,
    storage_options: Any,
    as_json: bool,
) -> None:
    """Write the exact history of a run (entity/project/run_id) to the file or lake TO, or a whole project
    (entity/project) to the folder or lake TO."""
    options = _options(storage_options)
    if what.strip("/").count("/") == 2:
        if shard or filters or include:
            raise UsageError(f"{what!r} is one run: --shard, --filters, --include are for projects")
        one = steps.export_history(
            client(),
            run=what,
            to=to,
            format=file_format,
            keys=keys or None,
            force=force,
            storage_options=options,
        )
        show(one, as_json=as_json, people=lambda: _show_run(one))
        return
    entity, project = split_project(what, entity)
    done = steps.export_project(
        client(),
        project=project,
        to=to,
        shard=json_object(shard),
        force=force,
        storage_options=options,
        **_request(entity, filters, keys, include, file_format),
    )
    show(done, as_json=as_json, people=lambda: _show_project(done))
    if not done.ok:
        click.echo(f"wandb-ops: {len(done.not_taken)} parts of runs were not taken", err=True)
        click.get_current_context().exit(75 if all(n.retryable for n in done.not_taken) else 1)


@click.command()
@click.argument("project")
@click.argument("to")
@_format_option
@_project_options
@click.option("--shards", type=click.IntRange(min=1), default=1, show_default=True, help="Parts at most.")
@click.option("--force", is_flag=True, help="As if everything had changed.")
@_options_option
@json_option
def plan(
    project: str,
    to: str,
    file_format: Any,
    entity: str | None,
    filters: str | None,
    keys: tuple[str, ...],
    include: tuple[str, ...],
    shards: int,
    force: bool,
    storage_options: Any,
    as_json: bool,
) -> None:
    """Say what `export PROJECT TO` would fetch; fetches no history."""
    entity, project = split_project(project, entity)
    planned = steps.plan_export(
        client(),
        project=project,
        to=to,
        shards=shards,
        force=force,
        storage_options=_options(storage_options),
        **_request(entity, filters, keys, include, file_format),
    )

    def people() -> None:
        pairs(
            [
                ("project", f"{planned.entity}/{planned.project}"),
                ("to", f"{planned.uri} ({planned.format})"),
                ("runs", f"{planned.changed} to fetch, of {planned.runs}"),
                ("rows", f"{planned.rows} of history, {planned.system_rows} of system metrics"),
                ("requests", f"about {planned.requests}"),
                ("shards", ", ".join(f"{len(s['runs'])} runs" for s in planned.shards)),
            ]
        )

    show(planned, as_json=as_json, people=people)


@click.command()
@click.argument("project")
@click.argument("to")
@_format_option
@_project_options
@_options_option
@json_option
def verify(
    project: str,
    to: str,
    file_format: Any,
    entity: str | None,
    filters: str | None,
    keys: tuple[str, ...],
    include: tuple[str, ...],
    storage_options: Any,
    as_json: bool,
) -> None:
    """Read the export of PROJECT in TO again, and compare it with its marks and with the server.

    Fails with 1 when something is damaged, with 75 when the server has something newer.
    """
    entity, project = split_project(project, entity)
    found = steps.verify_export(
        client(),
        project=project,
        to=to,
        storage_options=_options(storage_options),
        **_request(entity, filters, keys, include, file_format),
    )

    def people() -> None:
        pairs(
            [
                ("export", found.uri),
                ("intact", "yes" if found.ok else f"no, {len(found.problems)} problems"),
                ("current", "yes" if found.current else "no"),
                ("read", f"{found.rows} rows in {found.parts} parts"),
                ("missing", _names(found.missing)),
                ("stale", _names(found.stale)),
                ("deleted upstream", _names(found.deleted_upstream)),
            ]
        )
        for problem in found.problems[:_SHOWN]:
            pairs([("problem", problem)])

    show(found, as_json=as_json, people=people)
    if not (found.ok and found.current):
        click.get_current_context().exit(75 if found.ok else 1)


@click.command()
@click.argument("project")
@click.argument("to")
@click.option("--entity")
@click.option("--min", "least", multiple=True, metavar="METRIC", help="Rank by this; the least is best.")
@click.option(
    "--max", "greatest", multiple=True, metavar="METRIC", help="Rank by this; the greatest is best."
)
@click.option("--last", "lasts", multiple=True, metavar="METRIC", help="Show the last value of this.")
@click.option("--mean", "means", multiple=True, metavar="METRIC", help="Show the mean of this.")
@click.option("--filters", help="W&B filter as JSON.")
@click.option("--at", help="ISO 8601 time the snapshot is for; default: now.")
@click.option(
    "--format", "file_format", type=click.Choice(["parquet", "delta"]), default="parquet", show_default=True
)
@click.option("--report", help="Also write an HTML page with charts to this file.")
@_options_option
@json_option
def snapshot(
    project: str,
    to: str,
    entity: str | None,
    least: tuple[str, ...],
    greatest: tuple[str, ...],
    lasts: tuple[str, ...],
    means: tuple[str, ...],
    filters: str | None,
    at: str | None,
    file_format: Any,
    report: str | None,
    storage_options: Any,
    as_json: bool,
) -> None:
    """Write one row per run of PROJECT to a Parquet file in folder TO, or to the lake TO."""
    entity, project = split_project(project, entity)
    metrics: dict[str, Any] = {}
    for goal, names in (("min", least), ("max", greatest), ("last", lasts), ("mean", means)):
        for name in names:
            metrics.setdefault(name, []).append(goal)
    result = steps.snapshot(
        client(),
        project=project,
        to=to,
        entity=entity,
        metrics=metrics,
        filters=json_object(filters),
        at=at,
        format=file_format,
        report=report,
        storage_options=_options(storage_options),
    )

    def people() -> None:
        pairs(
            [
                ("project", f"{result.entity}/{result.project}"),
                ("at", result.at),
                ("runs", f"{result.runs} ({counts(result.states)}), {result.new_runs} new"),
                (
                    "file" if result.bytes else "table",
                    result.uri + (f", {size(result.bytes)}" * bool(result.bytes)),
                ),
                ("report", result.report),
                ("compared with", result.previous),
                ("left out", counts(result.left_out)),
            ]
        )
        if result.best:
            table(
                ["metric", "best", "run", "value", "change"],
                [(b.metric, b.goal, b.display_name, b.value, b.delta) for b in result.best],
            )
        if result.changes and result.previous:
            table(
                ["metric", "of", "runs", "changed", "changed most", "to", "by"],
                [
                    (c.metric, c.goal, c.runs, c.changed, c.display_name, c.value, c.delta)
                    for c in result.changes
                ],
            )

    show(result, as_json=as_json, people=people)


@click.group()
def lake() -> None:
    """Look after Delta Lake tables."""


@lake.command()
@click.argument("to")
@_options_option
@json_option
def optimize(to: str, storage_options: Any, as_json: bool) -> None:
    """Join the small files of many commits in the lake TO into large ones."""
    from wandb_ops.export import optimize_lake

    done = optimize_lake(to, storage_options=_options(storage_options))
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        table(
            ["table", "files removed", "files added"],
            [(name, n["files_removed"], n["files_added"]) for name, n in done.items()],
        )


@lake.command()
@click.argument("to")
@click.option("--keep-hours", type=click.IntRange(min=0), default=168, show_default=True)
@click.option("--dry-run", is_flag=True, help="Only name the files.")
@_options_option
@json_option
def vacuum(to: str, keep_hours: int, dry_run: bool, storage_options: Any, as_json: bool) -> None:
    """Delete files of the lake TO that no version of the last hours needs."""
    from wandb_ops.export import vacuum_lake

    done = vacuum_lake(to, keep_hours=keep_hours, dry_run=dry_run, storage_options=_options(storage_options))
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        table(["table", "files"], [(name, len(files)) for name, files in done.items()])


def _options(file: Any) -> dict[str, Any] | None:
    """What a file of storage options holds; it is not quoted when it is wrong."""
    if file is None:
        return None
    try:
        found = json.loads(file.read())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{file.name} holds no JSON object of storage options")
    return found


def _request(
    entity: str | None, filters: str | None, keys: tuple[str, ...], include: tuple[str, ...], file_format: Any
) -> dict[str, Any]:
    return {
        "entity": entity,
        "filters": json_object(filters),
        "keys": keys or None,
        "include": include or ("runs", "history"),
        "format": file_format or "parquet",
    }


def _show_run(result: ExportResult) -> None:
    pairs(
        [
            ("run", f"{result.path} ({result.state})"),
            ("table" if result.format == "delta" else "file", result.uri),
            ("rows", f"{result.rows} in {len(result.columns)} columns" + _and_size(result.bytes)),
            ("steps", f"{result.first_step} to {result.last_step}"),
            ("sha256", result.sha256),
            ("action", result.action if result.complete else f"{result.action}; the run is still growing"),
            ("left out", counts(result.left_out)),
        ]
    )


def _show_project(result: ProjectExportResult) -> None:
    pairs(
        [
            ("project", f"{result.entity}/{result.project}"),
            ("to", f"{result.uri} ({result.format})"),
            ("runs", f"{result.runs}: {result.written} parts written, {result.unchanged} unchanged"),
            ("rows", f"{result.rows} of history, {result.system_rows} of system metrics"),
            ("files", f"{result.files}" if result.files else ""),
            ("artifacts", f"{result.artifacts} versions" if result.artifacts else ""),
            ("bytes", size(result.bytes) if result.bytes else ""),
            ("deleted upstream", _names(result.deleted_upstream)),
            ("left out", counts(result.left_out)),
        ]
    )
    if result.not_taken:
        table(["not taken", "of run", "because"], [_because(one) for one in result.not_taken[:_SHOWN]])


def _and_size(count: int) -> str:
    return f", {size(count)}" if count else ""


def _because(one: NotTakenInfo) -> tuple[str, str, str]:
    return one.what, one.run_id, f"{one.error}: {one.message}"


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
