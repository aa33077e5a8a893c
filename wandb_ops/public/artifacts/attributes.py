"""What is known of an artifact, as properties; `Artifact` adds what can be done with one."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wandb_ops.errors import ProtocolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport

TTL_INHERITED, TTL_OFF = -1, -2
_FORBIDDEN = frozenset("/:")


class ArtifactTTL(Enum):
    """`INHERIT`: the time to live that the team or organisation set."""

    INHERIT = 0


def check_labels(kind: str, values: object) -> list[str]:
    """Aliases or tags: a list of texts without / and :.

    Raises:
        UsageError: They are not.
    """
    given = [values] if isinstance(values, str) else list(values)  # type: ignore[call-overload]  # checked below
    for value in given:
        if not isinstance(value, str) or not value or _FORBIDDEN & set(value):
            raise UsageError(f"{kind} are texts without / and :, not {value!r}")
    return list(dict.fromkeys(given))


def check_metadata(value: object) -> dict[str, Any]:
    """Metadata as plain JSON.

    Raises:
        UsageError: It is no dict of JSON's values.
    """
    try:
        found = json.loads(json.dumps(value if value is not None else {}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"metadata is a dict of JSON's values: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"metadata is a dict, not {type(value).__name__}")
    return found


class ArtifactAttributes:
    """The properties of an artifact, and the local changes to them."""

    _node: Mapping[str, Any] | None
    _entity: str
    _project: str
    _name: str
    _version: str
    _type: str
    _where: str
    _transport: Transport | None

    def _take_editable(self, node: Mapping[str, Any], aliases: list[str]) -> None:
        """Become what the server says, and forget what was not saved."""
        self._description: str | None = node.get("description")
        text = node.get("metadata")
        try:
            self._metadata: dict[str, Any] = json.loads(text) if text else {}
        except ValueError as error:
            raise ProtocolError("The artifact's metadata is not JSON", where=self._where) from error
        self._tags: list[str] = [tag["name"] for tag in node.get("tags") or ()]
        self._aliases: list[str] = aliases
        self._ttl_seconds = int(node.get("ttlDurationSeconds") or TTL_INHERITED)
        if node.get("ttlIsInherited") and self._ttl_seconds < 0:
            self._ttl_seconds = TTL_INHERITED
        self._remember()

    def _remember(self) -> None:
        self._saved = self._state()

    def _unsaved(self) -> bool:
        """Whether there are changes that `save()` would send, or refuse."""
        try:
            return self._state() != self._saved
        except (TypeError, ValueError):  # metadata that is no JSON
            return True

    def _state(self) -> dict[str, Any]:
        return {
            "description": self._description,
            "metadata": json.dumps(self._metadata, sort_keys=True),
            "tags": list(self._tags),
            "aliases": list(self._aliases),
            "ttl": self._ttl_seconds,
        }

    def _known(self) -> Mapping[str, Any]:
        if self._node is None:
            raise UsageError(
                "The artifact is not logged yet",
                where=self._where,
                hint="Log it to a run: run.log_artifact(artifact).",
            )
        return self._node

    def _need_transport(self) -> Transport:
        self._known()
        assert self._transport is not None
        return self._transport

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def id(self) -> str | None:
        """The server's identifier; None before it is logged."""
        return str(self._node["id"]) if self._node is not None else None

    @property
    def name(self) -> str:
        """`collection:version` (or the alias that it was asked for by); before it is logged, its name."""
        return self._name

    @property
    def type(self) -> str:
        """What kind of artifact it is, such as "dataset" or "model"."""
        return self._type

    @property
    def entity(self) -> str:
        """User or team whose project it was found in."""
        self._known()
        return self._entity

    @property
    def project(self) -> str:
        """Project that it was found in."""
        self._known()
        return self._project

    @property
    def version(self) -> str:
        """`v0`, `v1`, ... in the collection that it was found in."""
        self._known()
        return self._version

    @property
    def qualified_name(self) -> str:
        """`entity/project/name`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def source_entity(self) -> str:
        """User or team whose run logged it; empty where this account may not see it."""
        return str(((self._source().get("project") or {}).get("entity") or {}).get("name") or "")

    @property
    def source_project(self) -> str:
        """Project whose run logged it; empty where this account may not see it."""
        return str((self._source().get("project") or {}).get("name") or "")

    @property
    def source_name(self) -> str:
        """`collection:version` where it was logged; before it is logged, its name."""
        if self._node is None:
            return self._name
        return f"{self._source()['name']}:{self.source_version}"

    @property
    def source_version(self) -> str:
        """`v0`, `v1`, ... where it was logged."""
        return f"v{self._known()['versionIndex']}"

    @property
    def source_qualified_name(self) -> str:
        """`entity/project/name` where it was logged."""
        return f"{self.source_entity}/{self.source_project}/{self.source_name}"

    def _source(self) -> Mapping[str, Any]:
        source: Mapping[str, Any] = self._known()["artifactSequence"]
        return source

    @property
    def is_link(self) -> bool:
        """Whether it was found in a collection that it is only linked to."""
        if self._node is None:
            return False
        here = (self._entity, self._project, self._name.partition(":")[0])
        return here != (self.source_entity, self.source_project, self._source()["name"])

    @property
    def state(self) -> str:
        """PENDING before it is logged, then COMMITTED."""
        return str(self._node["state"]) if self._node is not None else "PENDING"

    def is_draft(self) -> bool:
        """Whether it is not logged yet."""
        return self.state == "PENDING"

    @property
    def digest_algorithm(self) -> str:
        """How `digest` is made."""
        return "MANIFEST_MD5"

    @property
    def incremental(self) -> bool:
        """Whether several runs write the version together; never, here."""
        return False

    @property
    def use_as(self) -> str | None:
        """None; deprecated."""
        return None

    def json_encode(self) -> dict[str, Any]:
        """What names the version in a run's config or a job's inputs."""
        return {
            "_type": "artifactVersion",
            "_version": "v0",
            "id": self.id,
            "version": self.source_version,
            "sequenceName": self._source()["name"],
            "usedAs": self.use_as,
        }

    @property
    def commit_hash(self) -> str:
        """The server's short name of the version."""
        return str(self._known()["commitHash"])

    @property
    def file_count(self) -> int:
        """Files and references in it."""
        return int(self._known()["fileCount"])

    @property
    def created_at(self) -> str:
        """When it was made, ISO 8601."""
        return str(self._known()["createdAt"])

    @property
    def updated_at(self) -> str:
        """When it was last changed, ISO 8601."""
        return str(self._known()["updatedAt"] or self._known()["createdAt"])

    @property
    def history_step(self) -> int | None:
        """The last step of the run's history when it was logged; None when the server was not told."""
        step = self._known()["historyStep"]
        return None if step is None else max(0, int(step) - 1)

    @property
    def url(self) -> str:
        """The version's page in the W&B app; empty before it is logged."""
        if self._transport is None or self._node is None:
            return ""
        parts = [self._entity, self._project, "artifacts", self._type, self._name.partition(":")[0]]
        path = "/".join(quote(part, safe="") for part in [*parts, self._version])
        return f"{self._transport.settings.app_url}/{path}"

    # -- what can be changed, and is saved by `save()` -----------------------------------------------------

    @property
    def description(self) -> str | None:
        """Free text."""
        return self._description

    @description.setter
    def description(self, value: str | None) -> None:
        self._description = value

    @property
    def metadata(self) -> dict[str, Any]:
        """A dict of JSON's values."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        self._metadata = check_metadata(dict(value))

    @property
    def aliases(self) -> list[str]:
        """Names of this version in its collection, besides `vN`: change the list, or assign a new one."""
        self._known()
        return self._aliases

    @aliases.setter
    def aliases(self, value: list[str]) -> None:
        self._known()
        self._aliases = check_labels("aliases", value)

    @property
    def tags(self) -> list[str]:
        """Tags of this version: change the list, or assign a new one."""
        self._known()
        return self._tags

    @tags.setter
    def tags(self, value: list[str]) -> None:
        self._known()
        self._tags = check_labels("tags", value)

    @property
    def ttl(self) -> timedelta | None:
        """How long it is kept; None is for ever, or what the team set."""
        return timedelta(seconds=self._ttl_seconds) if self._ttl_seconds > 0 else None

    @ttl.setter
    def ttl(self, value: timedelta | ArtifactTTL | None) -> None:
        if self.is_link:
            raise UsageError("A linked artifact lives as long as its source", where=self._where)
        if isinstance(value, ArtifactTTL):
            self._ttl_seconds = TTL_INHERITED
        elif value is None:
            self._ttl_seconds = TTL_OFF
        elif isinstance(value, timedelta) and value.total_seconds() >= 1:
            self._ttl_seconds = int(value.total_seconds())
        else:
            raise UsageError(f"ttl is a timedelta of a second or more, not {value!r}", where=self._where)
