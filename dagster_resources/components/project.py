"""`WandbProjectExportComponent`: a whole project at its destination."""

from collections.abc import Sequence
from typing import Annotated, Literal

import dagster as dg
from dagster.components.resolved.core_models import resolve_partitions_def

from dagster_resources.components.base import (
    Filters,
    Options,
    WandbComponent,
    WandbExportScaffolder,
    Windows,
)
from dagster_resources.project import wandb_project_export_asset


@dg.scaffold_with(WandbExportScaffolder)
class WandbProjectExportComponent(WandbComponent):
    """Every run of a project at a destination, incrementally, and read again to prove it.

    .. code-block:: yaml

        type: dagster_resources.WandbProjectExportComponent
        attributes:
          project: mnist
          destination: s3://lake/mnist
          format: delta
          translation:
            automation_condition: "{{ automation_condition.on_cron('0 6 * * *') }}"
    """

    destination: Annotated[
        str, dg.Resolver.default(description="Folder, or URL of one.", examples=["exports/mnist"])
    ]
    format: Literal["parquet", "csv", "jsonl", "delta"] = "parquet"
    include: Annotated[
        Sequence[Literal["runs", "history", "system", "files", "artifacts"]],
        dg.Resolver.default(description="What to take."),
    ] = ("runs", "history")
    filters: Filters = None
    keys: Annotated[
        Sequence[str] | None, dg.Resolver.default(description="History columns to keep; none keeps all.")
    ] = None
    concurrency: Annotated[int, dg.Resolver.default(description="Requests at once.")] = 8
    allow_partial: Annotated[
        bool, dg.Resolver.default(description="Materialize though runs were not taken.")
    ] = False
    partitions_def: Annotated[
        dg.TimeWindowPartitionsDefinition | None,
        dg.Resolver(
            resolve_partitions_def,
            model_field_type=Windows,
            description="Runs by the time they were made; none for all at once.",
        ),
    ] = None
    storage_options: Options = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - as the base has it
        """The asset, with its check."""
        export = wandb_project_export_asset(
            destination=self.destination,
            format=self.format,
            include=self.include,
            filters=self.filters,
            keys=self.keys,
            concurrency=self.concurrency,
            allow_partial=self.allow_partial,
            partitions_def=self.partitions_def,
            storage_options=self.storage_options,
            **self.shared(),
        )
        return dg.Definitions(assets=[export])
