"""One command per step; each parses its arguments, calls the step and shows the result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from wandb_ops import steps
from wandb_ops.cli.output import json_option, pairs, show, size, table
from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.public.api import Api


def client() -> Api:
    """The client that the environment describes."""
    import wandb_ops

    return wandb_ops.Api()


@click.command()
@click.argument("project")
@click.option("--entity", help="User or team; default: the account's.")
@click.option("--state", "states", multiple=True, help="Keep this state; may be given again.")
@click.option("--filters", help="W&B filter as JSON.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
def runs(
    project: str,
    entity: str | None,
    states: tuple[str, ...],
    filters: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List a project's runs, those that changed longest ago first."""
    entity, project = _split(project, entity)
    found = steps.list_runs(
        client(), project=project, entity=entity, states=states, filters=_json(filters), limit=limit
    )
    show(
        found,
        as_json=as_json,
        people=lambda: table(
            ["run", "name", "state", "history lines", "last heartbeat"],
            [(r.run_id, r.display_name, r.state, r.history_lines, r.heartbeat_at) for r in found],
        ),
    )


@click.command("sync-tensorboard")
@click.argument("root_dir", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--run-id", help="Run to fill; default: derived from the folder, so a second sync finds it again."
)
@click.option("--project")
@click.option("--entity")
@click.option("--finish/--no-finish", default=True, show_default=True, help="End the run afterwards.")
@json_option
def sync_tensorboard(
    root_dir: str,
    run_id: str | None,
    project: str | None,
    entity: str | None,
    finish: bool,
    as_json: bool,
) -> None:
    """Send the tfevents below ROOT_DIR that the run does not have yet."""
    result = steps.sync_tensorboard(
        client(), root_dir, run_id=run_id, project=project, entity=entity, finish=finish
    )
    show(
        result,
        as_json=as_json,
        people=lambda: pairs(
            [
                ("run", result.path),
                ("url", result.url),
                ("rows", f"{result.rows} new, {result.history_lines} in all"),
                ("values", f"{result.scalars} scalars, {result.media} histograms and media"),
                ("read", f"{result.files} files, {size(result.bytes_read)}"),
                ("damaged", size(result.bytes_skipped) if result.bytes_skipped else ""),
                ("left out", _counts(result.left_out)),
            ]
        ),
    )


@click.command()
@click.argument("run")
@click.argument("to")
@click.option("--format", "file_format", type=click.Choice(["parquet", "csv", "jsonl"]))
@click.option("--key", "keys", multiple=True, help="Keep this column; may be given again. Default: all.")
@click.option("--force", is_flag=True, help="Write even when nothing changed.")
@json_option
def export(run: str, to: str, file_format: Any, keys: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Write the exact history of RUN (entity/project/run_id) to the file TO, or fail."""
    result = steps.export_history(
        client(), run=run, to=to, format=file_format, keys=keys or None, force=force
    )
    show(
        result,
        as_json=as_json,
        people=lambda: pairs(
            [
                ("run", f"{result.path} ({result.state})"),
                ("file", result.uri),
                ("rows", f"{result.rows} in {len(result.columns)} columns, {size(result.bytes)}"),
                ("steps", f"{result.first_step} to {result.last_step}"),
                ("sha256", result.sha256),
                (
                    "action",
                    result.action if result.complete else f"{result.action}; the run is still growing",
                ),
                ("left out", _counts(result.left_out)),
            ]
        ),
    )


@click.command()
@click.argument("project")
@click.argument("to")
@click.option("--entity")
@click.option("--min", "least", multiple=True, metavar="METRIC", help="Rank by this; the least is best.")
@click.option(
    "--max", "greatest", multiple=True, metavar="METRIC", help="Rank by this; the greatest is best."
)
@click.option("--filters", help="W&B filter as JSON.")
@click.option("--at", help="ISO 8601 time the snapshot is for; default: now.")
@json_option
def snapshot(
    project: str,
    to: str,
    entity: str | None,
    least: tuple[str, ...],
    greatest: tuple[str, ...],
    filters: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Write one row per run of PROJECT to a Parquet file in folder TO."""
    entity, project = _split(project, entity)
    metrics: dict[str, Any] = {**dict.fromkeys(least, "min"), **dict.fromkeys(greatest, "max")}
    result = steps.snapshot(
        client(), project=project, to=to, entity=entity, metrics=metrics, filters=_json(filters), at=at
    )

    def people() -> None:
        pairs(
            [
                ("project", f"{result.entity}/{result.project}"),
                ("at", result.at),
                ("runs", f"{result.runs} ({_counts(result.states)}), {result.new_runs} new"),
                ("file", f"{result.uri}, {size(result.bytes)}"),
                ("compared with", result.previous),
                ("left out", _counts(result.left_out)),
            ]
        )
        if result.best:
            table(
                ["metric", "best", "run", "value", "change"],
                [(b.metric, b.goal, b.display_name, b.value, b.delta) for b in result.best],
            )

    show(result, as_json=as_json, people=people)


@click.group()
def queue() -> None:
    """Launch queues."""


@queue.command("upsert")
@click.argument("name")
@click.option("--type", "resource_type", required=True, help="local-container, kubernetes, sagemaker, ...")
@click.option(
    "--config", required=True, type=click.File("r"), help="Resource config: a JSON file, - for stdin."
)
@click.option("--entity")
@json_option
def upsert_queue(name: str, resource_type: str, config: Any, entity: str | None, as_json: bool) -> None:
    """Make the queue NAME, or change what differs."""
    parsed = _json(config.read())
    result = steps.upsert_run_queue(
        client(), name=name, resource_type=resource_type, resource_config=parsed or {}, entity=entity
    )
    show(
        result,
        as_json=as_json,
        people=lambda: pairs(
            [
                ("queue", f"{result.entity}/{result.name}"),
                ("action", result.action),
                ("changed", ", ".join(sorted(result.changes))),
                ("url", result.url),
            ]
        ),
    )


@click.command()
@click.argument("run")
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds.")
@click.option("--poll", type=float, default=30.0, show_default=True, help="Seconds between looks.")
@json_option
def wait(run: str, timeout: float, poll: float, as_json: bool) -> None:
    """Wait until RUN has ended; fails when it ends badly."""
    status = steps.wait_for_run(client(), run=run, timeout=timeout, poll_interval=poll)
    show(status, as_json=as_json, people=lambda: pairs([("run", status.path), ("state", status.state)]))


@click.command()
@click.argument("run")
@click.option("--exit-code", type=int, default=0, show_default=True, help="Not 0: the run is failed.")
@json_option
def finish(run: str, exit_code: int, as_json: bool) -> None:
    """End RUN."""
    result = steps.finish_run(client(), run=run, exit_code=exit_code)
    show(result, as_json=as_json, people=lambda: pairs([("run", result.path), ("state", result.state)]))


def _split(project: str, entity: str | None) -> tuple[str | None, str]:
    """`entity/project` and `project` are both taken."""
    head, slash, tail = project.partition("/")
    return (head, tail) if slash and not entity else (entity, project)


def _json(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("the JSON must be an object")
    return value


def _counts(counts: dict[str, int]) -> str:
    items: Iterable[tuple[str, int]] = sorted(counts.items())
    return ", ".join(f"{count} {name}" for name, count in items)
