"""`WandbResource`: the configured connection to W&B; each method is the step of the same name."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

import dagster as dg
from pydantic import Field, PrivateAttr

from dagster_resources.failures import MAX_RETRIES, RETRY_DELAY, wandb_failures
from wandb_ops import Api, steps
from wandb_ops.errors import Error

P = ParamSpec("P")
R = TypeVar("R")

_ENV_TYPES = (dg.EnvVar, type(dg.EnvVar.int("WANDB_HTTP_TIMEOUT")))


def _step(step: Callable[Concatenate[Api, P], R]) -> "Callable[Concatenate[WandbResource, P], R]":
    """A method that calls `step` with the resource's client."""

    def method(self: "WandbResource", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return step(self.get_client(), *args, **kwargs)

    update_wrapper(method, step)
    return method


StorageOptions = Mapping[str, Any]


def storage_options(options: StorageOptions | None) -> dict[str, Any] | None:
    """Options of a store with `EnvVar` among them replaced by the variables' values, on the worker."""
    if options is None:
        return None
    return {
        name: value.get_value() if isinstance(value, _ENV_TYPES) else value for name, value in options.items()
    }


@dataclass(frozen=True)
class WandbConnection:
    """Who the server says we are."""

    base_url: str
    account: str
    entity: str


class WandbResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # its value is itself
    """A connection to Weights & Biases.

    Nothing is sent before the first call. What is left out is taken from W&B's own places: `WANDB_*`
    variables, the settings file, netrc. Give the key as `EnvVar`, so that Dagster keeps its name only.

    Example:
        .. code-block:: python

            defs = dg.Definitions(
                assets=[...],
                resources={"wandb": WandbResource(api_key=dg.EnvVar("WANDB_API_KEY"), entity="my-team")},
            )
    """

    base_url: str | None = Field(
        default=None, description="W&B server; None takes WANDB_BASE_URL, else W&B's public cloud."
    )
    api_key: str | None = Field(
        default=None,
        description='API key, best as EnvVar("WANDB_API_KEY"). None looks where W&B itself looks.',
        json_schema_extra={"dagster__is_secret": True},
        repr=False,
    )
    entity: str | None = Field(default=None, description="Default user or team.")
    project: str | None = Field(default=None, description="Default project.")
    timeout: float | None = Field(default=None, description="Seconds allowed per call, retries included.")
    max_retries: int = Field(
        default=MAX_RETRIES, description="Step retries for failures that pass: rate limits, 5xx, no answer."
    )
    retry_delay: float = Field(
        default=RETRY_DELAY, description="Seconds until a step retry where the server names no time."
    )

    _client: Api | None = PrivateAttr(default=None)

    @classmethod
    def _is_dagster_maintained(cls) -> bool:
        return False

    def get_client(self) -> Api:
        """The `wandb_ops.Api` of this resource, made at the first call and kept; makes no request.

        Works too where Dagster has not resolved `EnvVar` values yet (a resource used as a plain object).
        """
        if self._client is None:
            if any(isinstance(value, _ENV_TYPES) for value in self._values().values()):
                self._client = self.process_config_and_initialize().get_client()
            else:
                values = self._values()
                timeout, api_key = values.pop("timeout"), values.pop("api_key")
                overrides = {name: value for name, value in values.items() if value}
                overrides["key_source"] = f"the api_key of the Dagster resource {type(self).__name__}"
                self._client = Api(overrides, timeout=timeout, api_key=api_key)
        return self._client

    @property
    def api(self) -> Api:
        """The same as `get_client()`."""
        return self.get_client()

    def _values(self) -> dict[str, Any]:
        names = ("base_url", "api_key", "entity", "project", "timeout")
        return {name: getattr(self, name) for name in names}

    def failures(self, *, retried: tuple[type[Error], ...] = ()) -> AbstractContextManager[None]:
        """Inside `with wandb.failures():` errors become `RetryRequested` or `Failure`.

        Args:
            retried: As for `wandb_failures`.
        """
        return wandb_failures(max_retries=self.max_retries, retry_delay=self.retry_delay, retried=retried)

    def test_connection(self) -> WandbConnection:
        """Ask the server who we are: one request.

        Raises:
            wandb_ops.Error: What is wrong: no key, a refused key, no answer.
        """
        api = self.get_client()
        return WandbConnection(
            base_url=str(api.settings["base_url"]),
            account=str(api.viewer.username),
            entity=self.resolve_entity(),
        )

    def resolve_entity(self, entity: str | None = None) -> str:
        """`entity`, else the default of the resource, else the account's."""
        return self.get_client().entity_or_default(entity)

    create_run = _step(steps.create_run)
    log_metrics = _step(steps.log_metrics)
    finish_run = _step(steps.finish_run)
    update_run = _step(steps.update_run)
    run_status = _step(steps.run_status)
    list_runs = _step(steps.list_runs)
    wait_for_run = _step(steps.wait_for_run)
    sync_tensorboard = _step(steps.sync_tensorboard)
    upsert_run_queue = _step(steps.upsert_run_queue)
    enqueue_job = _step(steps.enqueue_job)
    queued_run_status = _step(steps.queued_run_status)
    wait_for_queued_run = _step(steps.wait_for_queued_run)
    cancel_queued_job = _step(steps.cancel_queued_job)
    log_artifact = _step(steps.log_artifact)
    use_artifact = _step(steps.use_artifact)
    download_artifact = _step(steps.download_artifact)
    promote_artifact = _step(steps.promote_artifact)
    artifact_status = _step(steps.artifact_status)
    list_artifact_versions = _step(steps.list_artifact_versions)
    create_sweep = _step(steps.create_sweep)
    sweep_status = _step(steps.sweep_status)
    wait_for_sweep = _step(steps.wait_for_sweep)
    export_history = _step(steps.export_history)
    export_project = _step(steps.export_project)
    plan_export = _step(steps.plan_export)
    verify_export = _step(steps.verify_export)
    snapshot = _step(steps.snapshot)
