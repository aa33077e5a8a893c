"""`WandbResourceComponent`: the connection, from a `defs.yaml`."""

from typing import Annotated

import dagster as dg

from dagster_resources.failures import MAX_RETRIES, RETRY_DELAY
from dagster_resources.resource import WandbResource


class WandbResourceComponent(dg.Component, dg.Model, dg.Resolvable):
    """The connection to W&B that other components use, as the resource `wandb`.

    The key is named by its variable and read where it is needed; it stands in no file and no definition.

    .. code-block:: yaml

        type: dagster_resources.WandbResourceComponent
        attributes:
          entity: my-team
          api_key_variable: WANDB_API_KEY
    """

    api_key_variable: Annotated[
        str | None,
        dg.Resolver.default(
            description="Variable that holds the API key; none looks where W&B itself looks."
        ),
    ] = None
    base_url: Annotated[
        str | None,
        dg.Resolver.default(description="W&B server; none takes WANDB_BASE_URL, else W&B's public cloud."),
    ] = None
    entity: Annotated[str | None, dg.Resolver.default(description="Default user or team.")] = None
    timeout: Annotated[
        float | None, dg.Resolver.default(description="Seconds allowed per call, retries included.")
    ] = None
    max_retries: Annotated[int, dg.Resolver.default(description="Step retries for failures that pass.")] = (
        MAX_RETRIES
    )
    retry_delay: Annotated[float, dg.Resolver.default(description="Seconds until one.")] = RETRY_DELAY
    resource_key: Annotated[str, dg.Resolver.default(description="Key of the resource.")] = "wandb"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - as the base has it
        """The resource."""
        key = self.api_key_variable
        resource = WandbResource(
            api_key=dg.EnvVar(key) if key else None,
            base_url=self.base_url,
            entity=self.entity,
            timeout=self.timeout,
            max_retries=self.max_retries,
            retry_delay=self.retry_delay,
        )
        return dg.Definitions(resources={self.resource_key: resource})
