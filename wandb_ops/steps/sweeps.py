"""Sweeps in pipelines: made once under a name of the caller's, and waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import (
    AmbiguousOutcome,
    NotFoundError,
    RunConflict,
    RunFailed,
    UsageError,
)
from wandb_ops.polling import NotYet, wait_for
from wandb_ops.steps.identity import bare_project
from wandb_ops.steps.results import SweepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wandb_ops.public.api import Api
    from wandb_ops.public.sweeps import Sweep

ENDED_SWEEPS = frozenset({"FINISHED", "CANCELED", "STOPPED", "FAILED", "CRASHED"})


def create_sweep(
    api: Api, *, project: str, name: str, config: Mapping[str, Any], entity: str | None = None
) -> SweepResult:
    """Make the sweep of this name, or find it again.

    W&B numbers sweeps itself, so the name is what makes a repetition harmless: a sweep of the project that
    has it, and the same configuration, is the one. Two calls at the same moment may make two.

    Args:
        api: The client.
        project: Project name; made when it does not exist.
        name: Shown in the app; unique in the project by your own care, such as with the date of a DAG run.
        config: W&B's sweep configuration: `method`, `metric`, `parameters`, ...
        entity: User or team; None for the client's default.

    Raises:
        RunConflict: The project has a sweep of that name with another configuration.
        UsageError: The name is empty, or the configuration is none.
    """
    bare_project(project)
    if not name.strip() or not config:
        raise UsageError("a sweep needs a name and a configuration", where=project)
    from wandb_ops.public.sweeps import create, plain_config

    owner = api.entity_or_default(entity)
    wanted = plain_config({**config, "name": name}, f"{owner}/{project}")
    found = _named(api, owner, project, name, wanted)
    if found is not None:
        return _result(found)
    _need_project(api, owner, project)
    try:
        made = create.create_sweep(api.transport, entity=owner, project=project, config=wanted, name=name)
    except AmbiguousOutcome:
        found = _named(api, owner, project, name, wanted)
        if found is None:
            raise
        return _result(found, created=True)
    return _result(api.sweep(f"{owner}/{project}/{made.sweep_id}"), created=True, warnings=made.warnings)


def sweep_status(api: Api, *, sweep: str) -> SweepResult:
    """One look at a sweep; with its best run once it has ended.

    Args:
        api: The client.
        sweep: `entity/project/sweep_id`.
    """
    return _result(api.sweep(sweep))


def wait_for_sweep(
    api: Api,
    *,
    sweep: str,
    timeout: float,
    poll_interval: float = 60.0,
    fail_on_bad_end: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> SweepResult:
    """Wait until a sweep has ended.

    Args:
        api: The client.
        sweep: `entity/project/sweep_id`.
        timeout: Seconds until `WaitTimeout`.
        poll_interval: Seconds between looks.
        fail_on_bad_end: Raise `RunFailed` for an end other than FINISHED; else return it.
        sleep: Waits so many seconds.
        clock: A monotonic clock in seconds.

    Raises:
        RunFailed: The sweep ended badly.
        WaitTimeout: It took longer than `timeout`.
        CommError: W&B was away for several looks in a row; fewer than that do not end the wait.
    """

    def look() -> SweepResult | NotYet:
        status = sweep_status(api, sweep=sweep)
        return status if status.ended else NotYet(status.state)

    status = wait_for(
        look,
        what="the sweep",
        where=sweep,
        timeout=timeout,
        poll_interval=poll_interval,
        sleep=sleep,
        clock=clock,
    )
    if fail_on_bad_end and not status.succeeded:
        raise RunFailed(f"the sweep ended as {status.state}", where=sweep, hint=f"See {status.url}")
    return status


def _named(api: Api, owner: str, project: str, name: str, config: Mapping[str, Any]) -> Sweep | None:
    """The sweep of that name and configuration; the newest, where there are several."""
    other: Sweep | None = None
    try:
        for sweep in api.project(project, owner).sweeps():
            if sweep.name != name:
                continue
            if sweep.config == config:
                return sweep
            other = other or sweep
    except NotFoundError:
        return None
    if other is not None:
        raise RunConflict(
            f"there is a sweep named {name!r} with another configuration",
            where="/".join(other.path),
            hint="Give this one another name.",
        )
    return None


def _need_project(api: Api, owner: str, project: str) -> None:
    try:
        api.project(project, owner).id  # noqa: B018 - asks the server
    except NotFoundError:
        api.create_project(project, owner)


def _result(sweep: Sweep, *, created: bool = False, warnings: tuple[str, ...] = ()) -> SweepResult:
    state = sweep.state.upper()
    ended = state in ENDED_SWEEPS
    best = sweep.best_run() if ended else None
    return SweepResult(
        path="/".join(sweep.path),
        entity=sweep.entity,
        project=sweep.project,
        sweep_id=sweep.id,
        name=sweep.name,
        url=sweep.url,
        state=state,
        ended=ended,
        succeeded=state == "FINISHED",
        runs=len(sweep.runs),
        expected_runs=sweep.expected_run_count,
        created=created,
        best_run="/".join(best.path) if best is not None else "",
        warnings=warnings,
    )
