"""Runs as dynamic partitions: the partition key is the run id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg

from wandb_ops.errors import UnsafePath

# What Dagster refuses in partition keys; W&B ids hardly ever have one.
_NOT_IN_A_KEY = ("...", "\a", "\b", "\f", "\n", "\r", "\t", "\v", "\0")


def run_partitions(project: str, entity: str | None = None) -> dg.DynamicPartitionsDefinition:
    """The partitions of a project's runs.

    Names of dynamic partitions are shared by all of a Dagster instance, so the name holds entity and
    project as W&B spells them. Equal arguments give equal definitions: assets and sensor meet here.
    """
    return dg.DynamicPartitionsDefinition(
        name="/".join(["wandb", *([entity] if entity else []), project, "runs"])
    )


def usable_as_partition(run_id: str) -> bool:
    """Whether Dagster takes this run id as a partition key."""
    return bool(run_id) and not any(text in run_id for text in _NOT_IN_A_KEY)


def partition_path(folder: str, partition_key: str, suffix: str = "") -> str:
    """`folder/partition_key` + suffix, for a folder or a URL.

    Raises:
        UnsafePath: The key would leave the folder.
    """
    if partition_key in {"", ".", ".."} or any(char in partition_key for char in "/\\\0"):
        raise UnsafePath(f"{partition_key!r} cannot name a file", where=folder)
    return f"{folder.rstrip('/')}/{partition_key}{suffix}"


def run_deps(deps: Iterable[Any]) -> list[dg.AssetDep]:
    """Dependencies of an asset partitioned by run: on all partitions of what is partitioned otherwise.

    A dependency given as `AssetDep` keeps the mapping it has.
    """
    return [
        dep if isinstance(dep, dg.AssetDep) else dg.AssetDep(dep, partition_mapping=dg.AllPartitionMapping())
        for dep in deps
    ]
