"""What a task read and wrote, told to whoever listens: Airflow's hook lineage and OpenLineage.

An operator says it once, as a `Lineage` of `Dataset`s made from the result of its step. From it come the
assets of Airflow's hook lineage collector, which any lineage backend reads, and, where the OpenLineage
provider is installed, datasets with their columns, rows and bytes. Neither is needed: without a listener
nothing happens, and no library of theirs is imported.

W&B's objects are named by URIs that are good for Airflow's own assets as well:

=====================================  ===============================================
``wandb://entity/project``             a project
``wandb://entity/project/runs/run_id``  a run
``wandb://entity/project/name``        a collection of artifacts, whatever the version
=====================================  ===============================================
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.sdk import Asset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseHook

log = logging.getLogger("wandb_ops.airflow")

SCHEME = "wandb"
MOST_COLUMNS = 200
"""Columns told of one dataset: an event of lineage is a message, no place for ten thousand names."""

_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss"}
_CONTAINER_BEFORE_AT = frozenset({"abfs", "abfss", "wasb", "wasbs"})


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Something that a task read or wrote.

    :param uri: an address: ``wandb://``, ``s3://`` and so on, or a path of the worker's own disk.
    :param columns: names and types, as far as they are known.
    :param rows: of this very writing; None when nobody counted.
    :param size: likewise, in bytes.
    :param version: of the content, where it has one.
    """

    uri: str
    columns: tuple[tuple[str, str], ...] = ()
    rows: int | None = None
    size: int | None = None
    version: str | None = None

    @property
    def asset_uri(self) -> str:
        """The URI as Airflow's assets have it: a local path is one of ``file://``.

        Neither a user nor a query is part of it: both may be credentials, as in a signed address.
        """
        if "://" not in self.uri:
            return f"file://{Path(self.uri).absolute().as_posix()}"
        parts = urlsplit(self.uri)
        host = parts.netloc
        if parts.scheme not in _CONTAINER_BEFORE_AT:
            host = host.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    @property
    def place(self) -> tuple[str, str]:
        """OpenLineage's namespace and name, by its naming rules for object stores and files."""
        parts = urlsplit(self.asset_uri)
        if parts.scheme == "file":
            return "file", parts.path
        return f"{_ALIASES.get(parts.scheme, parts.scheme)}://{parts.netloc}", parts.path.strip("/") or "/"


@dataclass(frozen=True)
class Lineage:
    """What one task read and wrote."""

    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()


def project_uri(result: Mapping[str, Any]) -> str:
    """The project of a result that has ``entity`` and ``project``."""
    return f"{SCHEME}://{result['entity']}/{result['project']}"


def run_uri(path: str) -> str:
    """The run of ``entity/project/run_id``."""
    entity, project, run_id = path.split("/", 2)
    return f"{SCHEME}://{entity}/{project}/runs/{run_id}"


def artifact_dataset(result: Mapping[str, Any]) -> Dataset:
    """The collection of `wandb_ops.steps.ArtifactResult` as JSON, with its version and size."""
    return Dataset(
        uri=f"{project_uri(result)}/{result['name']}", size=result["size"], version=result["version"]
    )


def columns_of(columns: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """Names and types of `wandb_ops.steps.ColumnInfo` as JSON, the first `MOST_COLUMNS` of them."""
    return tuple((column["name"], column["type"]) for column in columns)[:MOST_COLUMNS]


def tell_collector(hook: BaseHook, lineage: Lineage) -> None:
    """Tell Airflow's hook lineage collector, which drops it unless a lineage backend reads it.

    What makes no asset, such as an address of more than 1500 characters, is logged and left out: the task has
    done its work.

    :param hook: who touched the data.
    :param lineage: what was touched.
    """
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]  # Airflow's own gap
    for add, datasets in (
        (collector.add_input_asset, lineage.inputs),
        (collector.add_output_asset, lineage.outputs),
    ):
        for one in datasets:
            known = {"rows": one.rows, "bytes": one.size, "version": one.version}
            extra = {name: value for name, value in known.items() if value is not None}
            try:
                add(hook, uri=one.asset_uri, asset_extra=extra or None)
            except ValueError as error:
                log.warning("No lineage of %.200s: %s", one.asset_uri, error)


def operator_lineage(lineage: Lineage) -> OperatorLineage:
    """The same for OpenLineage; its provider is installed, since only it asks.

    :param lineage: what was touched.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(
        inputs=[_input(one) for one in lineage.inputs], outputs=[_output(one) for one in lineage.outputs]
    )


def _input(one: Dataset) -> Any:
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    namespace, name = one.place
    return InputDataset(namespace=namespace, name=name, facets=_facets(one))


def _output(one: Dataset) -> Any:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )

    namespace, name = one.place
    counted: dict[str, Any] = {}
    if one.rows is not None or one.size is not None:
        counted["outputStatistics"] = OutputStatisticsOutputDatasetFacet(rowCount=one.rows, size=one.size)
    return OutputDataset(namespace=namespace, name=name, facets=_facets(one), outputFacets=counted)


def _facets(one: Dataset) -> dict[str, Any]:
    from airflow.providers.common.compat.openlineage.facet import SchemaDatasetFacet, SchemaDatasetFacetFields

    found: dict[str, Any] = {}
    if one.columns:
        fields = [SchemaDatasetFacetFields(name=name, type=kind) for name, kind in one.columns]
        found["schema"] = SchemaDatasetFacet(fields=fields)
    if one.version is not None:
        from openlineage.client.facet_v2 import dataset_version_dataset

        found["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=one.version)
    return found


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Airflow's check of a ``wandb://`` asset: it names an entity and a project at least.

    :raises ValueError: it does not.
    """
    if not uri.netloc or not uri.path.strip("/"):
        raise ValueError("A W&B asset is wandb://entity/project, .../runs/run_id or .../artifact")
    return uri


def create_asset(*, entity: str, project: str, name: str | None = None, extra: Any = None) -> Asset:
    """The asset of a project, or of the collection `name` in it."""
    below = f"/{name}" if name else ""
    return Asset(uri=f"{SCHEME}://{entity}/{project}{below}", extra=extra)


def to_openlineage(asset: Asset, lineage_context: Any) -> Any:  # noqa: ARG001 - the signature is Airflow's
    """The OpenLineage dataset of a ``wandb://`` asset among a task's inlets and outlets."""
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    namespace, name = Dataset(uri=asset.uri).place
    return OpenLineageDataset(namespace=namespace, name=name)
