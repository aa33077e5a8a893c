"""What operators tell lineage: the data that went in and came out, by names that others use as well."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from airflow.sdk import Asset

from airflow_provider.get_provider_info import get_provider_info
from airflow_provider.lineage import Dataset, Lineage, create_asset, sanitize_uri, tell_collector
from airflow_provider.operators.artifacts import (
    WandbDownloadArtifactOperator,
    WandbLogArtifactOperator,
    WandbPromoteArtifactOperator,
    WandbUseArtifactOperator,
)
from airflow_provider.operators.base import MOST_LISTED, xcom_sized
from airflow_provider.operators.export import WandbExportHistoryOperator
from airflow_provider.operators.project import WandbExportProjectOperator, WandbPlanExportOperator
from airflow_provider.operators.runs import WandbCreateRunOperator, WandbLogMetricsOperator
from airflow_provider.operators.snapshot import WandbSnapshotOperator
from airflow_provider.operators.tensorboard import WandbSyncTensorboardOperator

pytestmark = pytest.mark.airflow

ROWS = [{"loss": 0.5, "phase": "a"}, {"loss": 0.25, "phase": "b"}]
OPENLINEAGE = importlib.util.find_spec("openlineage") is not None


@pytest.fixture
def collector(monkeypatch):
    """Airflow's own collector, as it is once a lineage backend is installed."""
    from airflow.providers.common.compat.lineage import hook
    from airflow.providers.common.compat.sdk import HookLineageCollector

    collector = HookLineageCollector()
    monkeypatch.setattr(hook, "get_hook_lineage_collector", lambda: collector)
    return collector


@pytest.fixture
def told(collector, make_context):
    """Executes an operator; what it told of inputs and outputs, each with its facts."""

    def tell(operator):
        operator.execute(make_context(operator.task_id))
        lineage = collector.collected_assets
        return (
            {one.asset.uri: one.asset.extra for one in lineage.inputs},
            {one.asset.uri: one.asset.extra for one in lineage.outputs},
        )

    return tell


@pytest.fixture
def made(server, make_context):
    """A run with two rows."""
    result = WandbCreateRunOperator(task_id="create", project="p").execute(make_context())
    WandbLogMetricsOperator(task_id="log", run=result["path"], rows=ROWS, first_line=0).execute(
        make_context()
    )
    return result


def test_an_export_goes_from_the_run_to_the_file(server, made, told, tmp_path):
    target = tmp_path / "h.parquet"
    inputs, outputs = told(WandbExportHistoryOperator(task_id="e", run=made["path"], to=target))
    assert inputs == {f"wandb://{server.entity}/p/runs/{made['run_id']}": {}}
    ((uri, facts),) = outputs.items()
    assert uri == f"file://{target}"
    assert (facts["rows"], facts["bytes"]) == (len(ROWS), target.stat().st_size)


def test_a_project_goes_to_its_folder_its_table_and_its_page(server, made, told, tmp_path):
    inputs, outputs = told(WandbExportProjectOperator(task_id="e", project="p", to=tmp_path / "out"))
    project = f"wandb://{server.entity}/p"
    assert set(inputs) == {project}
    assert {uri: facts["rows"] for uri, facts in outputs.items()} == {f"file://{tmp_path}/out": len(ROWS)}
    report = tmp_path / "page.html"
    inputs, outputs = told(
        WandbSnapshotOperator(task_id="s", project="p", to=tmp_path / "s", at="2026-01-01", report=report)
    )
    (table,) = (tmp_path / "s").glob("*.parquet")
    assert set(inputs) == {project}
    assert {f"file://{table}", f"file://{report}"} <= set(outputs)
    assert outputs[f"file://{table}"]["rows"] == pq.read_metadata(table).num_rows == 1


