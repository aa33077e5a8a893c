"""Making a sweep: its configuration goes to the server as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import CommError, UsageError
from wandb_ops.protocol.documents.sweeps import CREATE_SWEEP
from wandb_ops.protocol.graphql import execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport


@dataclass(frozen=True, slots=True)
class CreatedSweep:
    """What the server says of a new sweep."""

    sweep_id: str
    warnings: tuple[str, ...]  # what it thinks of the configuration


def create_sweep(
    transport: Transport, *, entity: str, project: str, config: Mapping[str, Any], name: str
) -> CreatedSweep:
    """Make a sweep in a project that exists; each call makes another one.

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
        config: W&B's sweep configuration: `method`, `metric`, `parameters`, ...
        name: Shown in the app.

    Raises:
        UsageError: The configuration is not plain data.
        AmbiguousOutcome: The answer was lost: the sweep may have been made.
    """
    where = f"{entity}/{project}"
    variables = {"entity": entity, "project": project, "config": _yaml(config, where), "displayName": name}
    answer = execute(transport, CREATE_SWEEP, variables, where=where).get("upsertSweep") or {}
    sweep_id = (answer.get("sweep") or {}).get("name")
    if not sweep_id:
        raise CommError("The server did not make the sweep", where=where)
    warnings = tuple(str(one) for one in answer.get("configValidationWarnings") or ())
    return CreatedSweep(str(sweep_id), warnings)


def plain_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A configuration as it comes back from the server: a tuple, for instance, is a list there.

    Raises:
        UsageError: It is not plain data.
    """
    import yaml

    plain: dict[str, Any] = yaml.safe_load(_yaml(config, where))
    return plain


def _yaml(config: Mapping[str, Any], where: str) -> str:
    import yaml

    try:
        return str(yaml.safe_dump(dict(config), sort_keys=False))
    except yaml.YAMLError as error:
        raise UsageError(f"The configuration is not plain data: {error}", where=where) from error
