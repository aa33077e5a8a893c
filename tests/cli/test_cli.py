"""The command line as a person and as a script use it, against the embedded server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import requests
from click.testing import CliRunner

import wandb_ops
from wandb_ops import errors, steps
from wandb_ops.cli.main import cli, exit_code
from wandb_ops.cli.output import size
from wandb_ops.local.serve import LocalServer


@pytest.fixture
def environment(wandb_server_session, monkeypatch):
    """The environment a user would export."""
    for name, value in wandb_server_session.env.items():
        monkeypatch.setenv(name, value)
    return wandb_server_session


@pytest.fixture
def run(environment):
    """A finished run of three rows, in a project of its own."""
    api = wandb_ops.Api()
    made = steps.create_run(api, project=f"cli-{uuid.uuid4().hex[:8]}", run_id="r1", config={"lr": 0.1})
    steps.log_metrics(api, run=made.path, rows=[{"loss": 3.0 - n} for n in range(3)], first_line=0)
    steps.finish_run(api, run=made.path)
    return made


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_doctor_finds_nothing_wrong_and_shows_no_key(environment):
    result = call("doctor")
    assert result.exit_code == 0, result.output
    assert "all is well" in result.output
    assert environment.url in result.output
    assert "WANDB_API_KEY" in result.output
    assert environment.api_key not in result.output


def test_the_doctor_says_which_key_was_refused(environment, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    result = call("doctor", "--json")
    found = json.loads(result.output)
    assert (result.exit_code, found["exit_code"]) == (3, 3)
    assert "WANDB_API_KEY" in found["problem"]
    assert "f" * 40 not in result.output


def test_the_doctor_without_any_key_says_what_to_do_and_for_which_server(environment, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    result = call("doctor")
    assert result.exit_code == 3
    assert "Set WANDB_API_KEY" in result.output
    assert f"{environment.url}  (from WANDB_BASE_URL)" in result.output
    assert "doctor" not in result.output


def test_the_doctor_shows_the_entity_that_runs_go_to_and_warns_of_a_strange_one(environment, monkeypatch):
    monkeypatch.setenv("WANDB_ENTITY", "some-team")
    found = json.loads(call("doctor", "--json").output)
    assert (found["entity"], found["problem"]) == ("some-team", "")
    assert "some-team" in found["warning"]
    assert "all is well" not in call("doctor").output


def test_the_doctor_asks_for_the_address_when_nothing_answers(environment, monkeypatch):
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "0.2")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    result = call("doctor")
    assert result.exit_code == 75
    assert f"Check that http://127.0.0.1:{port} (from WANDB_BASE_URL) is the right address" in result.output


def test_the_doctor_knows_a_server_that_is_not_one_of_wandb(environment, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{other.server_port}")
        result = call("doctor")
        other.shutdown()
    assert result.exit_code == 1
    assert "does not look like a W&B server" in result.output


def test_an_export_writes_the_rows_and_says_so(run, tmp_path):
    target = tmp_path / "r1.parquet"
    result = call("export", run.path, target, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert (said["rows"], said["action"], said["complete"]) == (3, "written", True)
    assert pq.read_table(target).column("loss").to_pylist() == [3.0, 2.0, 1.0]
    again = json.loads(call("export", run.path, target, "--json").output)
    assert (again["action"], again["sha256"]) == ("unchanged", said["sha256"])


def test_runs_and_snapshot_print_tables_for_people(run, tmp_path):
    project = run.project
    listed = call("runs", project)
    assert listed.exit_code == 0, listed.output
    assert "r1" in listed.output
    assert "finished" in listed.output
    taken = call(
        "snapshot", f"{run.entity}/{project}", tmp_path, "--min", "loss", "--at", "2026-01-01T00:00:00Z"
    )
    assert taken.exit_code == 0, taken.output
    assert "loss" in taken.output
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_a_folder_of_tfevents_is_synced_once(environment, tmp_path):
    from tensorboardX import SummaryWriter

    project = f"tb-{uuid.uuid4().hex[:8]}"
    with SummaryWriter(str(tmp_path / "train")) as writer:
        for step in range(5):
            writer.add_scalar("loss", 1.0 / (step + 1), step)
    first = json.loads(call("sync-tensorboard", tmp_path, "--project", project, "--json").output)
    again = json.loads(call("sync-tensorboard", tmp_path, "--project", project, "--json").output)
    assert (first["rows"], again["rows"], again["run_id"]) == (5, 0, first["run_id"])


def test_a_queue_is_upserted_from_a_json_file(environment, tmp_path):
    config = tmp_path / "queue.json"
    config.write_text('{"image": "base"}')
    name = f"q-{uuid.uuid4().hex[:8]}"
    arguments = ("queue", "upsert", name, "--type", "kubernetes", "--config", config, "--json")
    assert json.loads(call(*arguments).output)["action"] == "created"
    assert json.loads(call(*arguments).output)["action"] == "unchanged"


def test_wait_and_finish_report_how_a_run_ended(environment):
    made = steps.create_run(wandb_ops.Api(), project=f"cli-{uuid.uuid4().hex[:8]}", run_id="bad")
    assert call("finish", made.path, "--exit-code", 1).exit_code == 0
    waited = call("wait", made.path)
    assert waited.exit_code == 5
    assert "RunFailed" in waited.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("export", "nobody/nothing/none", "x.parquet"), 4),
        (("runs", "p", "--filters", "{"), 2),
        (("runs", "p", "--filters", '{"state": {"$where": "1"}}'), 2),
        (("export",), 2),
    ],
)
def test_what_goes_wrong_has_an_exit_code_and_no_traceback(environment, arguments, code):
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ServerError("x", status=502), 75),
        (errors.RateLimited("x"), 75),
        (errors.IncompleteHistory("x"), 75),
        (errors.GraphQLError("x", transient=True), 75),
        (errors.GraphQLError("x"), 1),
        (errors.AuthenticationError("x", status=401), 3),
        (errors.CredentialsError("x"), 3),
        (errors.UsageError("x"), 2),
        (errors.NotFoundError("x"), 4),
        (errors.RunFailed("x"), 5),
        (errors.RunConflict("x"), 1),
    ],
)
def test_the_exit_code_tells_a_script_whether_to_try_again(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (10**13, "10000.0 GB")],
)
def test_sizes_read_well(count, text):
    assert size(count) == text


def test_the_local_server_prints_lines_to_paste_keeps_its_data_and_ends_on_a_signal(tmp_path):
    keys = set()
    for turn in range(2):
        command = [
            sys.executable,
            "-m",
            "wandb_ops.cli",
            "local",
            "--data",
            str(tmp_path / "data"),
            "--entity",
            "me",
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            lines = [server.stdout.readline().strip() for _ in range(3)]
            url = lines[0].removeprefix("ready ")
            exported = dict(item.split("=", 1) for item in lines[2].removeprefix("export ").split())
            assert exported["WANDB_BASE_URL"] == url
            keys.add(exported["WANDB_API_KEY"])
            assert requests.get(url, timeout=10).status_code == 200
            api = wandb_ops.Api(
                overrides={"base_url": url, "entity": exported["WANDB_ENTITY"]},
                api_key=exported["WANDB_API_KEY"],
            )
            if turn == 0:
                steps.create_run(api, project="kept", run_id="r1")
            else:
                assert [found.id for found in api.runs("me/kept")] == ["r1"]
            os.killpg(server.pid, signal.SIGINT)
            assert server.wait(timeout=20) == 0
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            server.stdout.close()
    assert len(keys) == 1


def start_local(*arguments):
    command = [sys.executable, "-m", "wandb_ops.cli", "local", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_local_server_that_cannot_start_says_why_and_what_to_do(tmp_path):
    with LocalServer(data=tmp_path / "taken") as server:
        blocked = tmp_path / "file"
        blocked.write_text("no folder")
        port = server.url.rpartition(":")[2]
        cases = {
            ("--data", tmp_path / "taken"): ("in use", "--data"),
            ("--data", tmp_path / "other", "--port", port): (f"port {port}", "--port"),
            ("--data", blocked / "below"): (str(blocked), "--data"),
            ("--data", tmp_path / "other", "--host", "192.0.2.1"): ("192.0.2.1", "address of this machine"),
        }
        for arguments, words in cases.items():
            ended = start_local(*arguments)
            assert ended.returncode == 2, ended.stderr
            assert "Traceback" not in ended.stderr
            assert all(word in ended.stderr for word in words), ended.stderr
            assert ended.stdout == ""


def test_ctrl_c_is_told_apart_from_a_failure_and_leaves_the_old_file(environment, tmp_path):
    target = tmp_path / "r1.parquet"
    target.write_bytes(b"old")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes the question and never answers
        listener.settimeout(30)
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "wandb_ops.cli", "export", "me/p/r1", str(target)]
        exporting = subprocess.Popen(
            command,
            env={**os.environ, "WANDB_BASE_URL": server},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        asked, _address = listener.accept()
        with asked:
            asked.recv(1)
            exporting.send_signal(signal.SIGINT)
            shown, said = exporting.communicate(timeout=30)
    assert (exporting.returncode, shown) == (130, "")
    assert said.startswith("wandb-ops: interrupted")
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["r1.parquet"]
    assert target.read_bytes() == b"old"


STUCK = """
import socket
from wandb_ops.cli.main import cli, main
from wandb_ops.transport.workers import workers

@cli.command()
def stuck():
    with workers(1, "stuck") as pool:
        pool.submit(lambda: socket.create_connection(("127.0.0.1", %d)).recv(1)).result()

main()
"""


def test_ctrl_c_waits_for_no_request_of_a_worker():
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes the question and never answers
        listener.settimeout(30)
        command = [sys.executable, "-c", STUCK % listener.getsockname()[1], "stuck"]
        working = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            asked, _address = listener.accept()
            with asked:
                working.send_signal(signal.SIGINT)
                said = working.communicate(timeout=30)[1]
        finally:
            working.kill()
            working.wait()
    assert working.returncode == 130
    assert said.startswith("wandb-ops: interrupted")


def test_the_console_script_is_installed():
    script = Path(sys.executable).with_name("wandb-ops")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert wandb_ops.__version__ in shown.stdout
