"""`WandbTensorboardComponent`: a folder of tfevents becomes a W&B run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg
from dagster.components.resolved.core_models import StaticPartitionsDefinitionModel, resolve_partitions_def
from pydantic import BaseModel, Field

from dagster_resources.components.base import WandbComponent, WandbScaffolder, Windows
from dagster_resources.tensorboard import wandb_tensorboard_asset


class WandbTensorboardParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    name: str = Field(default="trainings", description="Last part of the asset key.")
    root_dir: str = Field(default="tfevents", description="Folder with tfevents, or its URL.")
    project: str = Field(default="my-project", description="W&B project.")


class WandbTensorboardScaffolder(WandbScaffolder):
    """For tfevents."""

    @classmethod
    def get_scaffold_params(cls) -> type[Any]:
        """`--name`, `--root-dir` and `--project`."""
        return WandbTensorboardParams


@dg.scaffold_with(WandbTensorboardScaffolder)
class WandbTensorboardComponent(WandbComponent):
    """A W&B run filled from the tfevents below a folder; with partitions, a run for each sub-folder.

    .. code-block:: yaml

        type: dagster_resources.WandbTensorboardComponent
        attributes:
          name: trainings
          root_dir: /data/tfevents
          project: mnist
          partitions_def:
            type: static
            partition_keys: [small, large]
    """

    name: Annotated[
        str, dg.Resolver.default(description="Last part of the asset key, and the run's display name.")
    ]
    root_dir: Annotated[
        str,
        dg.Resolver.default(description="Folder with tfevents, or its URL; its sub-folders are partitions."),
    ]
    run_id: Annotated[
        str | None, dg.Resolver.default(description="A run id of your own, without partitions.")
    ] = None
    config: Annotated[
        Mapping[str, Any] | None, dg.Resolver.default(description="Hyperparameters of the run.")
    ] = None
    group: Annotated[str | None, dg.Resolver.default(description="Group of the runs.")] = None
    job_type: Annotated[str | None, dg.Resolver.default(description="Job type of the runs.")] = None
    tags: Annotated[Sequence[str] | None, dg.Resolver.default(description="Tags of the runs.")] = None
    finish: Annotated[
        bool, dg.Resolver.default(description="End the run afterwards; false while a training still writes.")
    ] = True
    on_finished: Annotated[
        Literal["error", "resume"],
        dg.Resolver.default(description="Without `finish`, for a run that has ended: fail, or reopen it."),
    ] = "error"
    prefixed_step: Annotated[
        bool,
        dg.Resolver.default(description="Also give each row `<directory>/global_step`, as wandb 0.29 did."),
    ] = False
    partitions_def: Annotated[
        dg.PartitionsDefinition | None,
        dg.Resolver(
            resolve_partitions_def,
            model_field_type=StaticPartitionsDefinitionModel | Windows,
            description="One run per partition; none for a single run.",
        ),
    ] = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - as the base has it
        """The asset."""
        synced = wandb_tensorboard_asset(
            name=self.name,
            root_dir=self.root_dir,
            run_id=self.run_id,
            config=self.config,
            group=self.group,
            job_type=self.job_type,
            tags=self.tags,
            finish=self.finish,
            on_finished=self.on_finished,
            prefixed_step=self.prefixed_step,
            partitions_def=self.partitions_def,
            **self.shared(),
        )
        return dg.Definitions(assets=[synced])
