"""The fixtures that users of the package get."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from wandb_ops.local.serve import LocalServer


def test_wandb_env_leads_this_process_to_the_server(
    wandb_env: LocalServer, wandb_server: LocalServer
) -> None:
    assert wandb_env is wandb_server
    assert {name: os.environ[name] for name in wandb_env.env} == wandb_env.env
    answer = requests.post(
        f"{os.environ['WANDB_BASE_URL']}/graphql",
        json={"query": "{ viewer { entity } }"},
        auth=("api", os.environ["WANDB_API_KEY"]),
        timeout=5,
    )
    assert answer.json()["data"]["viewer"]["entity"] == os.environ["WANDB_ENTITY"]


def test_each_test_gets_an_empty_server_of_its_own(
    wandb_server: LocalServer, wandb_server_session: LocalServer
) -> None:
    assert wandb_server.url != wandb_server_session.url
    with pytest.raises(LookupError):
        wandb_server.run("p", "r")


def test_without_the_extra_a_test_that_wants_the_server_fails_and_says_what_to_install(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    (tmp_path / "test_mine.py").write_text("def test_mine(wandb_server):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "1 error" in done.stdout.splitlines()[-1]
    assert "needs uvicorn: pip install 'wandb-ops[local]'" in done.stdout


def test_the_plugin_loads_nothing_of_the_server() -> None:
    code = (
        "import sys, wandb_ops.testing;"
        "print([name for name in ('uvicorn', 'starlette', 'graphql', 'sqlite3', 'wandb_ops.local')"
        " if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
