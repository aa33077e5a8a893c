"""What `make demo` leaves and what `make ui` shows belong together."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import requests

import wandb_ops
from wandb_ops import steps
from wandb_ops.local.serve import LocalServer

ROOT = Path(__file__).parents[1]


def test_make_ui_shows_the_runs_that_the_demo_made(tmp_path):
    """The page lists the projects of the server's own entity, so both commands must name the same one."""
    (entity,) = re.findall(r'^ENTITY = "(\w+)"', (ROOT / "example_dags/demo.py").read_text(), re.MULTILINE)
    with LocalServer(data=tmp_path, entity=entity) as server:
        api = wandb_ops.Api(overrides={"base_url": server.url, "entity": entity}, api_key=server.api_key)
        steps.create_run(api, project="left-by-the-demo", run_id="r1")
    # A test that `make test` runs inherits make's own variables; the newcomer's shell has none.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "-n", "ui"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    words = shlex.split(shown.splitlines()[-1])
    assert (Path(words[0]).name, words[1], words[2:4]) == ("wandb-ops", "local", ["--data", ".demo/server"])
    command = [sys.executable, "-m", "wandb_ops.cli", "local", "--data", str(tmp_path), *words[4:]]
    page = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        address = next(line.split()[1] for line in page.stdout if line.startswith("pages"))
        answer = requests.get(address, timeout=10)
        assert answer.status_code == 200
        assert "left-by-the-demo" in answer.text
    finally:
        os.killpg(page.pid, signal.SIGINT)
        page.wait(timeout=20)
        page.stdout.close()


def test_the_demo_does_not_take_the_data_from_under_a_running_server(tmp_path):
    """`make demo` in a second terminal while `make ui` still runs in the first."""
    with LocalServer(data=tmp_path / "server"):
        code = (
            f"from pathlib import Path; from example_dags import demo; demo.ROOT = Path({str(tmp_path)!r});"
        )
        done = subprocess.run(
            [sys.executable, "-c", code + "demo.forget_the_last()"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "make ui" in done.stderr
        assert "Traceback" not in done.stderr
        assert (tmp_path / "server" / "server.db").exists()
