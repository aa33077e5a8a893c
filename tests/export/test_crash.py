"""An export that is killed, and one that finds the disk full, at every change of its destination.

The points are not named here: a tracer (tests/support/tracer.py) stops at every system call that changes the
destination, and for a bucket a server in between stops at every request that does. The destination holds an
earlier good export, so that each kind of change is made: new files and tables, rows that follow, rows that
are replaced, columns that widen.

A kill after a call that leaves every file as it was (fsync, fchmod) leaves what a kill before it left, and is
not tried twice.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
import requests
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from wandb_ops.errors import OutputError
from wandb_ops.export import export_project, verify_export
from wandb_ops.export.lake.lake import LakeTable
from wandb_ops.history.table import rows_of_batch
from wandb_ops.protocol.storage import upload_run_file
from wandb_ops.public.artifacts.artifacts import Artifact
from wandb_ops.snapshot import take_snapshot

SUPPORT = Path(__file__).parent.parent / "support"
MODULES = [
    "pandas", "pyarrow.compute", "pyarrow.parquet", "pyarrow.dataset", "deltalake", "s3fs",
    "aiobotocore.session", "matplotlib.figure", "matplotlib.backends.backend_svg",
    "wandb_ops.export.files.sink", "wandb_ops.export.lake.sink",
]  # fmt: skip
KILLED = -signal.SIGKILL
PARTLY, FAILED = 3, 4  # exit codes of doomed.py: some runs not taken, an error
STILL = {"fsync", "fdatasync", "fchmod"}
TOKEN = re.compile(r"[0-9a-f]{12}|[0-9a-f]{8}(-[0-9a-f]{4,12}){4}")  # what makes a temporary name unique
ALL = ["runs", "history", "system", "files", "artifacts"]
LAKE = ["runs", "history", "system", "artifacts", "lineage", "snapshots"]


def stamped(rows, start):
    return [{"_step": i, "_timestamp": start + i, **row} for i, row in enumerate(rows)]


OLD = {
    "a": stamped([{"loss": i / 7, "n": i} for i in range(8)], 100.0),
    "b": stamped([{"loss": 1.0, "n": 3}] * 5, 200.0),
}
NEW = {
    "a": OLD["a"] + [{"_step": i, "_timestamp": 100.0 + i, "loss": 0.5, "n": i} for i in (8, 9)],
    "b": stamped([{"loss": -1.0, "n": 4}] * 3, 900.0),
    "c": stamped([{"loss": 2.0, "n": "text"}], 300.0),
}
EVENTS = [{"_timestamp": 1.0, "system.cpu": 5.0}]


class Doom:
    """Exports in processes that come to harm."""

    def __init__(self, env, said):
        self.said = said  # a file
        with said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(SUPPORT / "doomed.py"), *MODULES], env=env, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.refused = json.loads(self.process.stdout.readline())["refused"]

    def __call__(self, call, **words):
        """Its exit code, and the points that it came to."""
        self.process.stdin.write(json.dumps({"call": call, **words}) + "\n")
        self.process.stdin.flush()
        outcome = json.loads(self.process.stdout.readline())
        assert outcome["code"] in (0, KILLED, PARTLY, FAILED), self.said.read_text()[-3000:]
        return outcome["code"], [tuple(point) for point in outcome["points"]]

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def doom(wandb_server_session, s3_environment, tmp_path_factory):
    said = tmp_path_factory.mktemp("doom") / "said"
    found = Doom({**os.environ, **wandb_server_session.env, **s3_environment}, said)
    yield found
    found.end()


@pytest.fixture
def traced(doom):
    if doom.refused:
        pytest.skip(doom.refused)
    return doom


def log_early(project, folder, names):
    """Runs, of which the first goes on; what they are when the doomed exports come is the work of `grow`."""
    for name in names:
        ends = None if name == "a" else 0
        project.log(name, OLD[name], finish=ends, config={"lr": 0.1}, summary={"loss": 1.0})
    log_model(project, "a", folder, b"weights" * 99)


def grow(project, folder, names):
    """One run goes on, another is rewound, one comes, with text where others have integers, and files."""
    project.log("a", NEW["a"][8:], at_line=8, events=EVENTS, summary={"loss": 0.5})
    if "b" in names:
        project.api.run(f"{project.name}/b").delete()
        project.log("b", NEW["b"], config={"lr": 0.2}, summary={"loss": -1.0})
    project.log("c", NEW["c"], summary={"loss": 2.0})
    where = {"entity": project.server.entity, "project": project.name, "run_id": "c"}
    upload_run_file(project.api.transport, **where, name="out.txt", data=b"words of a run")
    log_model(project, "c", folder, b"better" * 99)


def log_model(project, run_id, folder, data):
    (folder / "weights").write_bytes(data)
    artifact = Artifact("net", type="model")
    artifact.add_file(str(folder / "weights"), name="w.bin")
    project.api.run(f"{project.name}/{run_id}").log_artifact(artifact)


def perform(api, call):
    """What doomed.py does, undisturbed."""
    if "at" in call:
        take_snapshot(api, **{**call, "at": datetime.fromisoformat(call["at"])})
    else:
        done = export_project(api, **call)
        assert done.ok, done.not_taken


def files_in(root, *, but=()):
    """Path -> bytes; without the folders `but` and what is on its way to be a file."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and name.split("/", maxsplit=1)[0] not in but and not is_litter(name):
            found[name] = path.read_bytes()
    return found


