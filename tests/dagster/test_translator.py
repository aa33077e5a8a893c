"""Names of W&B in Dagster: one method decides them."""

from __future__ import annotations

import dagster as dg
import pytest

from dagster_resources import (
    WandbArtifactProps,
    WandbHistoryProps,
    WandbLaunchProps,
    WandbMetadataSet,
    WandbProjectExportProps,
    WandbProps,
    WandbRunQueueProps,
    WandbSnapshotProps,
    WandbTensorboardProps,
    WandbTranslator,
    build_wandb_artifact_sensor,
    build_wandb_launch_sensor,
    build_wandb_run_sensor,
    run_partitions,
    wandb_artifact_asset,
    wandb_history_assets,
    wandb_launch_asset,
    wandb_project_export_asset,
    wandb_run_queue_asset,
    wandb_snapshot_asset,
    wandb_snapshot_schedule,
    wandb_tensorboard_asset,
)

pytestmark = pytest.mark.dagster


@pytest.mark.parametrize(
    ("props", "key"),
    [
        (WandbHistoryProps(project="mnist", entity="acme"), "wandb/acme/mnist/history"),
        (WandbHistoryProps(project="my project|x/y.z"), "wandb/my_project_x_y_z/history"),
        (WandbSnapshotProps(project="mnist", entity="acme"), "wandb/acme/mnist/snapshot"),
        (WandbRunQueueProps(name="gpu queue", resource_type="kubernetes"), "wandb/queues/gpu_queue"),
        (WandbTensorboardProps(name="train", root_dir="logs", project="p"), "wandb/p/train"),
        (WandbProjectExportProps(project="mnist", format="delta"), "wandb/mnist/export"),
        (WandbArtifactProps(name="a-b", artifact_type="my model", project="p"), "wandb/p/artifacts/a_b"),
        (WandbLaunchProps(name="train", queue="gpu", project="p", entity="e"), "wandb/e/p/train"),
    ],
)
def test_keys_hold_only_letters_that_dagster_takes(props, key):
    spec = WandbTranslator().get_asset_spec(props)
    assert spec.key.to_user_string() == key
    assert "wandb" in spec.kinds


def test_the_real_names_stay_in_the_metadata():
    spec = WandbTranslator().get_asset_spec(WandbHistoryProps(project="my project", entity="a-b"))
    assert WandbMetadataSet.extract(spec.metadata) == WandbMetadataSet(entity="a-b", project="my project")
    assert spec.group_name == "my_project"


def test_a_project_name_cannot_leave_the_code_span_of_a_description():
    spec = WandbTranslator().get_asset_spec(WandbHistoryProps(project="x`![](http://evil)`\n# y"))
    assert spec.description.count("`") == 2
    assert "\n" not in spec.description


def test_partitions_of_two_teams_do_not_share_a_name():
    """Dynamic partitions are named once for a whole Dagster instance."""
    names = {run_partitions("p", "a").name, run_partitions("p", "b").name, run_partitions("p").name}
    assert len(names) == 3
    assert run_partitions("p", "a") == run_partitions("p", "a")


class Renamed(WandbTranslator):
    def get_asset_spec(self, props: WandbProps) -> dg.AssetSpec:
        spec = super().get_asset_spec(props)
        return spec.replace_attributes(key=spec.key.with_prefix("ml"), group_name="ours", owners=["team:ml"])


def test_a_translator_renames_every_asset_and_its_check_follows(tmp_path):
    up = dg.AssetSpec("upstream")
    history = wandb_history_assets(project="p", destination=tmp_path, translator=Renamed(), deps=[up])
    others = [
        wandb_tensorboard_asset(name="train", root_dir=tmp_path, project="p", translator=Renamed()),
        wandb_run_queue_asset(
            name="q", resource_type="local-process", resource_config={}, translator=Renamed()
        ),
        wandb_project_export_asset(project="p", destination=tmp_path, translator=Renamed()),
        wandb_artifact_asset(
            name="a", artifact_type="model", content=tmp_path, project="p", translator=Renamed()
        ),
        wandb_launch_asset(name="l", queue="q", project="p", docker_image="x", translator=Renamed()),
        wandb_snapshot_asset(project="p", destination=tmp_path, translator=Renamed()),
    ]
    for asset in [history, *others]:
        assert asset.key.path[:2] == ["ml", "wandb"]
        assert asset.group_names_by_key[asset.key] == "ours"
    assert {check.asset_key for check in history.check_keys} == {history.key}
    defs = dg.Definitions(
        assets=[up, history, *others],
        sensors=[
            build_wandb_run_sensor(history, project="p"),
            build_wandb_artifact_sensor(name="others", project="p", target=[others[2]]),
            build_wandb_launch_sensor(others[4], target=[others[2]]),
        ],
        schedules=[wandb_snapshot_schedule(others[-1])],
        resources={"wandb": dg.ResourceDefinition.none_resource()},
    )
    dg.Definitions.validate_loadable(defs)
