"""The real `wandb` SDK as the judge: what it writes is stored exactly, and `wandb.Api` reads it back.

One process does everything once (sdk_session.py); the tests look at what the server stored and at what the
SDK was answered. The oracle is what was handed to `log`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wandb_ops.local.runs.stored import StoredRun
from wandb_ops.local.serve import LocalServer

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the wandb SDK is not installed"),
]

STEPS = 2000
ADDED = {"_step", "_timestamp", "_runtime"}


def logged() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(STEPS):
        row: dict[str, Any] = {
            "loss": 1 / (step + 1),
            "acc": step,
            "nested": {"x": step / 7, "s": f"t{step}"},
        }
        if step % 50 == 0:
            row["sparse"] = -step
        if step % 400 == 7:
            row |= {"loss": math.nan, "up": math.inf, "down": -math.inf}
        rows.append(row)
    return rows


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """NaN as a text, because it does not equal itself. (The SDK writes 1.0 as 1, which equals it.)"""
    return {
        key: "NaN" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()
    }


@dataclass(frozen=True)
class Session:
    server: LocalServer
    answers: dict[str, Any]
    big: StoredRun


@pytest.fixture(scope="module", params=["live", "exported"])
def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_sdk_script: Any
) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in logged()))
    exports = (
        {"parquet_after_rows": 100, "parquet_rows_per_part": 1500} if request.param == "exported" else {}
    )
    with LocalServer(data=folder / "data", entity="team", **exports) as server:
        answers = run_sdk_script(server, "sdk_session.py", folder)
        yield Session(server, answers, server.run("sdk", "big"))


def test_the_history_is_what_was_logged_to_the_last_value(session: Session) -> None:
    rows = session.big.history_rows()
    assert len(rows) == STEPS + 1
    for step, (row, expected) in enumerate(zip(rows, logged(), strict=False)):
        assert row["_step"] == step
        values = {key: value for key, value in row.items() if key not in ADDED}
        assert comparable(values) == comparable(expected)
    assert rows[-1]["resumed"] == 1
    assert rows[-1]["_step"] == STEPS


def test_lines_hold_nan_and_infinity_as_the_sdk_wrote_them(session: Session) -> None:
    line = session.big.history_lines[407]
    assert '"loss":NaN' in line
    assert '"up":Infinity' in line
    assert '"down":-Infinity' in line


def test_config_summary_and_description_are_stored(session: Session) -> None:
    big = session.big
    assert big.config == {
        "lr": 0.1,
        "nested": {"layers": [64, 32], "deep": {"flag": True, "none": None}},
        "text": "ü ☃",
        "late": 3,
    }
    assert (big.display_name, big.group, big.job_type, big.notes) == (
        "the big one",
        "group-1",
        "train",
        "some notes",
    )
    assert big.tags == ["first", "second"]
    assert big.summary["acc"] == STEPS - 1
    assert big.summary["best"] == {"value": 0.5, "at": {"step": 7}}
    assert big.summary["resumed"] == 1
    assert big.summary["up"] == math.inf


def test_the_exit_code_becomes_the_state(session: Session) -> None:
    # The first session ended with 1; resumed, it ended well.
    assert (session.big.state, session.big.exitcode) == ("finished", 0)
    assert session.server.run("sdk", "small0").state == "finished"


def test_saved_files_are_stored_and_come_back(session: Session) -> None:
    assert session.big.files["kept.txt"] == b"kept by the run\n"
    assert {"kept.txt", "config.yaml", "wandb-summary.json"} <= set(session.big.files)
    assert session.answers["kept"] == "kept by the run\n"
    assert session.answers["files"] == sorted(session.big.files)


def test_the_api_reads_the_run_back(session: Session) -> None:
    answers = session.answers
    assert (answers["default_entity"], answers["viewer"], answers["user"]) == ("team", "team", "team")
    assert answers["projects"] == ["sdk"]
    assert answers["state"] == "finished"
    assert (answers["name"], answers["group"], answers["job_type"]) == ("the big one", "group-1", "train")
    assert answers["tags"] == ["first", "second"]
    assert answers["config"] == session.big.config
    assert answers["summary"]["up"] == {"not finite": "inf"}
    assert answers["last_step"] == STEPS


def test_scan_history_gives_every_row(session: Session) -> None:
    """Over live pages and over Parquet exports. From exports the SDK also gives absent keys, as None."""

    def present(rows: list[dict[str, Any]], keys: int = 1) -> list[dict[str, Any]]:
        found = [{key: value for key, value in row.items() if value is not None} for row in rows]
        return [row for row in found if len(row) >= keys]

    scanned = present(session.answers["scan"])
    assert [row["_step"] for row in scanned] == list(range(STEPS + 1))
    for row, expected in zip(scanned, logged(), strict=False):
        wanted = {
            key: {"not finite": str(value)}
            if isinstance(value, float) and not math.isfinite(value)
            else value
            for key, value in expected.items()
        }
        assert {key: value for key, value in row.items() if key not in ADDED} == wanted
    assert session.answers["scan_no_cache"] == STEPS + 1
    assert session.answers["scan_window"] == list(range(10, 20))
    expected_keys = [{"_step": step, "sparse": -step} for step in range(0, STEPS, 50)]
    assert present(session.answers["scan_keys"], keys=2) == expected_keys


def test_history_is_sampled(session: Session) -> None:
    assert session.answers["history"] == 500
    steps = [row["_step"] for row in session.answers["history_keys"]]
    assert len(steps) == 10
    assert all(row["sparse"] == -row["_step"] for row in session.answers["history_keys"])


def test_runs_are_filtered_and_ordered(session: Session) -> None:
    answers = session.answers
    everything = ["big", "small0", "small1", "small2"]
    assert answers["runs"] == everything
    assert answers["runs_newest_first"] == everything[::-1]
    assert answers["runs_by_loss"] == everything[1:]
    assert answers["runs_filtered"] == ["small1", "small2"]
    assert answers["runs_by_regex"] == answers["runs_by_tag"] == ["big"]
    assert answers["counted"] == 3


def test_the_api_makes_changes_and_deletes_runs_and_files(session: Session) -> None:
    assert session.answers["by_api"] == ["by-api", {"x": 1}, ["api"], 2, ["up.txt"]]
    assert session.answers["after_file_delete"] == []
    assert session.answers["after_delete"] == ["big", "small0", "small1", "small2"]


def test_launch_queues_work(session: Session) -> None:
    found = session.answers["queues"]
    assert found["created"] == ["created", "kubernetes", "V0", {"resource_args": {"kubernetes": {"a": 1}}}]
    assert found["upserted"] == [
        "kubernetes",
        {"resource_args": {"kubernetes": {"image": "{{image}}"}}},
        {"links": [{"label": "docs", "url": "https://example.org"}]},
        "upserted",
    ]
    assert found["pushed"] == {"job": "j", "template_variables": {"image": "x"}}
    assert found["items"] is True
    assert (found["item_state"], found["claimed"]) == ("pending", "claimed")
    assert found["popped"] == found["pushed"]
    assert found["acknowledged"] is True


def test_a_wrong_key_does_not_get_the_sdk_in(server: LocalServer, tmp_path: Path) -> None:
    code = (
        "import sys, wandb\n"
        "try:\n    wandb.Api().viewer\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "else:\n    print('got in')\n"
        "finally:\n    wandb.teardown()\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WANDB_")},
        **server.env,
        "WANDB_API_KEY": "f" * 40,
        "HOME": str(tmp_path),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "got in" not in done.stdout
    assert "invalid API key" in done.stdout
