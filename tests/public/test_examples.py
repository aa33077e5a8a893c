"""The calls of W&B's export examples, written down in our own words, on data known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

import wandb_ops as wandb

STEPS = 60


def loss(number: int, step: int) -> float:
    return 1.0 / (1 + number + step)


@pytest.fixture
def story(
    wandb_env: Any, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Two finished runs on a server that is found through the environment; returns entity/project."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("public_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    writer = module.Writer(wandb_env)
    monkeypatch.chdir(tmp_path)
    for number, (optimizer, batch) in enumerate([("rmsprop", 32), ("adam", 16)]):
        writer.run(
            "cifar",
            f"run{number}",
            displayName=f"baseline-{number}",
            config={"optimizer": optimizer, "batch_size": batch, "seed": 7, "_wandb": {"v": 1}},
            summary={"val_acc": 0.8 + number / 10, "loss": loss(number, STEPS - 1)},
            rows=[
                {
                    "_step": step,
                    "_timestamp": 1.7e9 + step,
                    "Loss": loss(number, step),
                    "accuracy": step / STEPS,
                }
                for step in range(STEPS)
            ],
            events=[{"system.cpu": 50 + n, "_timestamp": 1.7e9 + n, "_runtime": n} for n in range(4)],
            exit_code=0,
        )
    return f"{wandb_env.entity}/cifar"


def test_metrics_of_a_finished_run_are_read_row_by_row(story: str) -> None:
    run = wandb.Api().run(f"{story}/run0")
    assert run.state == "finished"
    pairs = [(row["_timestamp"], row["accuracy"]) for _, row in run.history().iterrows()]
    assert pairs == [(1.7e9 + step, step / STEPS) for step in range(STEPS)]


def test_the_configs_of_two_runs_are_compared(story: str) -> None:
    api = wandb.Api()
    one, other = api.run(f"{story}/run0"), api.run(f"{story}/run1")
    table = pd.DataFrame([one.config, other.config]).transpose()
    table.columns = pd.Index([one.name, other.name])
    different = table[table[one.name] != table[other.name]]
    assert different.to_dict() == {
        "baseline-0": {"optimizer": "rmsprop", "batch_size": 32},
        "baseline-1": {"optimizer": "adam", "batch_size": 16},
    }


def test_metrics_are_changed_after_the_run(story: str, wandb_env: Any) -> None:
    run = wandb.Api().run(f"{story}/run0")
    run.summary["accuracy"] = 0.9
    run.summary["accuracy_histogram"] = wandb.Histogram(np.array([0.0, 0.5, 1.0, 1.0]), num_bins=2)
    run.summary.update()
    run.summary.update({"key": "val"})
    assert wandb_env.run("cifar", "run0").summary == {
        "val_acc": 0.8,
        "loss": loss(0, STEPS - 1),
        "accuracy": 0.9,
        "accuracy_histogram": {"_type": "histogram", "values": [1, 3], "bins": [0.0, 0.5, 1.0]},
        "key": "val",
    }


def test_a_config_is_changed(story: str, wandb_env: Any) -> None:
    run = wandb.Api().run(f"{story}/run0")
    run.config["key"] = 10
    run.update()
    stored = wandb_env.run("cifar", "run0")
    assert stored.config == {"optimizer": "rmsprop", "batch_size": 32, "seed": 7, "key": 10}
    assert stored.summary == {"val_acc": 0.8, "loss": loss(0, STEPS - 1)}


def test_a_history_is_written_as_csv(story: str, tmp_path: Path) -> None:
    wandb.Api().run(f"{story}/run1").history().to_csv(tmp_path / "metrics.csv")
    back = pd.read_csv(tmp_path / "metrics.csv")
    assert back["Loss"].tolist() == [loss(1, step) for step in range(STEPS)]


def test_a_history_is_read_without_sampling(story: str) -> None:
    run = wandb.Api().run(f"{story}/run0")
    assert [row["Loss"] for row in run.scan_history()] == [loss(0, step) for step in range(STEPS)]
    paged = run.scan_history(keys=sorted(["accuracy", "Loss"]), page_size=10)
    assert [row["accuracy"] for row in paged] == [step / STEPS for step in range(STEPS)]


def test_all_runs_of_a_project_become_one_table(story: str, tmp_path: Path) -> None:
    names, configs, summaries = [], [], []
    for run in wandb.Api().runs(story):
        summaries.append(run.summary._json_dict)
        configs.append({key: value for key, value in run.config.items() if not key.startswith("_")})
        names.append(run.name)
    table = pd.concat(
        [
            pd.DataFrame({"name": names}),
            pd.DataFrame.from_records(configs),
            pd.DataFrame.from_records(summaries),
        ],
        axis=1,
    )
    table.to_csv(tmp_path / "project.csv")
    assert table.to_dict("records") == [
        {
            "name": f"baseline-{number}",
            "optimizer": optimizer,
            "batch_size": batch,
            "seed": 7,
            "val_acc": 0.8 + number / 10,
            "loss": loss(number, STEPS - 1),
        }
        for number, (optimizer, batch) in enumerate([("rmsprop", 32), ("adam", 16)])
    ]


def test_one_file_and_all_files_are_downloaded(story: str, tmp_path: Path) -> None:
    run = wandb.Api().run(f"{story}/run1")
    (tmp_path / "up" / "logs").mkdir(parents=True)
    (tmp_path / "up" / "model-best.h5").write_bytes(b"\x00\x01weights")
    (tmp_path / "up" / "logs" / "out.txt").write_text("line\n")
    for name in ("model-best.h5", "logs/out.txt"):
        run.upload_file(f"up/{name}", root="up")
    run.file("model-best.h5").download()
    assert (tmp_path / "model-best.h5").read_bytes() == b"\x00\x01weights"
    for file in run.files():
        file.download(replace=True)
    assert (tmp_path / "logs" / "out.txt").read_text() == "line\n"


@pytest.fixture
def sweep(story: str, wandb_env: Any, tmp_path: Path) -> str:
    """A sweep with the two runs, each with a model file; returns its path."""
    api = wandb.Api()
    query = "mutation U($i: UpsertSweepInput!) { upsertSweep(input: $i) { sweep { name } } }"
    config = {"method": "random", "parameters": {"lr": {"min": 0.0, "max": 1.0}}}
    session = requests.Session()
    session.trust_env = False
    session.auth = ("api", wandb_env.api_key)

    def send(text: str, given: dict[str, Any]) -> Any:
        body = {"query": text, "variables": {"i": given}}
        answer = session.post(f"{wandb_env.url}/graphql", json=body, timeout=30).json()
        assert "errors" not in answer
        return answer["data"]

    made = send(query, {"projectName": "cifar", "entityName": wandb_env.entity, "config": json.dumps(config)})
    name = made["upsertSweep"]["sweep"]["name"]
    for number in range(2):
        given = {"name": f"run{number}", "modelName": "cifar", "entityName": wandb_env.entity, "sweep": name}
        send("mutation U($i: UpsertBucketInput!) { upsertBucket(input: $i) { inserted } }", given)
        folder = tmp_path / f"of{number}"
        folder.mkdir()
        (folder / "model-best.h5").write_bytes(f"weights {number}".encode())
        api.run(f"{story}/run{number}").upload_file(str(folder / "model-best.h5"), root=str(folder))
    return f"{story}/{name}"


def test_the_best_run_of_a_sweep_gives_its_model(sweep: str, tmp_path: Path) -> None:
    found = wandb.Api().sweep(sweep)
    runs = sorted(found.runs, key=lambda run: run.summary.get("val_acc", 0), reverse=True)
    assert (runs[0].name, runs[0].summary.get("val_acc", 0)) == ("baseline-1", 0.9)
    for _ in range(2):
        runs[0].file("model-best.h5").download(replace=True)
    assert (tmp_path / "model-best.h5").read_bytes() == b"weights 1"


def test_the_runs_of_a_sweep_are_listed(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = wandb.Api().sweep(sweep)
    print(found.runs)
    assert capsys.readouterr().out == f"<Runs {sweep.rpartition('/')[0]}>\n"
    assert sorted(run.id for run in found.runs) == ["run0", "run1"]


def test_system_metrics_become_a_frame(story: str) -> None:
    frame = wandb.Api().run(f"{story}/run0").history(stream="events")
    assert frame["system.cpu"].tolist() == [50, 51, 52, 53]


def test_the_command_of_a_run_is_read_from_its_metadata(story: str, tmp_path: Path) -> None:
    run = wandb.Api().run(f"{story}/run0")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "wandb-metadata.json").write_text(
        json.dumps({"program": "train.py", "args": ["--lr", "0.1"]})
    )
    run.upload_file("up/wandb-metadata.json", root="up")
    meta = json.load(run.file("wandb-metadata.json").download())
    assert ["python", meta["program"], *meta["args"]] == ["python", "train.py", "--lr", "0.1"]


def test_event_files_become_a_run(story: str, wandb_env: Any, tmp_path: Path) -> None:
    tensorboardx = pytest.importorskip("tensorboardX")
    logs = tmp_path / "logs"
    with tensorboardx.SummaryWriter(str(logs / "train")) as writer:
        for step in range(5):
            writer.add_scalar("loss", 1 / (step + 1), step)
    run = wandb.Api().sync_tensorboard(str(logs), run_id="tb", project="cifar")
    assert run.state == "finished"
    found = {row["global_step"]: row["train/loss"] for row in run.scan_history() if "train/loss" in row}
    assert found == {step: float(np.float32(1 / (step + 1))) for step in range(5)}
    assert run.path == [wandb_env.entity, "cifar", "tb"]
