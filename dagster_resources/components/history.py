"""`WandbHistoryComponent`: the histories of a project's runs and the sensor that finds them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg

from dagster_resources.assets import wandb_history_assets
from dagster_resources.components.base import Options, WandbComponent, WandbExportScaffolder
from dagster_resources.sensors import build_wandb_run_sensor


class WandbRunSensorArgs(dg.Model, dg.Resolvable):
    """The sensor of `WandbHistoryComponent`."""

    states: Annotated[Sequence[str], dg.Resolver.default(description="Which ends count.")] = ("finished",)
    filters: Annotated[
        Mapping[str, Any] | None,
        dg.Resolver.default(description="Further conditions, in W&B's filter language."),
    ] = None
    since: Annotated[
        str | None,
        dg.Resolver.default(description="ISO 8601 time; runs that ended before it are never taken."),
    ] = None
    max_runs_per_tick: Annotated[
        int, dg.Resolver.default(description="At most so many runs per tick, oldest first.")
    ] = 50
    minimum_interval_seconds: Annotated[int, dg.Resolver.default(description="Time between ticks.")] = 60
    running: Annotated[
        bool, dg.Resolver.default(description="Whether it runs without being switched on.")
    ] = False


@dg.scaffold_with(WandbExportScaffolder)
class WandbHistoryComponent(WandbComponent):
    """The exact history of each run of a project, a file for each; and the sensor that finds runs.

    .. code-block:: yaml

        type: dagster_resources.WandbHistoryComponent
        attributes:
          project: mnist
          destination: exports/mnist
          sensor:
            running: true
    """

    destination: Annotated[
        str,
        dg.Resolver.default(description="Folder or URL; with `delta` a lake.", examples=["s3://lake/mnist"]),
    ]
    format: Literal["parquet", "csv", "jsonl", "delta"] = "parquet"
    keys: Annotated[
        Sequence[str] | None, dg.Resolver.default(description="Columns to keep; none keeps all.")
    ] = None
    chart_keys: Annotated[
        Sequence[str] | None, dg.Resolver.default(description="Columns to draw; none takes the losses.")
    ] = None
    require_finished: Annotated[
        bool, dg.Resolver.default(description="Fail for a run that has not ended.")
    ] = False
    storage_options: Options = None
    sensor: Annotated[
        WandbRunSensorArgs | None, dg.Resolver.default(description="How runs are found; null for no sensor.")
    ] = WandbRunSensorArgs()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - as the base has it
        """The asset and its sensor."""
        history = wandb_history_assets(
            destination=self.destination,
            format=self.format,
            keys=self.keys,
            chart_keys=self.chart_keys,
            require_finished=self.require_finished,
            storage_options=self.storage_options,
            **self.shared(),
        )
        if self.sensor is None:
            return dg.Definitions(assets=[history])
        found = build_wandb_run_sensor(
            history,
            project=self.project,
            entity=self.entity,
            states=self.sensor.states,
            filters=self.sensor.filters,
            since=self.sensor.since,
            max_runs_per_tick=self.sensor.max_runs_per_tick,
            minimum_interval_seconds=self.sensor.minimum_interval_seconds,
            default_status=dg.DefaultSensorStatus.RUNNING
            if self.sensor.running
            else dg.DefaultSensorStatus.STOPPED,
            resource_key=self.resource_key,
        )
        return dg.Definitions(assets=[history], sensors=[found])
