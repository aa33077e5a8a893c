"""The code of docs/airflow.md runs as written."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

DOCS = (Path(__file__).parents[2] / "docs" / "airflow.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_of_python_compiles(block):
    assert compile(block, "docs/airflow.md", "exec").co_code


@pytest.mark.parametrize(
    ("first", "tasks"),
    [
        ("nightly_export", {"nightly_export": ["plan", "export", "verify"]}),
        ("make_rows", {"make_rows": ["log"], "take_model": ["approved", "fetch", "promote"]}),
    ],
)
def test_the_documented_dags_survive_the_form_that_the_scheduler_keeps(tmp_path, kept, first, tasks):
    """Built from a file as Airflow does, then serialised and read back."""
    (block,) = [block for block in BLOCKS if f'DAG("{first}"' in block]
    number = itertools.count()
    named = re.sub(
        r"^(with DAG\(.*\)):$", lambda m: f"{m[1]} as dag_{next(number)}:", block, flags=re.MULTILINE
    )
    file = tmp_path / "documented.py"
    file.write_text(named)
    names: dict[str, Any] = {"__file__": str(file), "__name__": "documented"}
    exec(compile(named, str(file), "exec"), names)
    dags = [names[f"dag_{index}"] for index in range(next(number))]
    assert {dag.dag_id: [task.task_id for task in dag.topological_sort()] for dag in dags} == tasks
    for dag in dags:
        assert set(kept(dag).task_dict) == set(dag.task_dict)


def test_the_short_pipeline_is_a_dag_of_three_tasks_in_a_row(tmp_path):
    """Executed from a file, since Airflow asks a DAG where it comes from."""
    (block,) = [block for block in BLOCKS if "def nightly_training" in block]
    file = tmp_path / "documented.py"
    file.write_text(block.replace("nightly_training()\n", "made = nightly_training()\n"))
    names: dict[str, object] = {"__file__": str(file), "__name__": "documented"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    dag = names["made"]
    assert [task.task_id for task in dag.topological_sort()] == ["sync", "wait", "export"]
    assert dag.get_task("wait").deferrable
