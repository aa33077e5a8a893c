"""`wandb-ops sweep`: make a sweep once, look at it, wait for its end. Agents that work on it are yours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wandb_ops import steps
from wandb_ops.cli.output import json_option, pairs, show
from wandb_ops.cli.steps import client, split_project
from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from wandb_ops.steps import SweepResult


@click.group()
def sweep() -> None:
    """Sweeps: make one, look at it, wait for its end.

    SWEEP is entity/project/sweep_id; entity and project may be left out for the environment's.
    """


@sweep.command()
@click.argument("project")
@click.option(
    "--config",
    required=True,
    type=click.File("r"),
    help="W&B's sweep configuration: a YAML or JSON file, - for stdin.",
)
@click.option("--name", help="What finds it again; default: the configuration's own name.")
@click.option("--entity", help="User or team; default: the account's.")
@json_option
def create(project: str, config: Any, name: str | None, entity: str | None, as_json: bool) -> None:
    """Make a sweep in PROJECT, or find it again.

    What finds it again is its name, together with the same configuration.
    """
    entity, project = split_project(project, entity)
    wanted = _configuration(config)
    name = name or wanted.get("name")
    if not isinstance(name, str):
        raise UsageError("the sweep has no name", where=config.name, hint="Pass --name.")
    result = steps.create_sweep(client(), project=project, name=name, config=wanted, entity=entity)

    def people() -> None:
        pairs([*_pairs(result), ("action", "created" if result.created else "unchanged")])
        pairs(("warning", warning) for warning in result.warnings)

    show(result, as_json=as_json, people=people)


@sweep.command()
@click.argument("sweep")
@json_option
def status(sweep: str, as_json: bool) -> None:
    """Say how SWEEP stands; once it has ended, which run was best."""
    result = steps.sweep_status(client(), sweep=sweep)
    show(result, as_json=as_json, people=lambda: pairs(_pairs(result)))


@sweep.command()
@click.argument("sweep")
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds.")
@click.option("--poll", type=float, default=60.0, show_default=True, help="Seconds between looks.")
@json_option
def wait(sweep: str, timeout: float, poll: float, as_json: bool) -> None:
    """Wait until SWEEP has ended; fails when it ends otherwise than FINISHED."""
    result = steps.wait_for_sweep(client(), sweep=sweep, timeout=timeout, poll_interval=poll)
    show(result, as_json=as_json, people=lambda: pairs(_pairs(result)))


def _configuration(file: Any) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read())
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {error}", where=file.name) from error
    if not isinstance(found, dict):
        raise UsageError("the configuration must be a mapping", where=file.name)
    return found


def _pairs(found: SweepResult) -> list[tuple[str, Any]]:
    of = "" if found.expected_runs is None else f" of {found.expected_runs}"
    return [
        ("sweep", found.path),
        ("name", found.name),
        ("state", found.state),
        ("runs", f"{found.runs}{of}"),
        ("best run", found.best_run),
        ("url", found.url),
    ]
