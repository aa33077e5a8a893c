"""Run one DAG file to its end in this process: no scheduler, no web server, nothing left behind.

    python example_dags/_run_airflow.py example_dags/wandb_training_pipeline.py --conf '{"logdir": "..."}'

Airflow's own `dag.test()` does the work, with its metadata in SQLite below `AIRFLOW_HOME` (a new temporary
folder when that is not set). Prints one line per task and exits with 1 when one of them failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def prepare_home(home: Path, dag_file: Path) -> None:
    """Point Airflow at `home`; to be called before Airflow is imported."""
    dags = home / "dags"
    dags.mkdir(parents=True, exist_ok=True)
    shutil.copy2(dag_file, dags / dag_file.name)
    os.environ["AIRFLOW_HOME"] = str(home)
    settings = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__UNIT_TEST_MODE": "False",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__LOGGING_LEVEL": "ERROR",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    for name, value in settings.items():
        os.environ.setdefault(f"AIRFLOW__{name}", value)


def run_dag(dag_file: Path, conf: dict[str, Any]) -> tuple[str, list[tuple[str, str]], dict[str, Any]]:
    """Run the file's DAG; its state, the states of its tasks in order of start, and what they returned."""
    from airflow.utils.db import initdb

    logging.getLogger("alembic").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):
        initdb()
        dag = load_dag(dag_file)
        dag_run = dag.test(run_conf=conf)

    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(
            select(TaskInstance)
            .where(TaskInstance.dag_id == dag.dag_id, TaskInstance.run_id == dag_run.run_id)
            .order_by(TaskInstance.start_date, TaskInstance.map_index)
        ).all()
        states = [(_name(ti.task_id, ti.map_index), str(ti.state)) for ti in found]
        returned = session.scalars(
            select(XComModel).where(
                XComModel.dag_id == dag.dag_id,
                XComModel.run_id == dag_run.run_id,
                XComModel.key == "return_value",
            )
        ).all()
        values = {_name(x.task_id, x.map_index): XComModel.deserialize_value(x) for x in returned}
    return str(dag_run.state), states, values


def load_dag(dag_file: Path) -> Any:
    """The one DAG that the file makes."""
    from airflow.sdk import DAG

    copy = Path(os.environ["AIRFLOW_HOME"]) / "dags" / dag_file.name
    spec = importlib.util.spec_from_file_location(dag_file.stem, copy)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{dag_file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dags = [value for value in vars(module).values() if isinstance(value, DAG)]
    if len(dags) != 1:
        raise SystemExit(f"{dag_file} makes {len(dags)} DAGs; expected one")
    return dags[0]


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def main(dag_file: str, conf_json: str = "{}", results: str | None = None) -> int:
    """Run the DAG, print its tasks' states; 0 when all is well.

    `results` names a JSON file for what the tasks returned, by task.
    """
    started = time.monotonic()
    path = Path(dag_file).resolve()
    with contextlib.ExitStack() as cleanup:
        home = os.environ.get("AIRFLOW_HOME") or cleanup.enter_context(
            tempfile.TemporaryDirectory(prefix="airflow-", ignore_cleanup_errors=True)
        )
        prepare_home(Path(home), path)
        state, states, values = run_dag(path, json.loads(conf_json))
    for name, task_state in states:
        print(f"  {task_state:<9} {name}")
    print(f"  {path.stem}: {state} in {time.monotonic() - started:.1f} s")
    if results:
        Path(results).write_text(json.dumps(values, indent=2, default=str))
    return 0 if state == "success" else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dag_file")
    parser.add_argument("--conf", default="{}", help="JSON for the DAG's params")
    parser.add_argument("--results", help="JSON file for what the tasks returned")
    arguments = parser.parse_args()
    raise SystemExit(main(arguments.dag_file, arguments.conf, arguments.results))
