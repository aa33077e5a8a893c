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


def test_a_pipeline_of_this_package_lives_through_a_bad_night(wandb_env: LocalServer) -> None:
    """What the documentation shows: faults in front of a client that retries, and then what was stored."""
    import wandb_ops
    from wandb_ops.testing import Fault

    limit = Fault.rate_limit(0, operation="UpsertBucket", times=2)
    with wandb_env.faults(limit) as faults, wandb_env.requests() as seen:
        run = wandb_ops.Api().create_run(project="demo", run_id="nightly")
    assert (run.id, wandb_env.run("demo/nightly").state) == ("nightly", "running")
    answers = [each.status for each in seen if each.operation == "UpsertBucket"]
    assert (faults.hits, answers) == (2, [429, 429, 200])


def test_the_names_for_tests_are_those_of_the_server() -> None:
    import wandb_ops.testing
    from wandb_ops.local.faults import Fault

    assert wandb_ops.testing.Fault is Fault
    assert wandb_ops.testing.LocalServer is LocalServer
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        wandb_ops.testing.Other  # noqa: B018 - the look-up is the point


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
