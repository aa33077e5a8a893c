"""One run: what is read is what was written, and what is saved loses nothing."""

from __future__ import annotations

import json
import logging
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import wandb_ops as wandb
from wandb_ops import Api, NotFoundError, UsageError

ROWS = [
    {"_step": n, "_timestamp": 1.7e9 + n, "loss": 1 / (n + 1)} | ({"acc": n} if n % 2 else {})
    for n in range(40)
]


# -- reading -------------------------------------------------------------------------------------------------


def test_every_attribute_says_what_was_written(api: Api, writer: Any, project: str, entity: str) -> None:
    path = writer.run(
        project,
        "ab12",
        config={"lr": 0.1, "model": {"layers": [1, 2]}, "_wandb": {"cli_version": "0.31.0"}},
        summary={"loss": 0.5},
        rows=ROWS,
        events=[{"system.cpu": 12.5, "_timestamp": 1.7e9, "_runtime": 1}],
        exit_code=0,
        displayName="nice-name",
        notes="some notes",
        groupName="group",
        jobType="train",
        tags=["a", "b"],
        commit="c0ffee",
    )
    run = api.run(path)
    assert (run.id, run.name, run.display_name) == ("ab12", "nice-name", "nice-name")
    assert (run.entity, run.username, run.project) == (entity, entity, project)
    assert run.path == [entity, project, "ab12"]
    assert run.url == f"{api.settings['base_url']}/{entity}/{project}/runs/ab12"
    assert run.state == "finished"
    assert run.config == {"lr": 0.1, "model": {"layers": [1, 2]}}
    assert type(run.config) is dict
    assert run.rawconfig == {"_wandb": {"cli_version": "0.31.0"}, "lr": 0.1, "model": {"layers": [1, 2]}}
    assert run.summary_metrics["loss"] == 0.5
    assert run.system_metrics["system.cpu"] == 12.5
    assert (run.notes, run.group, run.job_type, run.tags) == ("some notes", "group", "train", ["a", "b"])
    assert run.commit == "c0ffee"
    assert run.user is not None
    assert run.user.username == entity
    assert run.created_at.startswith("20")
    assert run.heartbeat_at is not None
    assert run.history_keys is not None
    assert set(run.history_keys["keys"]) >= {"loss", "acc"}
    assert run.lastHistoryStep == 39
    assert run.historyLineCount == run.history_line_count == 40
    assert run.storage_id == run._attrs["id"]
    assert run.read_only is False
    assert run.sweep_name is None
    assert run.metadata is None
    assert repr(run) == f"<Run {path} (finished)>"
    assert not hasattr(run, "no_such_attribute")


def test_a_whole_path_costs_one_request(api: Api, writer: Any, project: str, sent: list[str]) -> None:
    path = writer.run(project, "one", config={"a": 1}, summary={"b": 2}, displayName="shown")
    run = api.run(path)
    assert (run.config, run.summary["b"], run.name) == ({"a": 1}, 2, "shown")
    assert sent == ["Run"]


