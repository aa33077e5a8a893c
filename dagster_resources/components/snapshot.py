"""`WandbSnapshotComponent`: the table that a team looks at every morning, and when it is taken."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import dagster as dg

from dagster_resources.components.base import Filters, Options, WandbComponent, WandbExportScaffolder
from dagster_resources.snapshot import wandb_snapshot_asset, wandb_snapshot_schedule


class WandbScheduleArgs(dg.Model, dg.Resolvable):
    """The schedule of `WandbSnapshotComponent`."""

    cron: Annotated[str, dg.Resolver.default(description="When.")] = "0 6 * * *"
    timezone: Annotated[str, dg.Resolver.default(description="In which time zone.")] = "UTC"
    running: Annotated[
        bool, dg.Resolver.default(description="Whether it runs without being switched on.")
    ] = False


@dg.scaffold_with(WandbExportScaffolder)
class WandbSnapshotComponent(WandbComponent):
    """One row per run of a project at one moment, best runs and changes; and the schedule that takes it.

    .. code-block:: yaml

        type: dagster_resources.WandbSnapshotComponent
        attributes:
          project: mnist
          destination: snapshots/mnist
          metrics: {loss: min, accuracy: [max, mean]}
          schedule: {cron: "0 6 * * *", timezone: Europe/Berlin}
    """

    destination: Annotated[
        str, dg.Resolver.default(description="Folder, or URL of one; each snapshot is a file in it.")
    ]
    format: Literal["parquet", "delta"] = "parquet"
    metrics: Annotated[
        Mapping[str, Any] | None,
        dg.Resolver.default(
            description="Summary keys, each with min, max, last or mean, or a list of these."
        ),
    ] = None
    filters: Filters = None
    report: Annotated[
        str | None, dg.Resolver.default(description="Path or URL of an HTML page to write.")
    ] = None
    storage_options: Options = None
    schedule: Annotated[
        WandbScheduleArgs | None, dg.Resolver.default(description="When it is taken; null for no schedule.")
    ] = WandbScheduleArgs()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - as the base has it
        """The asset and its schedule."""
        taken = wandb_snapshot_asset(
            destination=self.destination,
            format=self.format,
            metrics=self.metrics,
            filters=self.filters,
            report=self.report,
            storage_options=self.storage_options,
            **self.shared(),
        )
        if self.schedule is None:
            return dg.Definitions(assets=[taken])
        running = dg.DefaultScheduleStatus.RUNNING
        every = wandb_snapshot_schedule(
            taken,
            cron_schedule=self.schedule.cron,
            execution_timezone=self.schedule.timezone,
            default_status=running if self.schedule.running else dg.DefaultScheduleStatus.STOPPED,
        )
        return dg.Definitions(assets=[taken], schedules=[every])
