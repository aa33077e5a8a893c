"""Where an artifact or a collection is: `entity/project/name` and shorter, with `:version` or `:alias`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from wandb_ops.errors import UsageError

_LONGEST = 128
_RESERVED_TYPE = "wandb-"  # what begins so, W&B's servers make themselves
_HINT = "Write an artifact as entity/project/name:version, or name:alias with defaults from the settings."


@dataclass(frozen=True, slots=True)
class ArtifactPath:
    """A collection or version: `name` may end in `:version` or `:alias`."""

    entity: str
    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.name}"


def split_artifact_path(path: str) -> tuple[str | None, str | None, str]:
    """Entity, project and name, as far as the path names them.

    Raises:
        UsageError: It is no path of an artifact.
    """
    if not isinstance(path, str) or not path.strip("/ "):
        raise UsageError(f"An artifact is named by text, not {path!r}", hint=_HINT)
    place, colon, alias = path.strip("/ ").partition(":")
    parts = place.split("/")
    if len(parts) > 3 or "" in parts or (colon and not alias) or "/" in alias:
        raise UsageError(f"{path!r} is not the path of an artifact", hint=_HINT)
    entity, project, name = ([None] * (3 - len(parts))) + parts
    assert name is not None
    return entity, project, f"{name}{colon}{alias}"


def parse_artifact_path(path: str, entity: str, project: str) -> ArtifactPath:
    """The place that a path means, with these defaults. Errors as `split_artifact_path`."""
    found_entity, found_project, name = split_artifact_path(path)
    return ArtifactPath(found_entity or entity, found_project or project, name)


def check_name(name: str) -> str:
    """A name for an artifact or a type.

    Raises:
        UsageError: It is empty, too long, or has a / or : in it.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST or "/" in name or ":" in name:
        raise UsageError(
            f"A name has 1 to {_LONGEST} characters, without / and :, not {str(name)[: _LONGEST + 2]!r}"
        )
    return name


def check_type(kind: str) -> str:
    """A type for a new artifact.

    Raises:
        UsageError: It cannot be one, or W&B keeps it for itself.
    """
    if check_name(kind).startswith(_RESERVED_TYPE):
        raise UsageError(f"W&B keeps the type {kind!r} for itself", hint="Choose another type.")
    return kind


def logical(name: str | os.PathLike[str]) -> str:
    """A name in an artifact: forward slashes, nothing superfluous."""
    return PurePosixPath(os.fspath(name).replace(os.sep, "/")).as_posix()