def test_the_entity_is_asked_for_only_when_nobody_names_it(
    make_api: Callable[..., Api], writer: Any, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.run(project, "one")
    api = make_api(entity="", project=project)
    assert api.run("one").id == "one"
    assert api.run(f"{project}/one").id == "one"
    assert api.transport.sent == ["GetDefaultEntity", "Run", "Run"]  # type: ignore[attr-defined]  # the counting one


def test_a_missing_run_is_an_error_at_once(api: Api, writer: Any, project: str, entity: str) -> None:
    writer.run(project, "here")
    for path in (f"{entity}/{project}/missing", f"{entity}/no-such-project/missing"):
        with pytest.raises(NotFoundError, match="There is no such") as missing:
            api.run(path)
        assert isinstance(missing.value, ValueError)
        assert isinstance(missing.value, wandb.Error)


def test_special_floats_and_long_integers_are_read_exactly(api: Api, writer: Any, project: str) -> None:
    summary = {"nan": math.nan, "inf": math.inf, "ninf": -math.inf, "big": 2**63 + 1, "text": "ü\u0000"}
    run = api.run(writer.run(project, "odd", summary=summary, config={"big": 10**30}))
    assert math.isnan(run.summary["nan"])
    assert (run.summary["inf"], run.summary["ninf"]) == (math.inf, -math.inf)
    assert (run.summary["big"], run.summary["text"]) == (2**63 + 1, "ü\u0000")
    assert run.config == {"big": 10**30}


# -- history -------------------------------------------------------------------------------------------------


def test_history_is_a_frame_that_says_it_is_a_sample(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "h", rows=ROWS))
    frame = run.history()
    assert isinstance(frame, pd.DataFrame)
    assert frame.attrs["sampled"] is True
    assert frame["_step"].tolist() == list(range(40))
    assert frame["loss"].tolist() == [row["loss"] for row in ROWS]
    assert frame["acc"].isna().sum() == 20
    assert len(run.history(samples=10)) <= 10
    assert run.history(pandas=False) == ROWS


def test_history_by_keys_holds_rows_that_have_them(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "h", rows=ROWS))
    rows = run.history(keys=["acc"], pandas=False)
    assert rows == [{"_step": n, "acc": n} for n in range(1, 40, 2)]
    by_acc = run.history(keys=["loss"], x_axis="acc")
    assert sorted(by_acc.columns) == ["acc", "loss"]


def test_system_metrics_are_a_stream_of_their_own(api: Api, writer: Any, project: str) -> None:
    events = [{"system.cpu": n, "_timestamp": 1.7e9 + n, "_runtime": n} for n in range(5)]
    run = api.run(writer.run(project, "h", rows=ROWS, events=events))
    assert run.history(stream="events", pandas=False) == events
    assert run.history(stream="system")["system.cpu"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "arguments",
    [
        {"keys": "loss"},
        {"keys": [1]},
        {"samples": 0},
        {"samples": "5"},
        {"stream": "logs"},
        {"keys": ["a"], "stream": "system"},
    ],
)
def test_wrong_arguments_of_history_are_errors(
    api: Api, writer: Any, project: str, arguments: dict[str, Any]
) -> None:
    run = api.run(writer.run(project, "h"))
    with pytest.raises(UsageError):
        run.history(**arguments)


def test_scan_history_gives_every_row_and_can_be_repeated(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "h", rows=ROWS))
    scan = run.scan_history(page_size=7)
    assert list(scan) == ROWS
    assert list(scan) == ROWS
    assert sum(1 for _ in scan for _ in scan) == 1600
    assert next(scan) == ROWS[0]
    assert next(scan) == ROWS[1]
    assert list(run.scan_history(min_step=5, max_step=9)) == ROWS[5:9]
    assert [row["acc"] for row in run.scan_history(keys=["acc"])] == list(range(1, 40, 2))
    assert next(iter(run.scan_history(keys=["acc"]))) == {"_step": 1, "acc": 1}
    either = list(run.scan_history(keys=["acc", "missing"], keys_mode="any"))
    assert either == [{"_step": n, "acc": n} for n in range(1, 40, 2)]
    assert len(list(run.scan_history(keys=["loss", "acc"], keys_mode="any"))) == 40
    assert list(run.scan_history(use_cache=False)) == ROWS


def test_scan_history_begins_before_it_has_all(api: Api, writer: Any, project: str, sent: list[str]) -> None:
    run = api.run(writer.run(project, "h", rows=[{"_step": n} for n in range(2000)]))
    scan = run.scan_history(page_size=50)
    assert next(iter(scan)) == {"_step": 0}
    assert sent.count("HistoryPage") <= 4


