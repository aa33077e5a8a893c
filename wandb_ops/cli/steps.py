"""One command per step; each parses its arguments, calls the step and shows the result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from wandb_ops import steps
from wandb_ops.cli.output import json_option, pairs, show, table
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
    entity, project = split_project(project, entity)
    found = steps.list_runs(
        client(), project=project, entity=entity, states=states, filters=json_object(filters), limit=limit
    )

    def people() -> None:
        if not found:
            click.echo("no runs")
            return
        table(
            ["run", "name", "state", "history lines", "last heartbeat"],
            [(r.run_id, r.display_name, r.state, r.history_lines, r.heartbeat_at) for r in found],
        )

    show(found, as_json=as_json, people=people)


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
    parsed = json_object(config.read())
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


@queue.command("enqueue")
@click.argument("name")
@click.option("--project", required=True, help="Project that the run is logged to.")
@click.option("--job", help="entity/project/job-name:alias")
@click.option("--image", "docker_image", help="A container image, in place of a job.")
@click.option("--run-id", help="Identifier of the run; when it is there already, nothing is queued.")
@click.option("--config", type=click.File("r"), help="Hyperparameters: a JSON file, - for stdin.")
@click.option("--priority", type=click.IntRange(0, 3), help="0 (critical) to 3 (low).")
@click.option("--entity")
@json_option
def enqueue(
    name: str,
    project: str,
    job: str | None,
    docker_image: str | None,
    run_id: str | None,
    config: Any,
    priority: int | None,
    entity: str | None,
    as_json: bool,
) -> None:
    """Put a job on the queue NAME."""
    result = steps.enqueue_job(
        client(),
        queue=name,
        project=project,
        job=job,
        docker_image=docker_image,
        run_id=run_id,
        run_config=json_object(config.read()) if config else None,
        priority=priority,
        entity=entity,
    )
    show(
        result,
        as_json=as_json,
        people=lambda: pairs(
            [
                ("queue", f"{result.entity}/{result.queue}"),
                ("item", result.item_id or "none: the run is there"),
                ("run", result.path),
                ("url", result.url),
            ]
        ),
    )


@queue.command("wait")
@click.argument("name")
@click.argument("item")
@click.option("--project", required=True, help="Project that the run is logged to.")
@click.option("--until", type=click.Choice(["running", "finished"]), default="finished", show_default=True)
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds.")
@click.option("--poll", type=float, default=30.0, show_default=True, help="Seconds between looks.")
@click.option("--entity")
@json_option
def wait_for_item(
    name: str,
    item: str,
    project: str,
    until: Literal["running", "finished"],
    timeout: float,
    poll: float,
    entity: str | None,
    as_json: bool,
) -> None:
    """Wait until the run that comes of ITEM on the queue NAME has ended; fails when it ends badly."""
    status = steps.wait_for_queued_run(
        client(),
        queue=name,
        item_id=item,
        project=project,
        entity=entity,
        until=until,
        timeout=timeout,
        poll_interval=poll,
    )
    show(status, as_json=as_json, people=lambda: pairs([("run", status.path), ("state", status.state)]))


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


def split_project(project: str, entity: str | None) -> tuple[str | None, str]:
    """`entity/project` and `project` are both taken."""
    head, slash, tail = project.partition("/")
    return (head, tail) if slash and not entity else (entity, project)


def json_object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("the JSON must be an object")
    return value


def counts(counts: dict[str, int]) -> str:
    items: Iterable[tuple[str, int]] = sorted(counts.items())
    return ", ".join(f"{count} {name}" for name, count in items)
