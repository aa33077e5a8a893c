"""What all operators share: the connection, the translation of errors, the run id that survives a retry."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

from airflow_provider.failures import airflow_failures
from airflow_provider.hooks.wandb import WandbHook
from airflow_provider.lineage import Lineage, operator_lineage, tell_collector
from airflow_provider.links.run import RUN_URL, remember_url
from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from wandb_ops import Api
    from wandb_ops.errors import Error


MOST_LISTED = 200
"""Entries of a list in a task's result: XComs are rows of Airflow's database, and some databases cut them."""


class WandbOperator(BaseOperator):
    """One step of `wandb_ops.steps`, as an Airflow task.

    Subclasses hold their arguments and call one step in `run_step`; the rules are the step's. What the step
    says of its result in single values (paths, counts, states) is also told to the assets among the task's
    `outlets`, as the extra of their events. What it read and wrote, as `lineage` says, is told to Airflow's
    lineage collector and to OpenLineage.

    :param wandb_conn_id: (templated) the connection; see `WandbHook` for what happens without one.
    """

    template_fields: Sequence[str] = ("wandb_conn_id",)
    ui_color = "#fff7db"

    def __init__(self, *, wandb_conn_id: str | None = WandbHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wandb_conn_id = wandb_conn_id
        self._lineage = Lineage()

    @cached_property
    def hook(self) -> WandbHook:
        """The hook, made after templates were rendered."""
        return WandbHook(self.wandb_conn_id)

    def execute(self, context: Context) -> Any:
        """Run the step; its result, as plain JSON, is the task's return value."""
        with airflow_failures(context, retried=self.retried):
            result = self.run_step(self.hook.get_conn(), context)
        if isinstance(result, dict):
            tell_assets(self, context, result)
            self._lineage = self.lineage(result)
            tell_collector(self.hook, self._lineage)
            return xcom_sized(result)
        return result

    def lineage(self, result: Mapping[str, Any]) -> Lineage:  # noqa: ARG002 - for subclasses
        """What the step read and wrote, as its result tells; nothing, for a step that moves no data."""
        return Lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:  # noqa: ARG002
        """OpenLineage's question after the task; nobody asks it where that provider is not installed."""
        return operator_lineage(self._lineage)

    @property
    def retried(self) -> tuple[type[Error], ...]:
        """Errors after which another try starts something anew, so that it may help after all."""
        return ()

    def project_of(self, api: Api) -> str:
        """The operator's project, else the connection's.

        :raises UsageError: neither names one.
        """
        project: str | None = getattr(self, "project", None) or api.settings.get("project")
        if not project:
            raise UsageError(
                "no project is named", where=self.task_id, hint="Pass project=, or set the connection's."
            )
        return project

    @abstractmethod
    def run_step(self, api: Api, context: Context) -> Any:
        """Call the step and return its result as plain JSON."""


def tell_assets(task: BaseOperator, context: Context, result: Mapping[str, Any]) -> None:
    """Give the single values of a result to the events of the task's outlets.

    :param task: the operator that runs.
    :param context: its context.
    :param result: what it returns.
    """
    events = context.get("outlet_events")
    if events is None:
        return
    told = {name: value for name, value in result.items() if isinstance(value, (str, int, float, bool))}
    for outlet in task.outlets:
        if isinstance(outlet, Asset):
            events[outlet].extra.update(told)


def xcom_sized(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result whose lists have `MOST_LISTED` entries at most; ``cut`` says how many the cut ones had.

    :param result: what a step returned.
    """
    long = {
        name: len(one) for name, one in result.items() if isinstance(one, list) and len(one) > MOST_LISTED
    }
    if not long:
        return dict(result)
    return {**result, **{name: result[name][:MOST_LISTED] for name in long}, "cut": long}


def templated(place: Any) -> Any:
    """A path, or a dict of paths, as text: Airflow renders templates in text only, not in `pathlib.Path`.

    :param place: what an operator got; anything else stays what it is.
    """
    if isinstance(place, dict):
        return {name: templated(one) for name, one in place.items()}
    return str(place) if isinstance(place, PurePath) and not hasattr(place, "fs") else place


def own_run_id(context: Context) -> str:
    """The id of the run that belongs to this task instance, the same on every try.

    :param context: the task's context.
    """
    from wandb_ops.steps import stable_run_id

    ti = context["ti"]
    return stable_run_id(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)


def own_name(context: Context) -> str:
    """A name for people that belongs to this task instance, the same on every try.

    :param context: the task's context.
    """
    ti = context["ti"]
    mapped = f" [{ti.map_index}]" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{ti.dag_id} {ti.task_id}{mapped} {ti.run_id}"


def remember_run(task: BaseOperator, context: Context, *, path: str, url: str) -> None:
    """Store the run's id, path and page as XComs, for later tasks and for the button on the task's page.

    :param task: the operator that runs.
    :param context: the task's context.
    :param path: entity/project/run_id.
    :param url: page of the run.
    """
    ti = context["ti"]
    ti.xcom_push(key="run_id", value=path.rpartition("/")[2])
    ti.xcom_push(key="run_path", value=path)
    remember_url(task, context, key=RUN_URL, url=url)