@pytest.mark.parametrize("arguments", [{"keys": "loss"}, {"page_size": 0}, {"keys_mode": "some"}])
def test_wrong_arguments_of_scan_history_are_errors(
    api: Api, writer: Any, project: str, arguments: dict[str, Any]
) -> None:
    run = api.run(writer.run(project, "h"))
    with pytest.raises(UsageError):
        run.scan_history(**arguments)


# -- saving --------------------------------------------------------------------------------------------------


def test_update_saves_every_kind_of_change_in_one_mutation(
    api: Api, writer: Any, project: str, sent: list[str]
) -> None:
    run = api.run(
        writer.run(
            project, "u", config={"keep": 1, "drop": 2, "_wandb": {"v": 1}}, summary={"old": 1, "gone": 2}
        )
    )
    run.config["key"] = 10
    run.config["np"] = np.float64(0.5)
    del run.config["drop"]
    run.summary["accuracy"] = 0.9
    run.summary["histogram"] = wandb.Histogram(np.array([1.0, 2.0, 3.0]), num_bins=2)
    del run.summary["gone"]
    run.name = "better"
    run.tags.append("new")
    run.notes = "n"
    run.group = "g"
    run.job_type = "j"
    del sent[:]
    run.update()
    assert sent == ["Run", "UpsertBucket"]
    stored = writer.server.run(project, "u")
    assert stored.config == {"keep": 1, "key": 10, "np": 0.5}
    assert stored.raw_config["_wandb"] == {"value": {"v": 1}, "desc": None}
    assert stored.summary == {
        "old": 1,
        "accuracy": 0.9,
        "histogram": {"_type": "histogram", "values": [1, 2], "bins": [1.0, 2.0, 3.0]},
    }
    assert (stored.display_name, stored.tags, stored.notes) == ("better", ["new"], "n")
    assert (stored.group, stored.job_type) == ("g", "j")
    assert run.config == stored.config
    assert run.summary["accuracy"] == 0.9


def test_nothing_changed_is_nothing_sent(api: Api, writer: Any, project: str, sent: list[str]) -> None:
    run = api.run(writer.run(project, "u", config={"a": 1}, summary={"b": math.nan}))
    assert run.config["a"] == 1
    assert "b" in run.summary
    del sent[:]
    run.update()
    run.save()
    run.summary.update()
    assert sent == []


def test_two_objects_of_one_run_do_not_lose_each_others_changes(api: Api, writer: Any, project: str) -> None:
    path = writer.run(
        project, "u", config={"a": 1, "b": 1, "opt": {"lr": 1, "name": "sgd"}}, summary={"x": 1}
    )
    mine, theirs = api.run(path), api.run(path)
    mine.config["a"] = 2
    mine.config["opt"]["lr"] = 2
    mine.summary["mine"] = 1
    mine.tags.append("mine")
    theirs.config["b"] = 3
    theirs.config["opt"]["name"] = "adam"
    theirs.summary["theirs"] = 1
    theirs.tags.append("theirs")
    mine.update()
    theirs.update()
    stored = writer.server.run(project, "u")
    assert stored.config == {"a": 2, "b": 3, "opt": {"lr": 2, "name": "adam"}}
    assert stored.summary == {"x": 1, "mine": 1, "theirs": 1}
    assert sorted(stored.tags) == ["mine", "theirs"]
    assert theirs.config == stored.config


def test_what_another_client_wrote_meanwhile_stays(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "u", config={"a": 1}, summary={"loss": 1}))
    run.config["mine"] = 1
    writer.change(
        project,
        "u",
        config=json.dumps({"a": {"value": 5, "desc": "theirs"}, "late": {"value": 6}}),
        summaryMetrics=json.dumps({"loss": 0.5, "late": 1}),
        notes="theirs",
        tags=["theirs"],
    )
    run.update()
    stored = writer.server.run(project, "u")
    assert stored.config == {"a": 5, "late": 6, "mine": 1}
    assert stored.raw_config["a"]["desc"] == "theirs"
    assert stored.summary == {"loss": 0.5, "late": 1}
    assert (stored.notes, stored.tags) == ("theirs", ["theirs"])
    assert run.config == stored.config


