"""A folder to a run on a real server: exact, restartable, and refused where it does not belong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorboardX

from wandb_ops.errors import NotFoundError, RunConflict, TransportError
from wandb_ops.protocol import filestream
from wandb_ops.protocol.filestream import FileStream
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.steps.results import SyncResult
from wandb_ops.tensorboard import Synced, sync_directory
from wandb_ops.transport.session import Transport

NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"


@pytest.fixture
def sync(wandb_server, transport):
    """`(folder, run_id="r", **options)` syncs to the server."""

    def call(folder, run_id="r", *, client=transport, **options):
        return sync_directory(
            client, folder, entity=wandb_server.entity, project=PROJECT, run_id=run_id, **options
        )

    return call


@pytest.fixture
def history(wandb_server):
    """`(run_id="r")` -> the rows as the server stored them."""
    return lambda run_id="r": wandb_server.run(PROJECT, run_id).history_rows()


@pytest.fixture
def folder(tmp_path, append_events, scalar_event):
    """Two directories of 30 steps each, written in turn."""
    for name, late in (("train", 0.0), ("validation", 0.5)):
        append_events(
            tmp_path / name / NAME,
            [scalar_event(tag, n / 7, n, 1000 + n + late) for n in range(30) for tag in ("loss", "acc")],
        )
    return tmp_path


def expected_rows(folder, load_events):
    """Rows by TensorBoard's loader and the rules of the documentation, spelled out naively."""
    rows = []
    for path in sorted(folder.rglob("*tfevents*")):
        prefix = path.parent.relative_to(folder).as_posix()
        current = None
        for event in load_events(path):
            for value in event.summary.value:
                if current is None or current["global_step"] != event.step:
                    current = {"global_step": event.step}
                    rows.append(current)
                current["_timestamp"] = event.wall_time
                current[f"{prefix}/{value.tag}"] = value.simple_value
    rows.sort(key=lambda row: row["_timestamp"])
    start = rows[0]["_timestamp"]
    return [{**row, "_step": n, "_runtime": row["_timestamp"] - start} for n, row in enumerate(rows)]


def test_the_rows_on_the_server_are_those_of_the_event_files(
    sync, history, folder, load_events, wandb_server
):
    done = sync(folder)
    assert history() == expected_rows(folder, load_events)
    run = wandb_server.run(PROJECT, "r")
    assert run.state == "finished"
    assert (done.rows, done.scalars, done.files, done.history_lines, done.last_step) == (60, 120, 2, 60, 59)
    assert (run.summary["train/loss"], run.summary["_step"]) == (np.float32(29 / 7), 59)


def test_the_result_has_the_fields_of_the_steps_result(sync, folder):
    done = sync(folder)
    fields = {name: getattr(done, name) for name in Synced.__dataclass_fields__}
    assert json.loads(json.dumps(SyncResult(**fields).to_json()))["rows"] == 60


def test_the_prefixed_step_of_older_versions_can_be_had(sync, history, tmp_path, append_events, scalar_event):
    append_events(tmp_path / "train" / NAME, [scalar_event("x", n, n * 5, 1.0 + n) for n in range(3)])
    append_events(tmp_path / NAME, [scalar_event("x", 9, 7, 9.0)])
    sync(tmp_path, prefixed_step=True)
    found = [(row.get("train/global_step"), row["global_step"]) for row in history()]
    assert found == [(0, 0), (5, 5), (10, 10), (None, 7)]


def test_a_second_sync_sends_nothing(sync, history, folder):
    sync(folder)
    before = history()
    again = sync(folder)
    assert (again.rows, again.resumed_at_line, again.history_lines) == (0, 60, 60)
    assert history() == before


def test_a_grown_folder_sends_only_what_is_new(sync, history, folder, append_events, scalar_event):
    sync(folder, finish=False)
    before = history()
    # Flushed late: older than rows that are on the server already, and a directory that was not there before.
    append_events(folder / "validation" / NAME, [scalar_event("loss", 5.0, 30, 1010.0)])
    append_events(folder / "test" / NAME, [scalar_event("loss", 6.0, 1, 900.0)])
    done = sync(folder)
    assert done.rows == 2
    assert history()[:60] == before
    assert [(row.get("test/loss"), row.get("validation/loss")) for row in history()[60:]] == [
        (6.0, None),
        (None, 5.0),
    ]
    assert [row["_step"] for row in history()] == list(range(62))


