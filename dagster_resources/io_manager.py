"""`WandbArtifactIOManager`: what one asset hands to the next is a folder, kept as versions of an artifact."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_resources.artifacts import collection_name, dagster_run_id
from dagster_resources.metadata import artifact_metadata
from dagster_resources.resource import WandbResource
from wandb_ops.errors import NotFoundError


class WandbArtifactIOManager(dg.ConfigurableIOManager):
    """Logs the folder or file that an asset returns, and gives a downstream asset a folder with it.

    Folders, not objects: nothing is pickled, and whoever looks at the artifact in W&B sees files. The
    collection is named by the whole asset key (and the partition). A downstream asset gets the version that
    the same Dagster run logged, else the latest; W&B's lineage graph shows both.

    Example:
        .. code-block:: python

            @dg.asset(io_manager_key="artifacts")
            def model() -> Path:
                train("out")
                return Path("out")

            @dg.asset(io_manager_key="artifacts")
            def report(model: Path) -> Path: ...

            wandb = WandbResource(api_key=dg.EnvVar("WANDB_API_KEY"))
            manager = WandbArtifactIOManager(wandb=wandb, project="mnist", base_dir="/data/artifacts")
            defs = dg.Definitions(assets=[model, report], resources={"wandb": wandb, "artifacts": manager})
    """

    wandb: dg.ResourceDependency[WandbResource]
    project: str = Field(description="W&B project of the artifacts.")
    entity: str | None = Field(default=None, description="User or team; None takes the resource's default.")
    base_dir: str = Field(
        description="Folder on the worker for what is downloaded, one below it per version."
    )
    artifact_type: str = Field(default="dataset", description="Type of the artifacts.")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Log what the asset returned: a path, or a dict from names in the artifact to paths."""
        if not isinstance(obj, (str, PathLike, Mapping)):
            raise dg.Failure(
                description=f"The asset returned {type(obj).__name__}; WandbArtifactIOManager keeps folders "
                "and files: return the path of one, or a dict from names to paths.",
                allow_retries=False,
            )
        with self.wandb.failures():
            result = self.wandb.log_artifact(
                run=self._run(context),
                name=self._collection(context),
                type=self.artifact_type,
                content=dict(obj) if isinstance(obj, Mapping) else obj,
                aliases=[_alias(context)],
                make_run=True,
            )
        context.add_output_metadata(artifact_metadata(result))

    def load_input(self, context: dg.InputContext) -> Path | dict[str, Path]:
        """The folder of the upstream asset's version; of many partitions, one folder each."""
        if context.has_asset_partitions and len(context.asset_partition_keys) > 1:
            return {key: self._load(context, key) for key in context.asset_partition_keys}
        return self._load(context, context.asset_partition_keys[0] if context.has_asset_partitions else None)

    def _load(self, context: dg.InputContext, key: str | None) -> Path:
        base = f"{self._project()}/{_name(context.asset_key, key)}"
        with self.wandb.failures():
            found = self.wandb.artifact_status(artifact=f"{base}:{_alias(context)}")
            found = found or self.wandb.artifact_status(artifact=f"{base}:latest")
            if found is None:
                raise NotFoundError("the upstream asset has no version yet", where=base)
            folder = Path(self.base_dir) / found.entity / found.project / found.name / found.version
            run = self._run(context)
            made = self.wandb.create_run(
                project=self.project,
                entity=self.wandb.resolve_entity(self.entity),
                run_id=run.rpartition("/")[2],
                job_type="log-artifact",
                on_finished="adopt",
            )
            done = self.wandb.download_artifact(artifact=found.path, to=folder, run=made.path)
            if made.state == "running":
                self.wandb.finish_run(run=made.path)
        context.add_input_metadata(artifact_metadata(found))
        return Path(done.folder)

    def _project(self) -> str:
        return f"{self.wandb.resolve_entity(self.entity)}/{self.project}"

    def _run(self, context: dg.OutputContext | dg.InputContext) -> str:
        """One run per step, so that the lineage graph has the steps as its nodes."""
        step = context.step_context
        return f"{self._project()}/{dagster_run_id(step.dagster_run, step.step.key)}"

    def _collection(self, context: dg.OutputContext) -> str:
        return _name(context.asset_key, context.partition_key if context.has_partition_key else None)


def _name(key: dg.AssetKey, partition_key: str | None) -> str:
    return collection_name(".".join(key.path).replace("/", "%2F").replace(":", "%3A"), partition_key)


def _alias(context: dg.OutputContext | dg.InputContext) -> str:
    """The alias of what this Dagster run, or the one that it retries, has logged."""
    run = context.step_context.dagster_run
    return f"dagster-{run.root_run_id or run.run_id}"