def test_a_real_conflict_is_mine_with_a_warning(
    api: Api, writer: Any, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = api.run(writer.run(project, "u", config={"a": 1, "b": 1}))
    run.config |= {"a": 2, "b": 2}
    writer.change(project, "u", config=json.dumps({"a": {"value": 3}, "b": {"value": 1}}))
    with caplog.at_level(logging.WARNING, "wandb_ops"):
        run.update()
    assert writer.server.run(project, "u").config == {"a": 2, "b": 2}
    (record,) = [record for record in caplog.records if record.name == "wandb_ops.public"]
    assert "['a']" in record.getMessage()


def test_threads_that_save_one_run_lose_nothing(api: Api, writer: Any, project: str) -> None:
    path = writer.run(project, "u", config={"start": 0})
    runs = [api.run(path) for _ in range(8)]
    begin = threading.Barrier(len(runs))

    def save(number: int) -> None:
        run = runs[number]
        run.config[f"k{number}"] = number
        run.summary[f"s{number}"] = number
        begin.wait()
        run.update()

    threads = [threading.Thread(target=save, args=(number,)) for number in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = writer.server.run(project, "u")
    assert stored.config == {"start": 0} | {f"k{n}": n for n in range(8)}
    assert stored.summary == {f"s{n}": n for n in range(8)}


def test_an_empty_config_wipes_nothing(api: Api, writer: Any, project: str) -> None:
    path = writer.run(project, "u")
    run = api.run(path)
    assert run.config == {}
    writer.change(project, "u", config=json.dumps({"a": {"value": 1}}))
    run.notes = "hello"
    run.update()
    assert writer.server.run(project, "u").config == {"a": 1}


def test_keys_can_all_be_deleted(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "u", config={"a": 1, "b": {"c": 2}}, summary={"x": 1, "y": {"z": 1}}))
    run.config.clear()
    del run.summary["x"]
    del run.summary["y"]["z"]
    run.update()
    stored = writer.server.run(project, "u")
    assert (stored.config, stored.summary) == ({}, {"y": {}})


def test_summary_update_saves_the_summary_only(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "u", config={"a": 1}, summary={"x": 1}))
    run.config["unsaved"] = 1
    run.summary.update({"accuracy": 0.9})
    stored = writer.server.run(project, "u")
    assert (stored.config, stored.summary) == ({"a": 1}, {"x": 1, "accuracy": 0.9})
    run.update()
    assert writer.server.run(project, "u").config == {"a": 1, "unsaved": 1}


def test_texts_can_be_emptied_and_tags_removed(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "u", notes="text", tags=["a", "b"], groupName="g"))
    run.notes = None
    run.tags = ["b"]
    run.group = ""
    run.update()
    stored = writer.server.run(project, "u")
    assert (stored.notes or "", stored.tags, stored.group or "") == ("", ["b"], "")


def test_a_deleted_run_is_not_made_anew_by_a_save(api: Api, writer: Any, project: str) -> None:
    path = writer.run(project, "u")
    mine, theirs = api.run(path), api.run(path)
    theirs.delete()
    mine.config["a"] = 1
    with pytest.raises(NotFoundError):
        mine.update()
    with pytest.raises(LookupError):
        writer.server.run(project, "u")


def test_what_cannot_be_stored_is_refused_with_its_place(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "u"))
    run.config["a"] = {"b": object()}
    with pytest.raises(UsageError, match=r"object.*a\.b"):
        run.update()
    with pytest.raises(UsageError):
        run.tags = "text"
    assert writer.server.run(project, "u").config == {}


# -- life ----------------------------------------------------------------------------------------------------