def test_a_folder_of_tfevents_goes_into_the_run(server, told, tmp_path):
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "logs")) as log:
        log.add_scalar("loss", 0.5, 0)
    inputs, outputs = told(
        WandbSyncTensorboardOperator(task_id="s", root_dir=tmp_path / "logs", project="p", run_id="r1")
    )
    assert set(inputs) == {f"file://{tmp_path}/logs"}
    assert outputs == {f"wandb://{server.entity}/p/runs/r1": {"rows": 1}}


def test_artifacts_are_one_asset_whatever_the_version(server, made, told, tmp_path):
    source = tmp_path / "model.bin"
    source.write_bytes(b"weights")
    inputs, outputs = told(
        WandbLogArtifactOperator(
            task_id="log",
            name="model",
            artifact_type="model",
            content={"model.bin": str(source)},
            references={"raw": "s3://bucket/raw"},
            run=made["path"],
        )
    )
    collection = f"wandb://{server.entity}/p/model"
    assert set(inputs) == {f"file://{source}", "s3://bucket/raw"}
    assert outputs == {collection: {"bytes": 7, "version": "v0"}}
    artifact = f"{server.entity}/p/model:v0"
    inputs, outputs = told(
        WandbDownloadArtifactOperator(
            task_id="get", artifact=artifact, to=tmp_path / "out", path_prefix="model"
        )
    )
    assert collection in inputs
    assert outputs[f"file://{tmp_path}/out"] == {"bytes": 7}
    inputs, outputs = told(WandbUseArtifactOperator(task_id="use", artifact=artifact, run=made["path"]))
    assert f"wandb://{server.entity}/p/runs/{made['run_id']}" in outputs


def test_what_moves_no_data_tells_nothing(server, made, told, tmp_path, collector):
    told(WandbPlanExportOperator(task_id="plan", project="p", to=tmp_path))
    told(WandbCreateRunOperator(task_id="create", project="p"))
    assert not collector.has_collected
    assert WandbPromoteArtifactOperator(task_id="t", artifact="a", aliases=["b"]).lineage({}) == Lineage()


def test_an_asset_that_airflow_refuses_costs_no_finished_task(collector, caplog):
    tell_collector(None, Lineage((Dataset(uri="s3://b/" + "x" * 1600),), (Dataset(uri="s3://b/kept"),)))
    assert [one.asset.uri for one in collector.collected_assets.outputs] == ["s3://b/kept"]
    assert "No lineage of s3://b/xxx" in caplog.text
    assert len(caplog.text) < 600


@pytest.mark.parametrize(
    ("uri", "asset", "namespace", "name"),
    [
        ("/data/h.parquet", "file:///data/h.parquet", "file", "/data/h.parquet"),
        ("file:///data/h.parquet", "file:///data/h.parquet", "file", "/data/h.parquet"),
        ("s3://lake/a/b.parquet", "s3://lake/a/b.parquet", "s3://lake", "a/b.parquet"),
        ("s3a://lake", "s3a://lake", "s3://lake", "/"),
        ("gcs://lake/a/", "gcs://lake/a/", "gs://lake", "a"),
        ("s3://key:secret@lake/a", "s3://lake/a", "s3://lake", "a"),
        ("https://h/a?X-Amz-Signature=secret", "https://h/a", "https://h", "a"),
        ("abfs://c@acc.dfs/a", "abfs://c@acc.dfs/a", "abfss://c@acc.dfs", "a"),
        ("wandb://team/churn/model", "wandb://team/churn/model", "wandb://team", "churn/model"),
    ],
)
def test_names_are_those_of_others_and_hold_no_secret(uri, asset, namespace, name):
    dataset = Dataset(uri=uri)
    assert (dataset.asset_uri, dataset.place) == (asset, (namespace, name))


def test_airflow_checks_wandb_assets_and_makes_them():
    assert Asset(uri="wandb://team/churn/model/").uri == "wandb://team/churn/model"
    assert create_asset(entity="team", project="churn", name="model").uri == "wandb://team/churn/model"
    for wrong in ("wandb://team", "wandb:///churn"):
        with pytest.raises(ValueError, match="entity/project"):
            sanitize_uri(urlsplit(wrong))


