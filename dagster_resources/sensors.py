"""`build_wandb_run_sensor`: every run that ends becomes a partition, and gets materialized once.

The cursor is the newest heartbeat seen, and the runs seen close to it. Each tick looks again at the last
ten minutes before it, because a run may be marked as ended a while after its last heartbeat (a crash is
noticed late) and many runs may share one heartbeat; what was seen there is skipped. Beyond the cursor stands
the run key, which holds the run and its number of rows: Dagster itself launches nothing twice, and a run that
was resumed and has more rows is materialized again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from dagster_resources.partitions import run_partitions, usable_as_partition
from dagster_resources.resource import WandbResource
from wandb_ops.errors import NotFoundError, RateLimited
from wandb_ops.steps import RunStatus

LOOK_BACK = 600.0


@dataclass(frozen=True, kw_only=True)
class RunCursor:
    """How far a sensor has come. Kept as JSON by Dagster, so it survives restarts."""

    newest: str | None = None  # ISO 8601: latest heartbeat seen
    seen: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # run id -> heartbeat, rows

    @classmethod
    def from_json(cls, text: str | None) -> "RunCursor":
        """The cursor that was kept; a fresh one where there is none."""
        if not text:
            return cls()
        data = json.loads(text)
        return cls(newest=data["newest"], seen={key: (at, rows) for key, (at, rows) in data["seen"].items()})

    def to_json(self) -> str:
        return json.dumps({"newest": self.newest, "seen": {key: list(one) for key, one in self.seen.items()}})

    def is_new(self, run: RunStatus) -> bool:
        """Whether this run, with so many rows, was not there before."""
        seen = self.seen.get(run.run_id)
        return seen is None or seen[1] != run.history_lines

    def after(self, runs: Sequence[RunStatus], look_back: float) -> "RunCursor":
        """The cursor once `runs` are dealt with; runs that no look back can meet again are forgotten."""
        seen = {**self.seen, **{run.run_id: (_moment(run), run.history_lines) for run in runs}}
        newest = max((at for at, _ in seen.values()), key=_parse, default=self.newest)
        if newest is None:
            return self
        if self.newest is not None:
            newest = max(newest, self.newest, key=_parse)
        edge = _parse(newest) - timedelta(seconds=look_back)
        kept = {key: one for key, one in seen.items() if _parse(one[0]) >= edge}
        return RunCursor(newest=newest, seen=kept)

    def since(self, look_back: float) -> str | None:
        """From where to look."""
        if self.newest is None:
            return None
        return (_parse(self.newest) - timedelta(seconds=look_back)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def build_wandb_run_sensor(
    history: dg.AssetsDefinition,
    *,
    project: str,
    entity: str | None = None,
    partitions_def: dg.DynamicPartitionsDefinition | None = None,
    name: str | None = None,
    states: Sequence[str] = ("finished",),
    filters: Mapping[str, Any] | None = None,
    since: str | None = None,
    max_runs_per_tick: int = 50,
    look_back: float = LOOK_BACK,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    resource_key: str = "wandb",
) -> dg.SensorDefinition:
    """A sensor that adds a partition for each run that ended, and requests its materialization.

    Runs deleted in W&B keep their partitions and files: nothing is removed behind your back.

    Args:
        history: The asset to materialize, as `wandb_history_assets` returned it.
        project: W&B project.
        entity: User or team; None takes the resource's default.
        partitions_def: The dynamic partitions to add to; None takes those of `history`'s default.
        name: None takes the asset's name.
        states: Which ends count.
        filters: Further conditions in W&B's filter language.
        since: ISO 8601 time; runs that ended before it are never taken.
        max_runs_per_tick: At most so many runs per tick, oldest first; the rest come with the next ticks.
        look_back: Seconds before the newest heartbeat that each tick looks at again.
        minimum_interval_seconds: Time between ticks.
        default_status: Whether it starts running.
        resource_key: Key of the `WandbResource`.
    """
    partitions = partitions_def or run_partitions(project, entity)
    sensor_name = name or f"{history.op.name}_sensor"

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        wandb: WandbResource = getattr(context.resources, resource_key)
        cursor = RunCursor.from_json(context.cursor)
        try:
            runs = wandb.list_runs(
                project=project,
                entity=wandb.resolve_entity(entity),
                states=list(states),
                filters=filters,
                updated_after=_latest(cursor.since(look_back), since),
                limit=max_runs_per_tick + len(cursor.seen),
            )
        except RateLimited as error:
            return dg.SkipReason(f"W&B asks to slow down; the cursor stays: {error}")
        except NotFoundError as error:  # a project comes into being with its first run
            return dg.SkipReason(str(error))
        fresh = [run for run in runs if cursor.is_new(run)][:max_runs_per_tick]
        taken = [run for run in fresh if usable_as_partition(run.run_id)]
        for run in fresh:
            if not usable_as_partition(run.run_id):
                context.log.warning("Run id %r cannot be a partition key; the run is left out", run.run_id)
        following = cursor.after(fresh, look_back).to_json()
        if not taken:
            context.update_cursor(following)
            return dg.SkipReason(f"No run ended since {cursor.newest or 'ever'}")
        return dg.SensorResult(
            dynamic_partitions_requests=[partitions.build_add_request([run.run_id for run in taken])],
            run_requests=[_request(run) for run in taken],
            cursor=following,
        )

    return dg.SensorDefinition(
        name=sensor_name,
        evaluation_fn=tick,
        target=[history],
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={resource_key},
        description=f"Adds a partition for every run of {project} that ended, and materializes it.",
    )


def _request(run: RunStatus) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{run.path}:{run.history_lines}",
        partition_key=run.run_id,
        tags={"wandb/run": run.path, "wandb/state": run.state},
    )


def _moment(run: RunStatus) -> str:
    return run.heartbeat_at or run.created_at or "1970-01-01T00:00:00Z"


def _parse(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _latest(*moments: str | None) -> str | None:
    return max((moment for moment in moments if moment), key=_parse, default=None)
