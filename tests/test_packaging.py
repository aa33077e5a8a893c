"""The one wheel holds all three packages with their data, and says what it is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("wandb_ops", "airflow_provider", "dagster_resources")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (made,) = target.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        yield archive


def test_the_wheel_holds_every_module_and_every_data_file(wheel):
    held = set(wheel.namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - held == set()
    assert {name.split("/")[0] for name in held} == {
        *PACKAGES,
        next(n.split("/")[0] for n in held if ".dist-info/" in n),
    }


def test_the_wheel_is_typed_and_announces_its_entry_points(wheel):
    held = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    (entry_points,) = [wheel.read(name).decode() for name in held if name.endswith("entry_points.txt")]
    for group in (
        "console_scripts",
        "apache_airflow_provider",
        "dagster_dg_cli.registry_modules",
        "pytest11",
    ):
        assert f"[{group}]" in entry_points


def test_the_core_needs_neither_orchestrator_nor_the_wandb_sdk(wheel):
    (metadata,) = [wheel.read(n).decode() for n in wheel.namelist() if n.endswith("METADATA")]
    needs = Parser().parsestr(metadata).get_all("Requires-Dist")
    core = {
        need.split(";")[0].split(">")[0].split("<")[0].strip() for need in needs if "extra ==" not in need
    }
    names = "requests urllib3 orjson numpy pandas pyarrow pyyaml google-crc32c click rich"
    assert core == set(names.split())
