"""Airflow for tests: a home of its own, one SQLite database, tasks run in this process by `dag.test()`.

Airflow reads its configuration when it is first imported, so the variables are set here, before any test
module is. What importing Airflow does to the root logger is undone, for the other tests of the process.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

HOME = Path(tempfile.mkdtemp(prefix="wandb-ops-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
(HOME / "dags").mkdir()

assert "airflow" not in sys.modules, "Airflow was imported before its test configuration was set"
os.environ["AIRFLOW_HOME"] = str(HOME)
for _name, _value in {
    "CORE__DAGS_FOLDER": str(HOME / "dags"),
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__UNIT_TEST_MODE": "False",
    "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
    "LOGGING__LOGGING_LEVEL": "INFO",
    "USAGE_DATA_COLLECTION__ENABLED": "False",
}.items():
    os.environ[f"AIRFLOW__{_name}"] = _value

_root = logging.getLogger()
_before = (list(_root.handlers), _root.level)
import airflow  # noqa: E402 - after its environment

_root.handlers[:], _root.level = _before

assert airflow.__version__


@dataclass
class Outcome:
    """What one DAG run came to."""

    state: str
    run_id: str
    states: dict[str, str]
    xcoms: dict[tuple[str, str], Any]  # (task[index], key) -> value
    raw: list[str]  # XComs as the database holds them
    rendered: list[str]  # rendered template fields, as JSON text
    tries: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """Airflow's home, with a database that has been set up."""
    from airflow.utils.db import initdb

    logging.getLogger("alembic").setLevel(logging.ERROR)
    initdb()
    return HOME


@pytest.fixture
def run_dag(airflow_home: Path) -> Callable[..., Outcome]:
    """Runs a DAG to its end in this process, and reads back what it left in the database."""

    def run(dag: Any, conf: dict[str, Any] | None = None, **kwargs: Any) -> Outcome:
        try:
            from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        except ImportError:  # Airflow 3.1
            from airflow.models.dagbag import DagBag, sync_bag_to_db
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        kinds = {"bundle_name": "dags-folder"}
        try:
            bag = DagBag(dag_folder="/dev/null", **kinds)
        except TypeError:  # Airflow 3.1
            bag = DagBag(dag_folder="/dev/null", include_examples=False)
        bag.bag_dag(dag)
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        return _outcome(dag.test(run_conf=conf, **kwargs))

    return run


def _outcome(dag_run: Any) -> Outcome:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def mine(model: Any) -> Any:
        return select(model).where(model.dag_id == dag_run.dag_id, model.run_id == dag_run.run_id)

    def name(row: Any) -> str:
        return row.task_id if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"

    with create_session() as session:
        instances = session.scalars(mine(TaskInstance)).all()
        xcoms = session.scalars(mine(XComModel)).all()
        rendered = session.scalars(mine(RenderedTaskInstanceFields)).all()
        return Outcome(
            state=str(dag_run.state),
            run_id=dag_run.run_id,
            states={name(ti): str(ti.state) for ti in instances},
            tries={name(ti): ti.try_number for ti in instances},
            xcoms={(name(x), x.key): XComModel.deserialize_value(x) for x in xcoms},
            raw=[json.dumps(x.value, allow_nan=False) for x in xcoms],
            rendered=[json.dumps(r.rendered_fields, default=str) for r in rendered],
        )


@pytest.fixture
def kept() -> Callable[[Any], Any]:
    """A DAG as the scheduler has it: serialised, stored as JSON, read back."""
    from airflow.serialization import serialized_objects as module

    form = getattr(module, "DagSerialization", None) or module.SerializedDAG
    return lambda dag: form.from_dict(json.loads(json.dumps(form.to_dict(dag))))


@pytest.fixture
def make_context() -> Callable[..., Mapping[str, Any]]:
    """A task context whose task instance remembers what is pushed to it (`pushed`)."""

    def make(task_id: str = "task", map_index: int = -1, run_id: str = "manual__1") -> Any:
        from airflow.sdk.types import RuntimeTaskInstanceProtocol

        ti = MagicMock(spec=RuntimeTaskInstanceProtocol)
        ti.dag_id, ti.run_id, ti.task_id, ti.map_index = "the_dag", run_id, task_id, map_index
        ti.get_first_reschedule_date.return_value = None
        ti.pushed = {}
        ti.xcom_push.side_effect = lambda *, key, value: ti.pushed.update({key: value})
        return {"ti": ti}

    return make


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Defines a connection through the environment, as JSON."""

    def define(conn_id: str = "wandb_default", **fields: Any) -> None:
        value = json.dumps({"conn_type": "wandb", **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)

    return define


@pytest.fixture
def server(wandb_server: Any, connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The embedded W&B server, reached through the connection `wandb_default` and nothing else."""
    for variable in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(variable)
    connection(
        password=wandb_server.api_key,
        host=wandb_server.url,
        extra={"entity": wandb_server.entity, "timeout": 20},
    )
    return wandb_server