def is_litter(name):
    return name.endswith(".wandb-ops-part")


def litter_in(root):
    return [path.name for path in Path(root).rglob("*") if is_litter(path.name)]


def tables_in(root, above, options=None):
    """What a reader of a lake sees: (table, run) -> its rows and its transaction; only in `history` and
    `system` runs have rows of their own. `above` is the path of the runs' project."""
    found = {}
    for table in LAKE:
        try:
            delta = DeltaTable(f"{root}/{table}", storage_options=options)
        except TableNotFoundError:
            continue
        arrow = delta.to_pyarrow_table()
        schema = pa.schema(delta.schema().to_arrow())
        arrow = arrow.cast(pa.schema([schema.field(name) for name in arrow.column_names]))
        rows = [row for batch in arrow.to_batches() for row in rows_of_batch(batch)]
        for run in NEW if table in ("history", "system") else ("",):
            mine = [row for row in rows if not run or row["run_id"] == run]
            mark = delta.transaction_version(f"{above}/{run}") if run else None
            if mine or mark is not None:
                found[table, run] = (sorted(repr(sorted(row.items())) for row in mine), mark)
    return found


def logged(above, rows):
    """The same of `history`, as it must be."""
    entity, _, project = above.partition("/")
    about = {"entity": entity, "project": project}
    return {
        ("history", run): (
            sorted(repr(sorted((row | about | {"run_id": run}).items())) for row in mine),
            len(mine),
        )
        for run, mine in rows.items()
    }


def check_old_or_new(found, before, after):
    """Each thing is as it was or as it will be; none is gone, none came that does not belong there."""
    assert found.keys() <= after.keys()
    assert before.keys() <= found.keys()
    for name, content in found.items():
        assert content in (before.get(name), after[name]), name


class Scene:
    """An earlier export, the call that comes after it, and what is seen before and after that."""

    def __init__(self, project, folder, first, then, look, names="ab"):
        self.api, self.folder, self.look, self.call = project.api, folder, look, then
        log_early(project, folder, names)
        perform(self.api, {**first, "to": str(folder / "base")})
        self.before = look(folder / "base")
        grow(project, folder, names)
        shutil.copytree(folder / "base", folder / "whole")
        self.perform(folder / "whole")
        self.after = look(folder / "whole")

    def perform(self, root):
        perform(self.api, {**self.call, "to": str(root)})

    def harm(self, traced, at, how, **more):
        """(folder, exit code, points) of one call that comes to harm, seen by a reader."""
        root = self.folder / f"{how}{at}"
        shutil.copytree(self.folder / "base", root)
        code, points = traced({**self.call, "to": str(root)}, root=str(root), at=at, how=how, **more)
        check_old_or_new(self.look(root), self.before, self.after)
        return root, code, points

    def repeat(self, root, point):
        """The next call finds what the harmed one left."""
        self.perform(root)
        assert self.look(root) == self.after, point
        assert litter_in(root) == [], point
        shutil.rmtree(root)

    def kill_at_every_point(self, traced, **more):
        """Returns all points."""
        root, code, points = self.harm(traced, 0, "kill", **more)
        assert (code, self.look(root)) == (0, self.after)
        for at, point in enumerate(points, start=1):
            if at > 1 and points[at - 2][0] not in STILL:
                root, code, seen = self.harm(traced, at, "kill", **more)
                assert (code, plain(seen)) == (KILLED, plain(points[:at]))
                self.repeat(root, point)
        return points

    def fill_the_disk_at_every_point(self, traced, **more):
        """Returns how many points there were."""
        at, code = 0, None
        while code != 0:
            at += 1
            root, code, points = self.harm(traced, at, "full", **more)
            assert code in (0, PARTLY, FAILED), points[-1]
            assert litter_in(root) == []
            self.repeat(root, points[-1])
        return at - 1


