"""Media as values of a run's history and summary: their JSON, and what is stored beside it.

A table becomes two things, as with W&B's SDK: a file of the run with its first rows, and an artifact of type
`run_table` with all of it. The names of files are made from content, key and step, and the identity of an
artifact from its content, so that a repeated call stores nothing twice.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError
from wandb_ops.protocol.artifacts import NewVersion, Source, store
from wandb_ops.protocol.manifest import Entry, md5_of_bytes
from wandb_ops.protocol.storage import name_problem, upload_run_files
from wandb_ops.public.media.base import Files, Media
from wandb_ops.public.media.html import Html
from wandb_ops.public.media.image import Image, images_group
from wandb_ops.public.media.table import Table
from wandb_ops.public.runs.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport

_WORKERS = 8
_LONGEST_NAME = 128
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-.]")


@dataclass
class RunMedia:
    """Converts the values of one run's rows, and keeps what is to be stored before the rows are.

    Args:
        entity: The run's entity.
        project: The run's project.
        run_id: The run's id.
    """

    entity: str
    project: str
    run_id: str
    files: dict[str, bytes] = field(default_factory=dict)
    tables: list[NewVersion] = field(default_factory=list)

    def row(self, row: Mapping[str, Any], step: int | None) -> dict[str, Any]:
        """A row with JSON in place of media; the rest is left as it is.

        Args:
            row: Values by key.
            step: The history's step; None for the summary.

        Raises:
            UsageError: Media of different kinds are in one list, or the key cannot be part of a file's name.
        """
        return {key: self._value(value, str(key), step) for key, value in row.items()}

    def _value(self, value: Any, key: str, step: int | None) -> Any:
        if isinstance(value, Media):
            return self._one(value, key, step)
        if isinstance(value, Histogram):
            return value.to_json()
        if type(value) is dict and holds_media(value):
            return {inner: self._value(item, str(inner), step) for inner, item in value.items()}
        if isinstance(value, (list, tuple)) and holds_media(value):
            return self._several(list(value), key, step)
        return value

    def _one(self, value: Media, key: str, step: int | None) -> dict[str, Any]:
        files = self._begin(key, step)
        found = (
            value._logged(files) | self._table(value, key, step)
            if isinstance(value, Table)
            else value._stored(files)
        )
        self.files |= files.found
        return found

    def _several(self, found: list[Any], key: str, step: int | None) -> Any:
        kinds = {type(item) for item in found}
        if kinds == {Histogram}:
            return [item.to_json() for item in found]
        files = self._begin(key, step)
        if kinds == {Image}:
            if len(found) > Image.MAX_ITEMS:
                raise UsageError(f"One key has at most {Image.MAX_ITEMS} images, not {len(found)}", where=key)
            shown: Any = images_group(found, files)
        elif kinds == {Html}:
            shown = {"_type": "html", "count": len(found), "html": [item._stored(files) for item in found]}
        elif kinds == {Table}:
            return [self._one(item, key, step) for item in found]
        else:
            raise UsageError("A list of media has one kind of them", where=key)
        self.files |= files.found
        return shown

    def _begin(self, key: str, step: int | None) -> Files:
        if name_problem(f"media/{key}_0"):
            raise UsageError(
                f"The key {key!r} cannot be part of a file's name", hint="Choose another key for it."
            )
        return Files(key, step)

    def _table(self, table: Table, key: str, step: int | None) -> dict[str, str]:
        """The addresses of a table's artifact, as this side knows them before it is stored."""
        files = Files()
        name = f"{key}.table.json"
        content = {name: json.dumps(table._stored(files), sort_keys=True).encode()} | files.found
        version = NewVersion(
            entity=self.entity,
            project=self.project,
            run_id=self.run_id,
            name=table_artifact_name(self.run_id, key),
            type="run_table",
            entries={
                path: Entry(path=path, digest=md5_of_bytes(data), size=len(data))
                for path, data in content.items()
            },
            sources={path: Source(data=data) for path, data in content.items()},
            aliases=["latest"],
            history_step=step or None,  # as the SDK, which has none to tell at the first step
        )
        before = next((each for each in reversed(self.tables) if each.name == version.name), None)
        if before is None or before.client_id != version.client_id:
            self.tables.append(version)
        scheme = "wandb-client-artifact"
        return {
            "artifact_path": f"{scheme}://{version.client_id}/{name}",
            "_latest_artifact_path": f"{scheme}://{version.sequence_client_id}:latest/{name}",
        }

    def save(self, transport: Transport) -> None:
        """Store files and tables; what the server has already is not sent again, or replaces itself."""
        upload_run_files(
            transport,
            entity=self.entity,
            project=self.project,
            run_id=self.run_id,
            files=self.files,
            workers=_WORKERS,
        )
        for version in self.tables:  # in their order: `latest` is the last one, be it an old one again
            store(transport, version)
        self.files, self.tables = {}, []


def holds_media(value: Any, kinds: tuple[type, ...] = (Media, Histogram)) -> bool:
    """Whether there is something to convert in a value: an object of these kinds."""
    if isinstance(value, kinds):
        return True
    if isinstance(value, dict):
        return any(holds_media(item, kinds) for item in value.values())
    return isinstance(value, (list, tuple)) and any(holds_media(item, kinds) for item in value)


def table_artifact_name(run_id: str, key: str) -> str:
    """The name of the artifact of a logged table: W&B's own, told apart where characters are left out.

    Raises:
        UsageError: It would be too long.
    """
    wanted = f"run-{run_id}-{key}"
    name = _FORBIDDEN.sub("", wanted)
    if name != wanted:
        mark = base64.urlsafe_b64encode(zlib.crc32(wanted.encode()).to_bytes(4, "big")).decode().rstrip("=")
        name = f"{name}-{mark}"
    if len(name) > _LONGEST_NAME:
        raise UsageError(f"The key {key[:40]!r}... is too long for a table", hint="Choose a shorter one.")
    return name


__all__ = ["RunMedia", "holds_media", "table_artifact_name"]