def test_the_scheme_is_registered_with_functions_that_exist():
    (entry,) = get_provider_info()["asset-uris"]
    assert entry["schemes"] == ["wandb"]
    try:
        from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as Manager
    except ImportError:  # Airflow 3.1
        from airflow.providers_manager import ProvidersManager as Manager

    manager = Manager()
    assert manager.asset_uri_handlers["wandb"].__name__ == "sanitize_uri"
    assert manager.asset_factories["wandb"] is create_asset
    assert manager.asset_to_openlineage_converters["wandb"].__name__ == "to_openlineage"


def test_no_lineage_library_is_needed(server, made, make_context, tmp_path):
    """Nobody reads here: the task does its work, and the operator has no more to say."""
    operator = WandbExportHistoryOperator(task_id="e", run=made["path"], to=tmp_path / "h.parquet")
    assert operator.execute(make_context())["rows"] == len(ROWS)
    assert Path(operator._lineage.outputs[0].uri) == tmp_path / "h.parquet"


@pytest.mark.skipif(not OPENLINEAGE, reason="the OpenLineage provider is not installed")
def test_openlineage_hears_of_columns_rows_and_bytes(server, made, make_context, tmp_path):
    """As its own extractor asks the operator, after the task."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    target = tmp_path / "h.parquet"
    operator = WandbExportHistoryOperator(task_id="e", run=made["path"], to=target)
    result = operator.execute(make_context())
    lineage = DefaultExtractor(operator).extract_on_complete(None)
    (run,), (written,) = lineage.inputs, lineage.outputs
    assert (run.namespace, run.name) == (f"wandb://{server.entity}", f"p/runs/{made['run_id']}")
    assert (written.namespace, written.name) == ("file", str(target))
    statistics = written.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (len(ROWS), target.stat().st_size)
    columns = {one.name: one.type for one in written.facets["schema"].fields}
    assert {"loss": "double", "phase": "string"}.items() <= columns.items()
    assert written.facets["version"].datasetVersion == result["sha256"]


@pytest.mark.skipif(not OPENLINEAGE, reason="the OpenLineage provider is not installed")
def test_openlineage_knows_the_assets_that_authors_name():
    from airflow.providers.openlineage.utils.utils import translate_airflow_asset

    found = translate_airflow_asset(Asset(uri="wandb://team/churn/model", name="m"), None)
    assert (found.namespace, found.name) == ("wandb://team", "churn/model")


def test_long_lists_of_a_result_are_cut_and_counted():
    """A hundred thousand runs that were not taken are no value for Airflow's database."""
    assert xcom_sized({"rows": 3, "columns": [1, 2]}) == {"rows": 3, "columns": [1, 2]}
    cut = xcom_sized({"rows": 3, "not_taken": list(range(100_000)), "columns": [1]})
    assert (len(cut["not_taken"]), cut["cut"]) == (MOST_LISTED, {"not_taken": 100_000})
    assert (cut["rows"], cut["columns"]) == (3, [1])


def test_a_wide_run_leaves_a_small_xcom(server, make_context, tmp_path):
    wide = {f"metric/{number}": float(number) for number in range(MOST_LISTED + 50)}
    run = WandbCreateRunOperator(task_id="create", project="wide").execute(make_context())["path"]
    WandbLogMetricsOperator(task_id="log", run=run, rows=[wide], first_line=0).execute(make_context())
    target = tmp_path / "h.parquet"
    result = WandbExportHistoryOperator(task_id="e", run=run, to=target).execute(make_context())
    assert set(wide) <= set(pq.read_schema(target).names)
    assert len(result["columns"]) == MOST_LISTED
    assert result["cut"] == {"columns": len(pq.read_schema(target).names)}