def plain(points):
    """Points without what differs each time."""
    return [(call, TOKEN.sub("*", path)) for call, path in points]


def check_durable(points):
    """A power cut: bytes are on the disk before their name is, and the name before the next step."""
    for place, (call, path) in enumerate(points):
        if call != "rename":
            continue
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.".lstrip("/")
        calls = [call for call, other in points[:place] if other.startswith(temporary) and is_litter(other)]
        assert calls[0] == "openat"
        assert calls[-1] == "fsync"
        assert points[place + 1] == ("fsync", folder)


@pytest.mark.parametrize(
    ("kind", "include", "fewest"), [("parquet", ALL, 60), ("csv", ALL[:2], 30), ("jsonl", ALL[1:2], 20)]
)
def test_killed_at_every_change_of_its_files_the_next_export_ends_as_if_nothing_had_been(
    traced, project, tmp_path, kind, include, fewest
):
    call = {"project": project.name, "format": kind, "concurrency": 1, "include": include}
    first = {**call, "include": [what for what in include if what != "system"]}
    scene = Scene(project, tmp_path, first, call, files_in, "a")
    points = scene.kill_at_every_point(traced)
    assert len(points) >= fewest
    assert {"openat", "write", "fchmod", "fsync", "rename"} <= {call for call, _ in points}
    check_durable(points)
    found = verify_export(
        project.api, to=tmp_path / "whole", **{k: call[k] for k in call if k != "concurrency"}
    )
    assert (found.ok, found.current) == (True, True)


def test_a_disk_that_fills_at_any_change_of_a_file_leaves_old_files_and_no_others(traced, project, tmp_path):
    call = {
        "project": project.name,
        "format": "csv",
        "concurrency": 1,
        "include": ["runs", "history", "files"],
    }
    scene = Scene(project, tmp_path, {**call, "include": ALL[:2]}, call, files_in, "a")
    assert scene.fill_the_disk_at_every_point(traced) >= 14


def lake_scene(project, folder, include, names):
    """Tables that grow, have rows replaced, widen and come to be."""
    above = f"{project.server.entity}/{project.name}"

    def look(root):
        return tables_in(root, above) | files_in(root, but=LAKE)

    call = {"project": project.name, "format": "delta", "concurrency": 1, "include": include}
    first = {**call, "include": [what for what in include if what != "system"]}
    scene = Scene(project, folder, first, call, look, names)
    if "history" in include:
        for seen, rows in ((scene.before, OLD), (scene.after, NEW)):
            assert seen == logged(above, rows)
    return scene


def test_killed_at_every_change_of_histories_in_a_lake_rows_agree_with_watermarks(traced, project, tmp_path):
    points = lake_scene(project, tmp_path, ["history"], "ab").kill_at_every_point(traced)
    assert {"openat", "write", "rename", "linkat"} <= {call for call, _ in points}
    assert [call for call, _ in points].count("linkat") == 3  # wider, longer, replaced


def test_killed_at_every_change_of_the_other_tables_of_a_lake_the_next_export_ends_alike(
    traced, project, tmp_path
):
    include = ["runs", "system", "artifacts"]
    points = lake_scene(project, tmp_path, include, "a").kill_at_every_point(traced, only=LAKE)
    commits = [path.split("/")[0] for call, path in points if call == "linkat"]
    assert sorted(commits) == ["artifacts", "lineage", "runs", "system", "system"]  # this one comes to be


