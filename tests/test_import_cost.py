"""Importing wandb_ops is cheap: pipelines are parsed over and over by processes that only look at them."""

from __future__ import annotations

import json
import subprocess
import sys

import wandb_ops

HEAVY = {
    "aiohttp",
    "airflow",
    "click",
    "dagster",
    "graphql",
    "matplotlib",
    "numpy",
    "orjson",
    "pandas",
    "pyarrow",
    "requests",
    "rich",
    "starlette",
    "uvicorn",
    "wandb",
}

PROBE = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import wandb_ops
seconds = time.perf_counter() - start
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"seconds": seconds, "modules": sorted(new), "count": len(set(sys.modules) - before)}))
"""


def probe() -> dict[str, object]:
    # -I: neither the environment nor the working directory changes what is imported.
    done = subprocess.run([sys.executable, "-I", "-c", PROBE], capture_output=True, text=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_importing_takes_less_than_a_fifth_of_a_second() -> None:
    # The best of a few: the machine may be busy, which says nothing about the package.
    best = min(float(str(probe()["seconds"])) for _ in range(5))
    assert best < 0.2


def test_importing_loads_nothing_heavy() -> None:
    modules = probe()["modules"]
    assert isinstance(modules, list)
    assert HEAVY & set(modules) == set()


def test_an_api_loads_no_tables() -> None:
    """What only looks at runs needs none of the libraries for whole histories."""
    code = """
import json, sys
import wandb_ops
wandb_ops.Api(overrides={"base_url": "http://127.0.0.1:9"}, api_key="k" * 40)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(json.loads(done.stdout)) <= {"orjson", "requests"}


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert wandb_ops.__all__ == sorted(wandb_ops.__all__)
    for name in wandb_ops.__all__:
        assert getattr(wandb_ops, name) is not None
    assert set(wandb_ops.__all__) <= set(dir(wandb_ops))


def test_every_error_of_the_tree_is_a_public_name() -> None:
    assert set(wandb_ops.errors.__all__) <= set(wandb_ops.__all__)
    for name in wandb_ops.errors.__all__:
        assert getattr(wandb_ops, name) is getattr(wandb_ops.errors, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(wandb_ops, "init")
