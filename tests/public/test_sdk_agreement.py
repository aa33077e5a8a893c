"""The same questions to the real SDK and to ours, on one server: the same values.

Where ours differs on purpose, the difference is asserted too, so that a change of the SDK is noticed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wandb_ops

pytestmark = pytest.mark.sdk

ROWS = [
    {"_step": step, "_timestamp": 1.7e9 + step, "loss": 1 / (step + 1)}
    | ({"acc": step / 50, "deep": {"a": {"b": step}}} if step % 3 == 0 else {})
    | ({"odd": math.nan if step == 7 else math.inf} if step in {7, 8} else {})
    for step in range(50)
]
VARIABLES = {"gpus": {"schema": {"type": "integer", "default": 1}}}


@pytest.fixture(scope="module")
def path(writer: Any) -> str:
    """A project with three runs; returns entity/project."""
    for number in range(3):
        writer.run(
            "agreement",
            f"run{number}",
            displayName=f"name {number}",
            config={
                "lr": 10.0**-number,
                "nested": {"layers": [1, {"x": None}]},
                "_wandb": {"t": 1},
                "_own": 1,
            },
            summary={"loss": 0.1 * number, "best": {"acc": number}, "text": "é", "flag": True},
            rows=ROWS if number == 0 else ROWS[:5],
            events=[{"system.cpu": 1.5, "_timestamp": 1.7e9, "_runtime": 1}],
            exit_code=number % 2,
            tags=["a", f"t{number}"],
            groupName="g",
            jobType="train",
            notes="notes",
        )
    return f"{writer.server.entity}/agreement"


def plain(value: Any) -> Any:
    """Comparable: NaN as text, mappings as dicts."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return value


RUN_ATTRIBUTES = [
    "id",
    "name",
    "display_name",
    "state",
    "entity",
    "project",
    "path",
    "tags",
    "notes",
    "description",
    "group",
    "job_type",
    "commit",
    "created_at",
    "heartbeat_at",
    "read_only",
    "sweep_name",
    "storage_id",
    "config",
    "rawconfig",
    "summary_metrics",
    "system_metrics",
    "history_keys",
    "lastHistoryStep",
    "metadata",
    "url",
    "historyLineCount",
]


def test_every_attribute_of_a_run_is_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    for number in range(3):
        their_run, our_run = theirs.run(f"{path}/run{number}"), ours.run(f"{path}/run{number}")
        for name in RUN_ATTRIBUTES:
            assert plain(getattr(our_run, name)) == plain(getattr(their_run, name)), name
        assert our_run.user is not None
        assert our_run.user.username == their_run.user.username
        assert our_run.user.name == their_run.user.name
        assert our_run.summary._json_dict == their_run.summary._json_dict
        assert our_run.summary["best"]["acc"] == their_run.summary["best"]["acc"]
        assert our_run.summary.get("missing", 5) == their_run.summary.get("missing", 5)
        assert repr(our_run) == repr(their_run)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"filters": {"config.lr": {"$lt": 0.5}}},
        {"filters": {"$or": [{"display_name": "name 0"}, {"state": "failed"}]}},
        {"filters": {"summary_metrics.best.acc": {"$in": [0, 2]}}, "order": "-created_at"},
        {"order": "-summary_metrics.loss", "per_page": 2},
        {"order": "+config.lr.value"},
    ],
)
def test_lists_of_runs_are_the_same(
    theirs: Any, ours: wandb_ops.Api, path: str, arguments: dict[str, Any]
) -> None:
    their_runs, our_runs = theirs.runs(path, **arguments), ours.runs(path, **arguments)
    assert [run.id for run in our_runs] == [run.id for run in their_runs]
    assert len(our_runs) == len(their_runs)
    assert repr(our_runs) == repr(their_runs)
    assert [run.config for run in our_runs] == [run.config for run in theirs.runs(path, **arguments)]


def test_histories_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    their_run, our_run = theirs.run(f"{path}/run0"), ours.run(f"{path}/run0")
    for arguments in (
        {"pandas": False},
        {"pandas": False, "keys": ["loss"]},
        {"pandas": False, "keys": ["acc", "loss"], "x_axis": "_timestamp"},
        {"pandas": False, "stream": "system"},
    ):
        assert plain(our_run.history(**arguments)) == plain(their_run.history(**arguments)), arguments
    our_frame, their_frame = our_run.history(), their_run.history()
    assert our_frame.dtypes.to_dict() == their_frame.dtypes.to_dict()
    assert plain(our_frame.to_dict("records")) == plain(their_frame.to_dict("records"))


def test_scans_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    their_run, our_run = theirs.run(f"{path}/run0"), ours.run(f"{path}/run0")
    for arguments in (
        {},
        {"page_size": 7},
        {"min_step": 10, "max_step": 20},
        {"keys": ["loss"]},
        {"keys": ["acc", "loss"], "page_size": 11},
    ):
        their_rows = list(their_run.scan_history(use_cache=False, **arguments))
        assert plain(list(our_run.scan_history(**arguments))) == plain(their_rows), arguments
        assert their_rows