@pytest.mark.parametrize(("include", "names"), [(["history"], "ab"), (["runs", "system"], "a")])
def test_a_disk_that_fills_at_any_change_of_a_table_leaves_whole_commits(
    traced, project, tmp_path, include, names
):
    scene = lake_scene(project, tmp_path, include, names)
    assert scene.fill_the_disk_at_every_point(traced, only=["history", "system"]) >= 10


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_killed_at_every_change_of_a_snapshot_the_same_moment_again_is_whole(traced, project, tmp_path, kind):
    above = f"{project.server.entity}/{project.name}"

    def look(root):
        return tables_in(root, above) | files_in(root, but=LAKE)

    call = {"project": project.name, "format": kind, "metrics": {"loss": ["min", "mean"]}}
    first, then = ({**call, "at": f"2026-01-0{day}T12:00:00+00:00"} for day in (1, 2))
    points = Scene(project, tmp_path, first, then, look).kill_at_every_point(traced)
    assert len(points) >= 7


class Executioner:
    """A way to the store that kills its client at the nth request that changes something, when the store has
    carried it out and the client does not know: that leaves what a kill before the next request leaves."""

    def __init__(self, store_url, pid_file):
        self.pid_file = pid_file
        self.at = self.seen = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name: value for name, value in self.headers.items() if name != "Connection"}
                url = store_url + self.path
                answer = requests.request(self.command, url, data=body, headers=headers, timeout=30)
                if self.command in ("PUT", "POST", "DELETE"):
                    owner.seen += 1
                    if owner.seen == owner.at:
                        os.kill(int(owner.pid_file.read_text()), signal.SIGKILL)
                        self.close_connection = True
                        return
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = answer.headers.get("Content-Length", "0")
                self.send_header("Content-Length", length if self.command == "HEAD" else len(answer.content))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815 - the base class's names

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def executioner(s3_url, tmp_path):
    found = Executioner(s3_url, tmp_path / "pid")
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.parametrize("kind", ["csv", "delta"])
def test_killed_at_every_change_of_a_bucket_the_next_export_ends_as_if_nothing_had_been(
    doom, executioner, project, bucket, tmp_path, kind
):
    if kind == "delta":
        scene = lake_scene(project, tmp_path, ["history"], "ab")
    else:
        call = {"project": project.name, "format": kind, "concurrency": 1, "include": ["history"]}
        scene = Scene(project, tmp_path, call, call, files_in, "a")
    store = fsspec.filesystem("s3")

    def look(to):
        folder = tmp_path / "seen"
        shutil.rmtree(folder, ignore_errors=True)
        store.invalidate_cache()
        store.get(to, str(folder), recursive=True)
        return scene.look(folder)

    at, code = 0, None
    while code != 0:
        at += 1
        to = f"{bucket}/{at}"
        store.put(str(tmp_path / "base"), to, recursive=True)
        executioner.seen, executioner.at = 0, at
        call = {**scene.call, "to": to, "storage_options": {"endpoint_url": executioner.url}}
        code, _ = doom(call, pid_file=str(executioner.pid_file))
        check_old_or_new(look(to), scene.before, scene.after)
        scene.perform(to)
        assert look(to) == scene.after, at
    assert at - 1 == executioner.seen >= 4


def test_what_one_table_took_is_told_although_another_could_not_be_written(project, tmp_path, monkeypatch):
    log_early(project, tmp_path, "a")
    real = LakeTable.commit

    def commit(self, decide):
        if self.uri.endswith("/system"):
            raise OutputError("No room", number=errno.ENOSPC)
        real(self, decide)

    monkeypatch.setattr(LakeTable, "commit", commit)
    done = export_project(
        project.api, project=project.name, to=tmp_path / "to", format="delta", include=ALL[:3]
    )
    assert [(one.run_id, one.what) for one in done.not_taken] == [("a", "system")]
    assert (done.written, done.rows) == (1, len(OLD["a"]))
