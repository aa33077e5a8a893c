"""The plain attributes of a run: what it is, and what of that can be changed and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from wandb_ops.errors import UsageError
from wandb_ops.public.accounts.users import User
from wandb_ops.public.attrs import Attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.transport.session import Transport


class RunAttributes(Attrs):
    """What `Run` says of itself; how it is loaded and saved is there."""

    _transport: Transport
    _entity: str
    _project: str
    _run_id: str

    @property
    def _where(self) -> str:
        return f"{self._entity}/{self._project}/{self._run_id}"

    @property
    def id(self) -> str:
        """The run's identifier, the last part of its path."""
        return self._run_id

    @property
    def storage_id(self) -> str:
        """The server's own identifier of the run."""
        return str(self._attrs["id"])

    @property
    def entity(self) -> str:
        """User or team that owns the project."""
        return self._entity

    @property
    def username(self) -> str:
        """W&B's old name for `entity`."""
        return self._entity

    @property
    def project(self) -> str:
        """Name of the project."""
        return self._project

    @property
    def path(self) -> list[str]:
        """Entity, project and identifier."""
        return [self._entity, self._project, self._run_id]

    @property
    def url(self) -> str:
        """The run's page in the W&B app."""
        entity, project, run_id = (quote(part, safe="") for part in self.path)
        return f"{self._transport.settings.app_url}/{entity}/{project}/runs/{run_id}"

    @property
    def state(self) -> str:
        """running, finished, failed, crashed, killed, pending, preempting or preempted, when last looked."""
        return str(self._attrs.get("state") or "")

    @property
    def user(self) -> User | None:
        """Who started the run."""
        node = self._attrs.get("user")
        return User(node) if node else None

    @property
    def created_at(self) -> str:
        """When the run was created, ISO 8601."""
        return str(self._attrs.get("createdAt") or "")

    @property
    def heartbeat_at(self) -> str | None:
        """When the run was last heard of, ISO 8601."""
        return self._attrs.get("heartbeatAt")

    @property
    def history_line_count(self) -> int:
        """Rows in the history, when last looked."""
        return int(self._attrs.get("historyLineCount") or 0)

    @property
    def commit(self) -> str | None:
        """The git commit it ran from."""
        return self._attrs.get("commit")

    @property
    def read_only(self) -> bool:
        """Whether this account may not change it."""
        return bool(self._attrs.get("readOnly"))

    @property
    def sweep_name(self) -> str | None:
        """Identifier of the sweep it belongs to."""
        return self._attrs.get("sweepName")

    # -- what can be changed -------------------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """The name shown; `id` is the identifier."""
        return self._attrs.get("displayName")

    @name.setter
    def name(self, value: str | None) -> None:
        self._attrs["displayName"] = value

    @property
    def display_name(self) -> str | None:
        """The same as `name`."""
        return self._attrs.get("displayName")

    @display_name.setter
    def display_name(self, value: str | None) -> None:
        self._attrs["displayName"] = value

    @property
    def notes(self) -> str | None:
        """Free text about the run."""
        return self._attrs.get("notes")

    @notes.setter
    def notes(self, value: str | None) -> None:
        self._attrs["notes"] = value

    @property
    def description(self) -> str | None:
        """What W&B calls the description; old runs keep their notes there."""
        return self._attrs.get("description")

    @description.setter
    def description(self, value: str | None) -> None:
        self._attrs["description"] = value

    @property
    def group(self) -> str | None:
        """Name of the group of runs."""
        return self._attrs.get("group")

    @group.setter
    def group(self, value: str | None) -> None:
        self._attrs["group"] = value

    @property
    def job_type(self) -> str | None:
        """What kind of work the run did."""
        return self._attrs.get("jobType")

    @job_type.setter
    def job_type(self, value: str | None) -> None:
        self._attrs["jobType"] = value

    @property
    def tags(self) -> list[str]:
        """The tags; the list may be changed in place or set anew."""
        if self._attrs.get("tags") is None:
            self._attrs["tags"] = []
        tags: list[str] = self._attrs["tags"]
        return tags

    @tags.setter
    def tags(self, value: Sequence[str]) -> None:
        if isinstance(value, str) or not all(isinstance(tag, str) for tag in value):
            raise UsageError("tags is a list of texts", where=self._where)
        self._attrs["tags"] = list(dict.fromkeys(value))