def test_loading_again_shows_what_is_new_and_forgets_what_was_not_saved(
    api: Api, writer: Any, project: str
) -> None:
    run = api.run(writer.run(project, "l", config={"a": 1}))
    config, summary = run.config, run.summary
    config["unsaved"] = 1
    writer.change(project, "l", summaryMetrics=json.dumps({"loss": 0.1}))
    writer.stream(project, "l", rows=[], exit_code=1)
    assert run.state == "running"
    run.load(force=True)
    assert run.state == "failed"
    assert config == {"a": 1}
    assert summary["loss"] == 0.1
    run.update()
    assert writer.server.run(project, "l").config == {"a": 1}


@pytest.mark.parametrize("exit_code", [0, 1])
def test_waiting_ends_with_the_run(api: Api, writer: Any, project: str, exit_code: int) -> None:
    run = api.run(writer.run(project, "w"))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            writer.stream(project, "w", rows=[], exit_code=exit_code)

    run.wait_until_finished(sleep=sleep)
    assert slept == [5.0, 5.0, 5.0]
    assert run.state == ("failed" if exit_code else "finished")


def test_waiting_ends_when_the_time_is_over(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "w"))
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(wandb.WaitTimeout, match="running after 12 s"):
        run.wait_until_finished(timeout=12, sleep=sleep, clock=lambda: now[0])
    assert now == [12.0]


def test_waiting_for_a_deleted_run_is_an_error(api: Api, writer: Any, project: str) -> None:
    path = writer.run(project, "w")
    run = api.run(path)
    api.run(path).delete()
    with pytest.raises(NotFoundError):
        run.wait_until_finished()


def test_a_run_can_be_asked_to_stop(api: Api, writer: Any, project: str, entity: str) -> None:
    run = api.run(writer.run(project, "s"))
    run.stop()
    query = """
    query Q($e: String, $p: String, $r: String!) {
      project(name: $p, entityName: $e) { run(name: $r) { stopped } }
    }
    """
    data = writer.graphql(query, {"e": entity, "p": project, "r": "s"})
    assert data["project"]["run"]["stopped"] is True


def test_a_state_can_be_set_to_what_wandb_allows(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "s"))
    assert run.update_state("failed") is True
    assert run.state == writer.server.run(project, "s").state == "failed"
    with pytest.raises(UsageError):
        run.update_state("finished")


def test_a_run_is_created_and_found_again(api: Api, writer: Any, project: str, entity: str) -> None:
    run = api.create_run(project=project, run_id="mine")
    assert (run.id, run.state, run.config) == ("mine", "running", {})
    assert writer.server.run(project, "mine").state == "running"
    other = api.create_run(project=project)
    assert len(other.id) == 8
    assert {found.id for found in api.runs(f"{entity}/{project}")} == {"mine", other.id}


def test_creating_a_run_that_exists_wipes_nothing_and_warns(
    api: Api, writer: Any, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    writer.run(project, "old", config={"a": 1}, summary={"b": 2})
    with caplog.at_level(logging.WARNING, "wandb_ops"):
        run = api.create_run(project=project, run_id="old")
    assert (run.config, dict(run.summary)) == ({"a": 1}, {"b": 2})
    assert "existed already" in caplog.text


def test_a_run_travels_between_processes(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "p", config={"a": 1}, summary={"b": {"c": 2}}))
    run.config["unsaved"] = 1
    run.summary["b"]["d"] = 3
    data = pickle.dumps(run)
    assert api.api_key.encode() not in data
    there = pickle.loads(data)
    assert repr(there) == repr(run)
    assert there.summary == {"b": {"c": 2, "d": 3}}
    there.update()
    stored = writer.server.run(project, "p")
    assert (stored.config, stored.summary) == ({"a": 1, "unsaved": 1}, {"b": {"c": 2, "d": 3}})


def test_the_page_can_be_shown_in_a_notebook(api: Api, writer: Any, project: str) -> None:
    run = api.run(writer.run(project, "p"))
    assert f'src="{run.url}?jupyter=true"' in run.to_html(height=100)
    assert "display:none" in run.to_html(hidden=True)
