"""W60 to W63 of the list of faults, and processes that are killed: the rows are those of a quiet day."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from google_crc32c import value as crc32c
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.util import tensor_util

from wandb_ops import steps
from wandb_ops.errors import RunConflict, TransportError
from wandb_ops.protocol import filestream
from wandb_ops.protocol.filestream import HISTORY, FileStream
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.tensorboard import sync_directory
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.reading import DirectoryReader
from wandb_ops.transport.session import Transport

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")
NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"

# A process that is gone at its n-th request of a kind: before the server has it, or after it has and before
# the answer is there. `kill -9` leaves no time for anything.
KILLED = """
import os, signal, sys
from wandb_ops import Api, steps
from wandb_ops.protocol import filestream
from wandb_ops.transport.session import Transport

folder, how, path_end = sys.argv[1:4]
at, arrives = int(sys.argv[4]), sys.argv[5] == "True"
filestream.MAX_CHUNK = 1_500
posts = 0

def deadly(real):
    def post(self, path, *rest, **options):
        global posts
        posts += path.endswith(path_end)
        if path.endswith(path_end) and posts == at:
            if arrives:
                real(self, path, *rest, **options)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, path, *rest, **options)

    return post

for name in ("post", "post_json"):
    setattr(Transport, name, deadly(getattr(Transport, name)))
if how == "sync":
    steps.sync_tensorboard(Api(), folder, project="tb")
else:
    steps.follow_tensorboard(Api(), folder, project="tb", poll_interval=0.01, idle_limit=0.05)
"""


@pytest.fixture
def killed(wandb_server):
    """`(folder, how, path_end, at, arrives)`: syncs or follows in a process that does not live to its end."""

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *map(str, words)],
            env=os.environ | wandb_server.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr

    return run


@pytest.fixture
def again(wandb_server, monkeypatch):
    """`(folder)`: the same sync, undisturbed."""
    import wandb_ops

    for name, value in wandb_server.env.items():
        monkeypatch.setenv(name, value)
    return lambda folder: steps.sync_tensorboard(wandb_ops.Api(), folder, project=PROJECT)


@pytest.fixture
def folder(tmp_path, append_events, scalar_event):
    """Two directories of 20 steps each, written in turn."""
    for name, late in (("train", 0.0), ("validation", 0.5)):
        events = [scalar_event(tag, n / 8, n, 1000 + n + late) for n in range(20) for tag in ("loss", "acc")]
        append_events(tmp_path / name / NAME, [VERSION, *events])
    return tmp_path


def rows_of(_folder):
    """What was written, as rows."""
    rows = [
        {
            "_step": 2 * n + nth,
            "_timestamp": 1000 + n + late,
            "_runtime": n + late,
            "global_step": n,
            f"{name}/loss": n / 8,
            f"{name}/acc": n / 8,
        }
        for n in range(20)
        for nth, (name, late) in enumerate((("train", 0.0), ("validation", 0.5)))
    ]
    assert len(rows) == 40
    return rows


def the_run(server):
    """The one run of the project."""
    (run,) = server.runs(PROJECT)
    return run


@pytest.mark.parametrize(
    ("path_end", "at", "arrives"),
    [
        ("/graphql", 2, False),
        ("/graphql", 2, True),
        ("/graphql", 3, True),
        ("/file_stream", 1, False),
        ("/file_stream", 1, True),
        ("/file_stream", 3, True),
        ("/file_stream", 5, False),
    ],
)
def test_w60_a_sync_that_is_killed_anywhere_is_completed_in_the_same_run(
    killed, again, folder, wandb_server, path_end, at, arrives
):
    """W60: the run's id comes from the folder, so who begins anew finds it, made or not, and goes on."""
    killed(folder, "sync", path_end, at, arrives)
    done = again(folder)
    run = the_run(wandb_server)
    assert (run.history_rows(), run.state, done.history_lines) == (rows_of(folder), "finished", 40)


