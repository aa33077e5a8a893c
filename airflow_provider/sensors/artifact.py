"""The sensor that waits for a version of an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider.links.run import ARTIFACT_URL, WandbArtifactLink, remember_url
from airflow_provider.sensors.base import WandbSensor
from airflow_provider.triggers.artifact import WandbArtifactTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbArtifactSensor(WandbSensor):
    """Wait until an alias is given, or until it means another version than before.

    Returns the version as `wandb_ops.steps.ArtifactResult`: ``path`` (entity/project/name:v3), ``version``,
    ``digest``, ``aliases`` and so on.

    .. code-block:: python

        approved = WandbArtifactSensor(task_id="approved", artifact="churn/model:production")

    :param artifact: (templated) ``entity/project/name:alias``, or shorter with the connection's defaults;
        without an alias, ``latest``.
    :param artifact_type: (templated) type that it has to be of.
    :param other_than: (templated) version, such as ``v3``, that does not count: the one that was dealt with.
    :param max_poll_failures: so many looks in a row may fail with something that may pass.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between looks.
    :param timeout: seconds until the task fails with `AirflowSensorTimeout`.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("artifact", "artifact_type", "other_than", "wandb_conn_id")
    operator_extra_links = (WandbArtifactLink(),)

    def __init__(
        self,
        *,
        artifact: str,
        artifact_type: str | None = None,
        other_than: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.artifact = artifact
        self.artifact_type = artifact_type
        self.other_than = other_than

    def look(self, api: Api, context: Context) -> dict[str, Any] | None:  # noqa: ARG002 - as the base has it
        """The version, once it is there."""
        return self.make_trigger(end_time=0.0).look(api)

    def make_trigger(self, **waiting: Any) -> WandbArtifactTrigger:
        """The trigger that looks for the version."""
        return WandbArtifactTrigger(
            artifact=self.artifact,
            artifact_type=self.artifact_type,
            other_than=self.other_than,
            **waiting,
        )

    def found(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """The version, its page kept for the button."""
        remember_url(self, context, key=ARTIFACT_URL, url=str(result["url"]))
        self.log.info("%s is there: %s", result["path"], result["url"])
        return result
