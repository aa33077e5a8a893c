"""What Airflow learns about the provider."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseOperatorLink
from airflow.triggers.base import BaseTrigger

import airflow_provider
from airflow_provider.get_provider_info import get_provider_info

pytestmark = pytest.mark.airflow

INFO = get_provider_info()
LISTED = [
    (kind, module)
    for kind in ("hooks", "operators", "sensors", "triggers")
    for entry in INFO[kind]
    for module in entry["python-modules"]
]
BASES = {"hooks": BaseHook, "operators": BaseOperator, "sensors": BaseOperator, "triggers": BaseTrigger}


def classes_of(module_name: str, base: type) -> list[type]:
    module = importlib.import_module(module_name)
    return [
        c
        for c in vars(module).values()
        if inspect.isclass(c)
        and issubclass(c, base)
        and c.__module__ == module_name
        and not c.__name__.startswith("_")
    ]


def arguments_of(operator: type) -> list[inspect.Parameter]:
    """The arguments of an operator and of the bases that this package gives it."""
    ours = [c for c in operator.__mro__ if c.__module__.startswith("airflow_provider.")]
    return [
        p
        for c in ours
        if "__init__" in vars(c)
        for p in inspect.signature(c.__init__).parameters.values()
        if p.name not in ("self", "kwargs")
    ]


OPERATORS = [c for kind, m in LISTED if kind in ("operators", "sensors") for c in classes_of(m, BaseOperator)]


def test_the_description_satisfies_airflows_schema():
    """Airflow refuses a provider whose description does not."""
    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


@pytest.mark.parametrize(("kind", "module"), LISTED)
def test_each_listed_module_holds_what_it_is_listed_for(kind, module):
    assert classes_of(module, BASES[kind])


def test_nothing_of_the_package_is_left_out_of_the_description():
    listed = {module for _, module in LISTED}
    for kind, base in BASES.items():
        package = importlib.import_module(f"airflow_provider.{kind}")
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            public = [c for c in classes_of(found.name, base) if not inspect.isabstract(c)]
            assert not public or found.name in listed


def test_each_extra_link_exists_and_belongs_to_an_operator():
    used = {type(link) for operator in OPERATORS for link in operator.operator_extra_links}
    for path in INFO["extra-links"]:
        module, _, name = path.rpartition(".")
        link = getattr(importlib.import_module(module), name)
        assert issubclass(link, BaseOperatorLink)
        assert link in used


def test_airflow_finds_the_provider_its_hook_and_its_form():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.providers["wandb-ops"].data["name"] == "Weights & Biases"
    hook = manager.hooks["wandb"]
    assert (hook.connection_type, hook.hook_name) == ("wandb", "Weights & Biases")
    assert hook.hook_class_name == "airflow_provider.hooks.wandb.WandbHook"
    from airflow_provider.hooks.wandb import EXTRA_FIELDS

    assert set(INFO["connection-types"][0]["conn-fields"]) == EXTRA_FIELDS
    if tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 2):
        assert {f"extra__wandb__{name}" for name in EXTRA_FIELDS} <= set(manager.connection_form_widgets)
        assert manager.field_behaviours["wandb"]["relabeling"]["password"] == "API key"


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda c: c.__name__)
def test_each_operator_documents_its_arguments_and_which_are_templates(operator):
    own = [p for p in arguments_of(operator) if p.kind is p.KEYWORD_ONLY]
    said = dict(re.findall(r":param (\w+): (\(templated\))?", operator.__doc__))
    missing = {p.name for p in own} - set(said)
    assert not missing
    assert {name for name, templated in said.items() if templated} == set(operator.template_fields)
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda c: c.__name__)
def test_each_template_field_is_an_attribute_after_init(operator):
    required = {p.name: "x" for p in arguments_of(operator) if p.default is p.empty}
    task = operator(task_id="t", **required)
    assert all(hasattr(task, name) for name in task.template_fields)


def test_each_operator_survives_the_form_that_the_scheduler_keeps(kept):
    """Serialised and read back: the templates, their rendering and the buttons are still there."""
    with DAG("all-of-them", schedule=None) as dag:
        for operator in OPERATORS:
            required = {p.name: "{{ ds }}" for p in arguments_of(operator) if p.default is p.empty}
            operator(task_id=operator.__name__, **required)
    again = kept(dag)
    assert set(again.task_dict) == {operator.__name__ for operator in OPERATORS}
    for operator in OPERATORS:
        task = again.get_task(operator.__name__)
        assert tuple(task.template_fields) == tuple(operator.template_fields)
        links = {link.name for link in operator.operator_extra_links}
        assert links <= set(task.extra_links)
        assert links


def test_parsing_a_dag_loads_nothing_heavy():
    """Airflow parses DAG files again and again; a task's libraries load when the task runs."""
    modules = [f"airflow_provider.{m}" for m in ("hooks.wandb", "sensors.run", "triggers.run", "links.run")]
    modules += [m for kind, m in LISTED if kind == "operators"]
    script = (
        "import sys, time, json\n"
        "import airflow.sdk, airflow.triggers.base, airflow.providers.common.compat.sdk as c\n"
        "from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook, BaseOperatorLink\n"
        "c.conf, c.AirflowFailException\n"
        "before = set(sys.modules); t = time.process_time()\n"
        + "".join(f"import {m}\n" for m in modules)
        + "took = time.process_time() - t\n"
        "print(json.dumps([took, sorted(set(sys.modules) - before)]))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    took, loaded = json.loads(out.splitlines()[-1])
    roots = {name.partition(".")[0] for name in loaded}
    assert not roots & {"pandas", "numpy", "pyarrow", "matplotlib", "rich", "orjson", "wandb", "dagster"}
    assert "airflow_provider" in roots
    assert len(loaded) < 150, loaded
    assert took < 1.0


def test_the_package_says_that_it_is_typed():
    assert (Path(airflow_provider.__path__[0]) / "py.typed").exists()
