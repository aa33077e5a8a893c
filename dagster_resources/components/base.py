"""What the components of assets share: common attributes, and what `dg scaffold defs` writes for them."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import dagster as dg
from dagster.components.resolved.core_models import (
    DailyPartitionsDefinitionModel,
    HourlyPartitionsDefinitionModel,
    TimeWindowPartitionsDefinitionModel,
    WeeklyPartitionsDefinitionModel,
)
from dagster.components.utils.translation import TranslationFnResolver
from pydantic import BaseModel, ConfigDict, Field

from dagster_resources.translator import WandbProps, WandbTranslator

Windows = (
    HourlyPartitionsDefinitionModel
    | DailyPartitionsDefinitionModel
    | WeeklyPartitionsDefinitionModel
    | TimeWindowPartitionsDefinitionModel
)
Translation = Annotated[
    Callable[[dg.AssetSpec, WandbProps], dg.AssetSpec] | None,
    TranslationFnResolver[WandbProps](lambda props: {"props": props}),
]
Options = Annotated[
    Mapping[str, Any] | None,
    dg.Resolver.default(description="Options of the store, by fsspec's names; secrets as `{{ env.NAME }}`."),
]
Filters = Annotated[
    Mapping[str, Any] | None,
    dg.Resolver.default(description="Only runs that match, in W&B's filter language."),
]


class WandbExportParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    project: str = Field(default="my-project", description="W&B project.")
    destination: str = Field(default="exports", description="Folder, or URL of one.")


class WandbScaffolder(dg.Scaffolder[Any]):
    """Writes a `defs.yaml` that loads as it is: with the attributes that a component must have."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write it into the folder that was asked for."""
        dg.scaffold_component(request, request.params.model_dump() if request.params else None)


class WandbExportScaffolder(WandbScaffolder):
    """For what goes from a project to a destination."""

    @classmethod
    def get_scaffold_params(cls) -> type[Any]:
        """`--project` and `--destination`."""
        return WandbExportParams


class WandbComponent(dg.Component, dg.Model, dg.Resolvable):
    """What the components of assets share."""

    # Partitions are no pydantic models.
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    project: Annotated[
        str, dg.Resolver.default(description="W&B project, as W&B spells it.", examples=["mnist"])
    ]
    entity: Annotated[
        str | None, dg.Resolver.default(description="User or team; none takes the resource's default.")
    ] = None
    translation: Translation = None
    pool: Annotated[str | None, dg.Resolver.default(description="Concurrency pool.")] = "wandb"
    resource_key: Annotated[str, dg.Resolver.default(description="Key of the resource `WandbResource`.")] = (
        "wandb"
    )

    def get_asset_spec(self, props: WandbProps) -> dg.AssetSpec:
        """The spec of the asset: override it, or use `translation`."""
        spec = WandbTranslator().get_asset_spec(props)
        return spec if self.translation is None else self.translation(spec, props)

    def shared(self) -> dict[str, Any]:
        """The arguments that all builders take."""
        return {
            "project": self.project,
            "entity": self.entity,
            "translator": _ComponentTranslator(self),
            "pool": self.pool,
            "resource_key": self.resource_key,
        }


class _ComponentTranslator(WandbTranslator):
    def __init__(self, component: WandbComponent) -> None:
        self._component = component

    def get_asset_spec(self, props: WandbProps) -> dg.AssetSpec:
        return self._component.get_asset_spec(props)
