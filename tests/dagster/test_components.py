"""Components: what a `defs.yaml` says becomes the assets, sensors and schedules that Python would build."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

import dagster_resources
from dagster_resources import (
    WandbComponent,
    WandbHistoryComponent,
    WandbProjectExportComponent,
    WandbResource,
    WandbResourceComponent,
    WandbSnapshotComponent,
    WandbTensorboardComponent,
)

pytestmark = pytest.mark.dagster

COMPONENTS = [
    WandbResourceComponent,
    WandbHistoryComponent,
    WandbProjectExportComponent,
    WandbTensorboardComponent,
    WandbSnapshotComponent,
]


@pytest.fixture
def load():
    """The definitions of a component with these attributes, from a file as Dagster reads it."""
    with create_defs_folder_sandbox() as sandbox:

        def loaded(component, **attributes):
            folder = sandbox.scaffold_component(
                component_cls=component,
                defs_yaml_contents={
                    "type": f"dagster_resources.{component.__name__}",
                    "attributes": attributes,
                },
            )
            with sandbox.load_component_and_build_defs(defs_path=folder) as (_made, defs):
                return defs

        yield loaded


def only_asset(defs):
    (asset,) = defs.assets
    return asset


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


def test_each_component_loads_from_what_its_scaffolder_writes(load):
    """`dg scaffold defs` leaves a project that can be loaded."""
    for component in COMPONENTS:
        with create_defs_folder_sandbox() as sandbox:
            folder = sandbox.scaffold_component(component_cls=component)
            written = yaml.safe_load((folder / "defs.yaml").read_text())
            assert written["type"].rpartition(".")[2] == component.__name__
            with sandbox.load_component_and_build_defs(defs_path=folder) as (made, _defs):
                assert isinstance(made, component)


def test_each_component_is_exported_where_dagster_looks_for_it():
    exported = {value for value in vars(dagster_resources).values() if isinstance(value, type)}
    found = {one for one in exported if issubclass(one, dg.Component) and one is not WandbComponent}
    assert found == set(COMPONENTS)
    for component in COMPONENTS:
        fields = component.get_model_cls().model_json_schema()["properties"]
        said = {name for name, field in fields.items() if "description" in field}
        assert set(fields) - said <= {"format", "translation"}  # the others say in an editor what they are


def test_the_export_of_a_project_materializes(load, project, write_run, materialize, tmp_path):
    written = {"a": write_run("a"), "b": write_run("b", [{"loss": 0.5}, {"loss": 0.25}])}
    defs = load(
        WandbProjectExportComponent,
        project=project,
        destination=str(tmp_path),
        keys=["loss"],
        filters={"display_name": "name of b"},
    )
    result = materialize(only_asset(defs))
    assert metadata_of(result)["runs"].value == 1
    (file,) = (tmp_path / "history").glob("*.parquet")
    assert pq.read_table(file).column("loss").to_pylist() == [row["loss"] for row in written["b"]]
    (check,) = result.get_asset_check_evaluations()
    assert check.passed


def test_the_windows_of_an_export_are_dagsters_own(load):
    daily = {"type": "daily", "start_date": "2026-01-01"}
    defs = load(WandbProjectExportComponent, project="p", destination="d", partitions_def=daily)
    assert only_asset(defs).partitions_def == dg.DailyPartitionsDefinition("2026-01-01")


def test_histories_come_with_the_sensor_that_finds_their_runs(
    load, project, write_run, materialize, wandb, instance, tmp_path
):
    rows = write_run("r1", [{"loss": 0.5}])
    defs = load(
        WandbHistoryComponent,
        project=project,
        destination=str(tmp_path),
        sensor={"running": True, "minimum_interval_seconds": 30, "max_runs_per_tick": 1},
    )
    history = only_asset(defs)
    (sensor,) = defs.sensors
    assert (sensor.default_status, sensor.minimum_interval_seconds) == (dg.DefaultSensorStatus.RUNNING, 30)
    with dg.build_sensor_context(
        instance_ref=instance.get_ref(),
        definitions=dg.Definitions(assets=[history], sensors=[sensor], resources={"wandb": wandb}),
        resources={"wandb": wandb},
    ) as context:
        ticked = sensor.evaluate_tick(context)
    assert [request.partition_key for request in ticked.run_requests] == ["r1"]
    for request in ticked.dynamic_partitions_requests:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    result = materialize(history, partition_key="r1", instance=instance)
    assert metadata_of(result)["rows"].value == len(rows)
    assert not load(WandbHistoryComponent, project=project, destination="d", sensor=None).sensors


def test_tfevents_become_runs_by_partition(load, project, wandb, materialize, tmp_path):
    from tensorboardX import SummaryWriter

    for name in ("small", "large"):
        with SummaryWriter(str(tmp_path / name)) as log:
            log.add_scalar("loss", 0.5, 0)
    defs = load(
        WandbTensorboardComponent,
        name="trainings",
        root_dir=str(tmp_path),
        project=project,
        config={"lr": 0.1},
        partitions_def={"type": "static", "partition_keys": ["small", "large"]},
    )
    result = materialize(only_asset(defs), partition_key="small")
    assert metadata_of(result)["rows_sent"].value == 1
    (run,) = wandb.list_runs(project=project)
    assert (run.display_name, run.state) == ("small", "finished")
    assert wandb.api.run(run.path).config["lr"] == 0.1


def test_a_snapshot_has_its_schedule_and_its_metrics(load, project, write_run, materialize, tmp_path):
    write_run("a", [{"loss": 0.5}])
    write_run("b", [{"loss": 0.25}])
    defs = load(
        WandbSnapshotComponent,
        project=project,
        destination=str(tmp_path),
        metrics={"loss": ["min", "mean"]},
        schedule={"cron": "30 5 * * *", "timezone": "Europe/Berlin", "running": True},
    )
    (schedule,) = defs.schedules
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 5 * * *", "Europe/Berlin")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert metadata_of(materialize(only_asset(defs)))["best/loss"].value == 0.25
    assert not load(WandbSnapshotComponent, project=project, destination="d", schedule=None).schedules


def test_the_key_of_a_resource_is_named_and_not_held(load, server, monkeypatch):
    """Neither the file nor the definitions have it; the worker looks."""
    monkeypatch.setenv("MY_KEY", server.api_key)
    defs = load(
        WandbResourceComponent,
        api_key_variable="MY_KEY",
        base_url=server.url,
        entity=server.entity,
        timeout=20,
        resource_key="other",
    )
    ((name, resource),) = defs.resources.items()
    assert name == "other"
    assert isinstance(resource, WandbResource)
    assert resource.api_key == dg.EnvVar("MY_KEY")
    assert server.api_key not in repr(resource)
    assert resource.test_connection().entity == server.entity


def test_names_are_changed_in_yaml_or_by_a_subclass(load):
    defs = load(
        WandbProjectExportComponent,
        project="mnist",
        destination="d",
        translation={
            "key_prefix": "ml",
            "group_name": "{{ props.project }}_{{ props.format }}",
            "owners": ["team:research"],
            "deps": ["raw"],
            "automation_condition": "{{ automation_condition.on_cron('0 6 * * *') }}",
        },
    )
    (spec,) = only_asset(defs).specs
    assert spec.key == dg.AssetKey(["ml", "wandb", "mnist", "export"])
    assert (spec.group_name, list(spec.owners)) == ("mnist_parquet", ["team:research"])
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey("raw")]
    assert spec.automation_condition == dg.AutomationCondition.on_cron("0 6 * * *")
    assert spec.metadata["wandb/project"] == "mnist"

    class Ours(WandbProjectExportComponent):
        def get_asset_spec(self, props):
            return super().get_asset_spec(props).replace_attributes(group_name="ours")

    made = Ours(project="mnist", destination="d").build_defs(None)
    assert next(iter(made.assets)).get_asset_spec().group_name == "ours"


def test_an_attribute_that_does_not_exist_is_an_error_before_anything_runs(load):
    with pytest.raises(Exception) as caught:
        load(WandbSnapshotComponent, project="p", destinaton="d")
    assert "attributes.destinaton" in str(caught.value.__cause__)


def test_the_documented_file_loads_as_one_project():
    """The YAML of docs/dagster.md, several components in one file."""
    text = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text()
    (block,) = re.findall(r"^```yaml\n(type:.*?)^```", text, re.MULTILINE | re.DOTALL)
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "wandb"
        folder.mkdir()
        (folder / "defs.yaml").write_text(block)
        with sandbox.build_all_defs() as defs:
            graph = defs.resolve_asset_graph()
            keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
            names = ["history", "trainings", "snapshot"]
            assert keys == {f"wandb/mnist/{name}" for name in names} | {"ml/wandb/mnist/export"}
            assert {sensor.name for sensor in defs.sensors} == {"wandb__mnist__history_sensor"}
            assert {schedule.name for schedule in defs.schedules} == {"wandb__mnist__snapshot_schedule"}
            assert set(defs.resources) == {"wandb"}
            dg.Definitions.validate_loadable(defs)


GIVEN = {
    WandbHistoryComponent: {
        "destination": "d",
        "format": "csv",
        "keys": ["a"],
        "chart_keys": ["b"],
        "require_finished": True,
        "storage_options": {"key": "k"},
    },
    WandbProjectExportComponent: {
        "destination": "d",
        "format": "delta",
        "include": ["runs"],
        "filters": {"state": "finished"},
        "keys": ["a"],
        "concurrency": 2,
        "allow_partial": True,
        "storage_options": {"key": "k"},
    },
    WandbTensorboardComponent: {
        "name": "n",
        "root_dir": "r",
        "run_id": "i",
        "config": {"lr": 0.1},
        "group": "g",
        "job_type": "j",
        "tags": ["t"],
        "finish": False,
        "on_finished": "resume",
        "prefixed_step": True,
    },
    WandbSnapshotComponent: {
        "destination": "d",
        "format": "delta",
        "metrics": {"loss": "min"},
        "filters": {"state": "finished"},
        "report": "page.html",
        "storage_options": {"key": "k"},
    },
}
ELSEWHERE = {"translation", "sensor", "schedule", "partitions_def"}  # have tests of their own


@pytest.mark.parametrize("component", GIVEN, ids=lambda c: c.__name__)
def test_every_attribute_reaches_the_builder(component, monkeypatch):
    given = {
        "project": "p",
        "entity": "e",
        "pool": "mine",
        "resource_key": "other",
        **GIVEN[component],
    }
    module = sys.modules[component.__module__]
    (name,) = [name for name in vars(module) if re.fullmatch(r"wandb_\w+_assets?", name)]
    build, seen = getattr(module, name), {}
    monkeypatch.setattr(module, name, lambda **arguments: seen.update(arguments) or build(**arguments))
    component(**given).build_defs(None)
    assert set(component.model_fields) - set(given) <= ELSEWHERE
    assert {key: seen[key] for key in given} == given


def test_every_attribute_of_a_sensor_reaches_it(monkeypatch):
    from dagster_resources.components import history

    given = {
        "states": ["failed"],
        "filters": {"group": "g"},
        "since": "2026-01-01",
        "max_runs_per_tick": 3,
        "minimum_interval_seconds": 7,
    }
    build, seen = history.build_wandb_run_sensor, {}
    monkeypatch.setattr(
        history, "build_wandb_run_sensor", lambda *asset, **rest: seen.update(rest) or build(*asset, **rest)
    )
    WandbHistoryComponent(
        project="p", entity="e", destination="d", resource_key="other", sensor=given
    ).build_defs(None)
    wanted = {**given, "project": "p", "entity": "e", "resource_key": "other"}
    assert {key: seen[key] for key in wanted} == wanted