def test_projects_and_accounts_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    entity, name = path.split("/")
    assert {project.name for project in ours.projects(entity)} == {p.name for p in theirs.projects(entity)}
    their_project, our_project = theirs.project(name, entity), ours.project(name, entity)
    for attribute in ("id", "name", "entity", "path", "url", "created_at", "is_benchmark"):
        assert getattr(our_project, attribute) == getattr(their_project, attribute), attribute
    assert repr(our_project) == repr(their_project)
    assert our_project.owner.username == their_project.owner.username
    for attribute in ("id", "name", "username", "email", "admin", "entity", "teams"):
        assert getattr(ours.viewer, attribute) == getattr(theirs.viewer, attribute), attribute
    assert ours.default_entity == theirs.default_entity


def test_files_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "mine.txt").write_text("from ours\n")
    (tmp_path / "up" / "yours.txt").write_text("from theirs\n")
    their_run, our_run = theirs.run(f"{path}/run1"), ours.run(f"{path}/run1")
    our_run.upload_file(str(tmp_path / "up" / "mine.txt"), root=str(tmp_path / "up"))
    their_run.upload_file(str(tmp_path / "up" / "yours.txt"), root=str(tmp_path / "up"))
    for pair in zip(our_run.files(), their_run.files(), strict=True):
        for attribute in ("id", "name", "size", "md5", "mimetype", "updated_at"):
            assert getattr(pair[0], attribute) == getattr(pair[1], attribute), attribute
        assert repr(pair[0]) == repr(pair[1])
    assert len(our_run.files()) == len(their_run.files()) == 2
    crossed = [(our_run, "yours.txt", "from theirs\n"), (their_run, "mine.txt", "from ours\n")]
    for run, name, text in crossed:
        with run.file(name).download(root=str(tmp_path / "down")) as handle:
            assert handle.read() == text


def test_queues_are_the_same(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    entity = path.split("/", maxsplit=1)[0]
    config = {"spec": {"image": "{{image}}", "n": 1}}
    ours.create_run_queue("agreement-ours", type="kubernetes", config=config, template_variables=VARIABLES)
    theirs.create_run_queue(
        "agreement-theirs", type="kubernetes", config=config, template_variables=VARIABLES
    )
    for name in ("agreement-ours", "agreement-theirs"):
        their_queue, our_queue = theirs.run_queue(entity, name), ours.run_queue(entity, name)
        for attribute in ("id", "name", "entity", "type", "access", "prioritization_mode"):
            assert getattr(our_queue, attribute) == getattr(their_queue, attribute), attribute
        assert our_queue.default_resource_config == their_queue.default_resource_config
        assert our_queue.items == their_queue.items == []
        assert repr(our_queue) == repr(their_queue)
        # On purpose: what an upsert takes, where the SDK gives the server's list.
        assert our_queue.template_variables == VARIABLES
        assert [each["name"] for each in their_queue.template_variables] == ["gpus"]


def test_an_upsert_of_ours_keeps_what_the_sdks_resets(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    entity = path.split("/", maxsplit=1)[0]
    given: dict[str, Any] = {"resource_type": "kubernetes", "prioritization_mode": "V0"}
    for api, kept in ((ours, "V0"), (theirs, "DISABLED")):
        name = f"agreement-upsert-{kept}".lower()
        api.upsert_run_queue(name, resource_config={"a": 1}, **given)
        api.upsert_run_queue(name, resource_config={"a": 2}, resource_type="kubernetes")
        for reader in (ours, theirs):
            queue = reader.run_queue(entity, name)
            assert queue.prioritization_mode == kept
            assert queue.default_resource_config == {"resource_args": {"kubernetes": {"a": 2}}}


def test_what_ours_saves_the_sdk_reads(theirs: Any, ours: wandb_ops.Api, path: str, writer: Any) -> None:
    writer.run("agreement-writes", "w", config={"a": 1, "drop": 1}, summary={"b": 1, "gone": 1})
    where = f"{path.split('/', maxsplit=1)[0]}/agreement-writes/w"
    run = ours.run(where)
    run.config |= {"lr": 0.5, "nested": {"x": [1, 2]}}
    del run.config["drop"]
    run.summary["histogram"] = wandb_ops.Histogram([1, 2, 3, 4], num_bins=2)
    del run.summary["gone"]
    run.name = "renamed"
    run.tags = ["x"]
    run.update()
    there = theirs.run(where)
    assert there.config == {"a": 1, "lr": 0.5, "nested": {"x": [1, 2]}}
    assert there.summary._json_dict == {
        "b": 1,
        "histogram": {"_type": "histogram", "values": [2, 2], "bins": [1.0, 2.5, 4.0]},
    }
    assert (there.name, there.tags) == ("renamed", ["x"])


def test_histograms_have_the_same_form(theirs: Any) -> None:
    import wandb

    data = np.random.default_rng(0).normal(size=1000)
    for arguments in (
        {"sequence": data},
        {"sequence": data, "num_bins": 10},
        {"np_histogram": np.histogram(data)},
    ):
        assert wandb_ops.Histogram(**arguments).to_json() == wandb.Histogram(**arguments).to_json()


def test_a_histogram_of_the_sdk_may_be_saved_by_ours(ours: wandb_ops.Api, writer: Any, theirs: Any) -> None:
    import wandb

    run = ours.run(writer.run("agreement-writes", "h"))
    run.summary["h"] = wandb.Histogram([1, 2], num_bins=1)
    run.summary.update()
    assert writer.server.run("agreement-writes", "h").summary == {
        "h": {"_type": "histogram", "values": [2], "bins": [1.0, 2.0]}
    }
