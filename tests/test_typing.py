"""What a user writes against the public API type-checks strictly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

USER_CODE = Path(__file__).parent / "typing" / "api.py"


def check(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_user_code_passes_strict_type_checking(cache: Path) -> None:
    done = check(USER_CODE, cache)
    assert done.returncode == 0, done.stdout


def test_wrong_user_code_does_not_pass(tmp_path: Path, cache: Path) -> None:
    """The types say something: they are not all Any."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import wandb_ops as wandb\n"
        "api = wandb.Api()\n"
        "number: int = api.run('e/p/r').state\n"
        "api.create_run_queue('q', type='spaceship')\n"
        "api.runs('e/p', per_page='many')\n"
    )
    done = check(wrong, cache)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.split(":")[1] for line in errors] == ["3", "4", "5"], done.stdout