@pytest.mark.parametrize(("at", "arrives"), [(1, True), (2, False), (3, True)])
def test_a_follower_that_is_killed_is_completed_by_the_next(killed, again, folder, wandb_server, at, arrives):
    killed(folder, "follow", "/file_stream", at, arrives)
    sent = the_run(wandb_server).history_rows()
    again(folder)
    found = the_run(wandb_server).history_rows()
    assert found == rows_of(folder)
    assert found[: len(sent)] == sent


class LostAnswers(Transport):
    """A client to which the answers of every second chunk of lines are lost, once each."""

    posts = 0

    def post_json(self, path, body, **options):
        answer = super().post_json(path, body, **options)
        if path.endswith("/file_stream"):
            self.posts += 1
            if self.posts % 2:
                raise TransportError("the answer was lost")
        return answer


def test_w61_chunks_whose_answers_are_lost_leave_each_line_once(folder, transport, wandb_server, monkeypatch):
    """W61: every call loses an answer and the next goes on; the line count is exact throughout."""
    monkeypatch.setattr(filestream, "MAX_CHUNK", 1_500)
    client = LostAnswers(transport.settings)
    lost = 0
    while True:
        try:
            sync_directory(client, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")
            break
        except TransportError:
            lost += 1
            rows = wandb_server.run(PROJECT, "r").history_rows()
            assert rows == rows_of(folder)[: len(rows)]
            assert lost < 60
    assert lost > 3
    assert wandb_server.run(PROJECT, "r").history_rows() == rows_of(folder)


def test_w62_two_syncs_of_one_folder_at_once_write_the_same_lines(
    folder, transport, wandb_server, monkeypatch
):
    """W62: the second begins and ends while the first is under way; both number their lines alike."""
    monkeypatch.setattr(filestream, "MAX_CHUNK", 1_500)

    def sync(client):
        return sync_directory(client, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")

    class Interrupted(Transport):
        others = 0

        def post_json(self, path, body, **options):
            if path.endswith("/file_stream") and b'"offset":' in body and HISTORY.encode() in body:
                self.others += 1
                if self.others == 3:
                    sync(transport)
            return super().post_json(path, body, **options)

    sync(Interrupted(transport.settings))
    assert wandb_server.run(PROJECT, "r").history_rows() == rows_of(folder)


@pytest.mark.parametrize("was_synced", [True, False])
def test_w62_another_writer_of_the_run_is_refused(folder, transport, wandb_server, was_synced):
    """W62: whoever wrote lines of its own into the run, before or after, keeps them; the sync writes none."""

    def sync():
        return sync_directory(transport, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")

    if was_synced:
        sync()
    else:
        upsert_run(transport, entity=wandb_server.entity, project=PROJECT, run_id="r")
    lines = 40 * was_synced
    stream = FileStream(
        transport, entity=wandb_server.entity, project=PROJECT, run_id="r", offsets={HISTORY: lines}
    )
    stream.append(HISTORY, [json.dumps({"_step": lines, "loss": 1.0})])
    stream.flush()
    with pytest.raises(RunConflict):
        sync()
    rows = wandb_server.run(PROJECT, "r").history_rows()
    assert rows == [*rows_of(folder)[:lines], {"_step": lines, "loss": 1.0}]


def test_w63_a_folder_with_everything_that_can_be_wrong_is_read_to_its_last_good_record(
    tmp_path, append_events, scalar_event, transport, wandb_server
):
    """W63: torn, damaged, rotated, compressed, growing, two writers, steps back, unknown plugin, NaN."""
    unknown = Summary.Value(
        tag="odd",
        tensor=tensor_util.make_tensor_proto(np.float32(1)),
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="nobody's")),
    )
    first = [scalar_event("x", n, n, 10.0 + n) for n in range(8)]
    path = append_events(tmp_path / "a" / "events.out.tfevents.100.one", [VERSION, *first])
    torn = path.read_bytes()
    path.write_bytes(torn[:-3])  # truncated: 7 is lost
    rotated = [scalar_event("x", 100 + n, step, 20.0 + n) for n, step in enumerate((7, 3, 4))]
    path = append_events(
        tmp_path / "a" / "events.out.tfevents.200.one",
        [VERSION, *rotated, Event(wall_time=24.0, step=5, summary=Summary(value=[unknown]))],
    )
    data = bytearray(path.read_bytes())
    size = len(VERSION.SerializeToString()) + 16 + len(rotated[0].SerializeToString()) + 16
    data[size + 15] ^= 1  # a bad CRC: 101 is lost
    path.write_bytes(data)
    other = append_events(
        tmp_path / "a" / "events.out.tfevents.150.two",
        [VERSION, scalar_event("y", float("nan"), 9, 18.5), scalar_event("y", 5, 10, 18.6)],
    )
    other.with_name(other.name + ".gz").write_bytes(gzip.compress(other.read_bytes()))
    other.unlink()

    def sync():
        return sync_directory(transport, tmp_path, entity=wandb_server.entity, project=PROJECT, run_id="r")

    done = sync()
    rows = wandb_server.run(PROJECT, "r").history_rows()
    found = [(row["global_step"], row.get("a/x"), row.get("a/y")) for row in rows]
    assert found == [
        *[(n, n, None) for n in range(7)],
        (9, None, pytest.approx(float("nan"), nan_ok=True)),
        (10, None, 5),
        (7, 100, None),
        (4, 102, None),
    ]
    assert done.left_out == {
        "damaged record": 1,
        "unfinished last record": 1,
        'tensor of plugin "nobody\'s"': 1,
    }
    # It grows: the torn record is finished, another comes, and nothing is sent again.
    (tmp_path / "a" / "events.out.tfevents.100.one").write_bytes(torn)
    append_events(path, [scalar_event("x", 103, 5, 30.0)])
    assert sync().rows == 2
    rows = wandb_server.run(PROJECT, "r").history_rows()
    assert [row["a/x"] for row in rows[11:]] == [7, 103]
    assert [row["_step"] for row in rows] == list(range(13))


@pytest.mark.slow
def test_w63_a_million_steps_are_all_there(tmp_path):
    """W63: 10^6 events by protobuf and Google's CRC, each its own step, against what was written."""
    count = 1_000_000
    walls, values = 1.5e9 + np.arange(count) / 64, np.arange(count, dtype=np.float32) / 3
    event = Event(summary=Summary(value=[Summary.Value(tag="loss")]))
    (value,) = event.summary.value

    payloads = [VERSION.SerializeToString()]
    sums = [crc32c(payloads[0])]
    for step, (wall, number) in enumerate(zip(walls.tolist(), values.tolist(), strict=True)):
        event.wall_time, event.step, value.simple_value = wall, step, number
        payload = event.SerializeToString()
        payloads.append(payload)
        sums.append(crc32c(payload))

    def masked(crcs):
        crcs = np.array(crcs, dtype=np.uint32)
        return ((crcs >> np.uint32(15) | crcs << np.uint32(17)) + np.uint32(0xA282EAD8)).tobytes()

    sizes = {size: size.to_bytes(8, "little") for size in set(map(len, payloads))}
    heads = {size: text + masked([crc32c(text)]) for size, text in sizes.items()}
    ends = memoryview(masked(sums)).cast("I").tolist()
    with (tmp_path / NAME).open("wb") as file:
        file.writelines(
            b"%b%b%b" % (heads[len(payload)], payload, end.to_bytes(4, "little"))
            for payload, end in zip(payloads, ends, strict=True)
        )
    (directory,) = find_directories(tmp_path)
    reader = DirectoryReader(directory, since={}, until={NAME: directory.files[0].size})
    seen = 0
    for block in reader.blocks():
        part = slice(seen, seen + len(block))
        assert (block.step == np.arange(seen, seen + len(block))).all()
        assert (block.wall == walls[part]).all()
        texts = b",".join(block.bodies).replace(b',,"loss":', b",").removeprefix(b',"loss":')
        assert (np.array(json.loads(b"[%b]" % texts)) == values[part]).all()
        seen += len(block)
    assert (seen, dict(reader.left_out), reader.damage.bytes) == (count, {}, 0)