def test_a_record_that_was_torn_is_picked_up_later(sync, history, tmp_path, append_events, scalar_event):
    path = append_events(tmp_path / "run" / NAME, [scalar_event("x", n, n, 1.0 + n) for n in range(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    done = sync(tmp_path, finish=False)
    assert (done.rows, done.left_out) == (2, {"unfinished last record": 1})
    path.write_bytes(whole)
    assert sync(tmp_path).rows == 1
    assert [row["run/x"] for row in history()] == [0, 1, 2]


def test_damage_is_counted_and_costs_only_its_record(sync, history, tmp_path, append_events, scalar_event):
    path = append_events(tmp_path / NAME, [scalar_event("x", n, n, 1.0 + n) for n in range(1, 21)])
    data = bytearray(path.read_bytes())
    size = len(data) // 20
    data[5 * size + 20] ^= 1  # a payload
    data[10 * size + 1] ^= 1  # a length
    path.write_bytes(data)
    done = sync(tmp_path)
    assert [row["x"] for row in history()] == [n for n in range(1, 21) if n not in {6, 11}]
    assert done.bytes_skipped == 2 * size
    assert done.left_out == {"damaged record": 1, "broken framing": 1}


class Failing(Transport):
    """A client whose n-th POST to the file stream fails, before or after the server got it."""

    def __init__(self, settings, *, at, arrives):
        super().__init__(settings)
        self.at, self.arrives, self.posts = at, arrives, 0

    def post_json(self, path, body, **options):
        if not path.endswith("/file_stream"):
            return super().post_json(path, body, **options)
        self.posts += 1
        if self.posts != self.at:
            return super().post_json(path, body, **options)
        if self.arrives:
            super().post_json(path, body, **options)
        raise TransportError("the process was killed here")


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("grows", [False, True])
def test_a_sync_that_was_killed_is_completed_by_the_next(
    sync,
    history,
    folder,
    load_events,
    transport,
    append_events,
    scalar_event,
    monkeypatch,
    at,
    arrives,
    grows,
):
    monkeypatch.setattr(filestream, "MAX_CHUNK", 1_500)
    with pytest.raises(TransportError):
        sync(folder, client=Failing(transport.settings, at=at, arrives=arrives))
    expected = expected_rows(folder, load_events)
    sent = len(history())
    assert history() == expected[:sent]
    if grows:  # with events older than what was sent
        append_events(folder / "late" / NAME, [scalar_event("loss", 7.0, 30, 1002.25)])
    done = sync(folder)
    found = history()
    assert done.resumed_at_line == sent
    assert len(found) == 60 + grows
    if grows and at == 1 and not arrives:
        # Not even what the pass reads had arrived, so the late event takes its place among the others.
        assert found == expected_rows(folder, load_events)
    else:
        assert found[:60] == expected
    assert sync(folder).rows == 0


def test_without_its_state_a_sync_goes_on_when_the_last_row_fits(
    sync, history, folder, load_events, transport, wandb_server, append_events, scalar_event
):
    sync(folder, finish=False)
    stream = FileStream(transport, entity=wandb_server.entity, project=PROJECT, run_id="r", offsets={})
    stream.set_summary("{}")
    stream.flush()
    append_events(folder / "train" / NAME, [scalar_event("loss", 7.0, 31, 2000.0)])
    assert sync(folder).rows == 1
    assert history() == expected_rows(folder, load_events)


def write_rows(transport, server, rows, run_id="r"):
    upsert_run(transport, entity=server.entity, project=PROJECT, run_id=run_id)
    stream = FileStream(transport, entity=server.entity, project=PROJECT, run_id=run_id, offsets={})
    stream.append("wandb-history.jsonl", [json.dumps(row) for row in rows])
    stream.flush()


def test_a_run_with_other_rows_is_refused(sync, history, folder, transport, wandb_server):
    rows = [{"_step": 0, "loss": 1.0}]
    write_rows(transport, wandb_server, rows)
    with pytest.raises(RunConflict, match="history line 0"):
        sync(folder)
    assert history() == rows


def test_a_run_that_someone_else_wrote_on_is_refused(sync, history, folder, transport, wandb_server):
    sync(folder, finish=False)
    stream = FileStream(
        transport,
        entity=wandb_server.entity,
        project=PROJECT,
        run_id="r",
        offsets={"wandb-history.jsonl": 60},
    )
    stream.append("wandb-history.jsonl", ['{"_step":60,"loss":1}'])
    stream.flush()
    with pytest.raises(RunConflict, match="61 history lines"):
        sync(folder)
    assert len(history()) == 61


def test_another_folder_is_refused(sync, history, folder, tmp_path_factory, append_events, scalar_event):
    sync(folder)
    other = tmp_path_factory.mktemp("other")
    append_events(other / "elsewhere" / NAME, [scalar_event("x", 1, 1, 1.0)])
    with pytest.raises(RunConflict, match="is not here"):
        sync(other)
    assert len(history()) == 60


def test_a_replaced_file_is_refused(sync, folder, append_events, scalar_event):
    sync(folder)
    path = folder / "train" / NAME
    path.unlink()
    append_events(path, [scalar_event("loss", n, n, 5000.0 + n) for n in range(100)])
    with pytest.raises(RunConflict, match="replaced or cut"):
        sync(folder)


def test_a_file_that_was_cleaned_away_does_no_harm(sync, history, folder, append_events, scalar_event):
    sync(folder, finish=False)
    (folder / "validation" / NAME).unlink()
    append_events(folder / "train" / NAME, [scalar_event("loss", 7.0, 31, 2000.0)])
    assert sync(folder).rows == 1
    assert len(history()) == 61


def test_images_are_on_the_server_before_their_row(sync, history, tmp_path, load_events, wandb_server):
    writer = tensorboardX.SummaryWriter(str(tmp_path / "train"))
    for step in range(3):
        writer.add_image("img", np.random.default_rng(step).random((3, 4, 4)), step)
    writer.add_histogram("h", np.array([0.5, 1.5]), 4, bins=[0, 1, 2])
    writer.close()
    done = sync(tmp_path)
    assert (done.media, done.scalars) == (4, 0)
    (path,) = (tmp_path / "train").iterdir()
    encoded = [
        value.image.encoded_image_string
        for event in load_events(path)
        for value in event.summary.value
        if value.image.encoded_image_string
    ]
    run = wandb_server.run(PROJECT, "r")
    names = [row["train/img"]["filenames"][0] for row in history()[:3]]
    assert [run.files[name] for name in names] == encoded
    assert history()[3]["train/h"] == {"_type": "histogram", "bins": [0, 1, 2], "values": [1, 1]}


def test_pr_curves_get_a_chart_beside_the_hyperparameters(sync, tmp_path, transport, wandb_server):
    own = {"cli_version": "0.31.0", "visualize": {"mine": {"panel_type": "Vega2"}}}
    config = {"n": 1, "_wandb": own}  # as a run has that the SDK made
    upsert_run(transport, entity=wandb_server.entity, project=PROJECT, run_id="r", config=config)
    writer = tensorboardX.SummaryWriter(str(tmp_path / "eval"))
    labels, scores = np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.6, 0.4])
    writer.add_pr_curve("pr", labels, scores, 2, num_thresholds=11)
    writer.close()
    sync(tmp_path)
    run = wandb_server.run(PROJECT, "r")
    assert run.config == {"n": 1}
    internal = run.raw_config["_wandb"]["value"]
    assert internal["cli_version"] == "0.31.0"
    assert internal["visualize"]["mine"] == own["visualize"]["mine"]
    chart = internal["visualize"]["eval/pr"]
    assert chart["panel_config"]["fieldSettings"] == {"x": "recall", "y": "precision"}
    assert '"value": "eval/pr"' in json.dumps(chart)  # the table that it draws
    assert run.summary["eval/pr"]["_type"] == "table-file"
    table = json.loads(run.files[run.summary["eval/pr"]["path"]])
    assert table["columns"] == ["recall", "precision"]
    assert len(table["data"]) == 11


def test_hyperparameters_become_config_and_spare_what_is_there(sync, tmp_path, transport, wandb_server):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    writer.add_scalar("loss", 1.0, 1)
    writer.add_hparams({"lr": 0.5, "opt": "sgd"}, {"m": 1.0}, name="a")
    writer.add_hparams({"lr": 0.25, "opt": "sgd"}, {"m": 1.0}, name="b")
    writer.close()
    upsert_run(
        transport, entity=wandb_server.entity, project=PROJECT, run_id="r", config={"opt": "mine", "n": 1}
    )
    sync(tmp_path)
    assert wandb_server.run(PROJECT, "r").config == {"opt": "mine", "n": 1, "lr": 0.5, "b/lr": 0.25}


def test_finishing_can_wait_and_is_repeatable(sync, folder, wandb_server):
    sync(folder, finish=False)
    assert wandb_server.run(PROJECT, "r").state == "running"
    assert sync(folder).rows == 0
    assert wandb_server.run(PROJECT, "r").state == "finished"
    sync(folder)
    assert wandb_server.run(PROJECT, "r").state == "finished"


def test_a_failed_run_stays_failed(sync, history, folder, transport, wandb_server):
    upsert_run(transport, entity=wandb_server.entity, project=PROJECT, run_id="r")
    FileStream(transport, entity=wandb_server.entity, project=PROJECT, run_id="r", offsets={}).finish(3)
    sync(folder)
    assert wandb_server.run(PROJECT, "r").state == "failed"
    assert len(history()) == 60


def test_values_that_are_not_finite_reach_the_server(sync, history, tmp_path, append_events, scalar_event):
    values = [float("nan"), float("inf"), float("-inf")]
    append_events(tmp_path / NAME, [scalar_event("x", v, n, 1.0) for n, v in enumerate(values)])
    sync(tmp_path)
    found = [row["x"] for row in history()]
    assert math.isnan(found[0])
    assert found[1:] == values[1:]
    assert sync(tmp_path).rows == 0


def test_a_folder_without_event_files_is_an_error(sync, tmp_path):
    with pytest.raises(NotFoundError, match="no TensorBoard event files"):
        sync(tmp_path)


def test_event_files_without_values_make_an_empty_finished_run(sync, history, tmp_path, wandb_server):
    (tmp_path / NAME).write_bytes(b"")
    assert sync(tmp_path).rows == 0
    assert history() == []
    assert wandb_server.run(PROJECT, "r").state == "finished"


def put_summary(transport, server, summary):
    stream = FileStream(transport, entity=server.entity, project=PROJECT, run_id="r", offsets={})
    stream.set_summary(json.dumps(summary))
    stream.flush()


def test_the_state_of_a_newer_version_is_refused(sync, history, folder, transport, wandb_server):
    sync(folder, finish=False)
    put_summary(transport, wandb_server, {"_wandb": {"tensorboard_sync": {"version": 99}}})
    with pytest.raises(RunConflict, match="another version of wandb-ops"):
        sync(folder)
    assert len(history()) == 60


def test_a_file_that_an_interrupted_pass_needs_is_missed(sync, history, folder, transport, monkeypatch):
    monkeypatch.setattr(filestream, "MAX_CHUNK", 1_500)
    with pytest.raises(TransportError):
        sync(folder, client=Failing(transport.settings, at=3, arrives=True))
    sent = history()
    assert 0 < len(sent) < 60
    (folder / "validation" / NAME).unlink()
    with pytest.raises(RunConflict, match=r"'validation/.*which is not here"):
        sync(folder)
    assert history() == sent


def test_damage_of_all_directories_is_added_up(sync, folder):
    size = 0
    for name in ("train", "validation"):
        path = folder / name / NAME
        data = bytearray(path.read_bytes())
        size += int.from_bytes(data[:8], "little") + 16
        data[20] ^= 1
        path.write_bytes(data)
    done = sync(folder)
    assert (done.bytes_skipped, done.left_out, done.scalars) == (size, {"damaged record": 2}, 118)
