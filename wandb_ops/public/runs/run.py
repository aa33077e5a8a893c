"""`Run`: one run, to read and to change."""

from __future__ import annotations

import logging
import secrets
import string
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wandb_ops.errors import AmbiguousOutcome, Error, NotFoundError, UsageError
from wandb_ops.polling import NotYet, wait_for
from wandb_ops.protocol.documents import runs as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.protocol.states import TERMINAL_STATES
from wandb_ops.public import late
from wandb_ops.public.attrs import iframe
from wandb_ops.public.document import Document, parse_object
from wandb_ops.public.paths import DEFAULT_PROJECT
from wandb_ops.public.runs.artifacts import ArtifactUse
from wandb_ops.public.runs.attached import AttachedFiles
from wandb_ops.public.runs.attributes import RunAttributes
from wandb_ops.public.runs.reading import RunReading
from wandb_ops.public.runs.saving import FIELDS, Edits, save
from wandb_ops.public.runs.summary import HTTPSummary

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.public.api import Api
    from wandb_ops.public.sweeps import Sweep, SweepBook
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.public")

_ID_CHARACTERS = string.ascii_lowercase + string.digits
#: Fields that a light page of runs leaves out.
HEAVY_FIELDS = ("config", "summaryMetrics", "systemMetrics", "historyKeys")


class HeavyLoader(Protocol):
    """Fetches the heavy fields for several runs at once."""

    def load_heavy(self) -> None: ...


class Run(ArtifactUse, RunReading, AttachedFiles, RunAttributes):
    """One run.

    Changes to `config`, `summary`, `name`, `notes`, `description`, `tags`, `group` and `job_type` are local
    until `update()`.

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
        run_id: The run's identifier.
        attrs: The run's node, where it is known; else it is fetched.
        loader: Fetches the heavy fields that `attrs` lacks.
        sweep_book: Knows the run's sweep, together with those of other runs.

    Raises:
        NotFoundError: There is no such run, or this account may not see it.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        run_id: str,
        attrs: Mapping[str, Any] | None = None,
        *,
        loader: HeavyLoader | None = None,
        sweep_book: SweepBook | None = None,
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._project = project
        self._run_id = run_id
        self._loader = loader
        self._sweep_book = sweep_book
        self._attrs = {}
        self._config = Document(None, where=f"config of {self._where}", wrapped=True)
        self._summary_document = Document(None, where=f"summary of {self._where}", wrapped=False)
        self._summary: HTTPSummary | None = None
        self._metadata = None
        self._take(self._fetch() if attrs is None else attrs)

    @classmethod
    def create(
        cls,
        api: Api,
        run_id: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        state: Literal["running", "pending"] = "running",
    ) -> Run:
        """Create a run; `Api.create_run` with a choice of the state.

        Args:
            api: Where to.
            run_id: Its identifier; None makes one up. One that exists is opened again, with a warning.
            project: Name of the project, made if missing; None is the default one, else "uncategorized".
            entity: User or team; None is the default one.
            state: "running", or "pending" for a run that something else is to begin.

        Raises:
            UsageError: Another state was asked for.
        """
        if state not in {"running", "pending"}:
            raise UsageError(f"A run is created 'running' or 'pending', not {state!r}")
        made = upsert_run(
            api.transport,
            entity=api.entity_or_default(entity),
            project=project or api.settings.get("project") or DEFAULT_PROJECT,
            run_id=run_id or random_run_id(),
            state=state,
        )
        if not made.inserted:
            logger.warning("%s/%s/%s existed already", made.entity, made.project, made.run_id)
        return cls(api.transport, made.entity, made.project, made.run_id)

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters: a plain dict, without what the W&B client writes there for itself."""
        self._need("config")
        return self._config.now

    @config.setter
    def config(self, value: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping):
            raise UsageError(f"config is a dict, not {type(value).__name__}", where=self._where)
        given = dict(value)
        self.config.clear()
        self.config.update(given)

    @property
    def rawconfig(self) -> dict[str, Any]:
        """The config together with the W&B client's own keys."""
        self._need("config")
        return self._config.internal | self._config.now

    @property
    def json_config(self) -> str:
        """The config as the JSON text in which W&B keeps it, changes included."""
        self._need("config")
        return self._config.text_with(self._config.now)

    @property
    def summary(self) -> HTTPSummary:
        """The last, or best, values: dict-like, saved by its `update()` or the run's."""
        if self._summary is None:
            self._summary = HTTPSummary(self)
        return self._summary

    @property
    def summary_metrics(self) -> dict[str, Any]:
        """The summary as a plain dict."""
        return self._summary_values()

    @property
    def system_metrics(self) -> dict[str, Any]:
        """The last measurements of the machine."""
        return parse_object(self._need("systemMetrics"), f"system metrics of {self._where}")

    @property
    def sweep(self) -> Sweep | None:
        """The sweep that it belongs to; None when it belongs to none, or that is gone."""
        if not self.sweep_name:
            return None
        if self._sweep_book is None:
            self._sweep_book = late.sweep_book_class(self._transport, self._entity, self._project)
        return self._sweep_book.get(self.sweep_name)

    # -- reading and writing the run itself ----------------------------------------------------------------

    def load(self, force: bool = False) -> dict[str, Any]:
        """The run's node.

        Args:
            force: Ask the server; changes that were not saved are dropped.

        Raises:
            NotFoundError: The run is gone.
        """
        if force or not self._attrs:
            self._take(self._fetch())
        return self._attrs

    def load_full_data(self, force: bool = False) -> dict[str, Any]:
        """The run's node with config, summary and system metrics, for runs of a light list."""
        if force:
            return self.load(force=True)
        for field in HEAVY_FIELDS:
            self._need(field)
        return self._attrs

    def update(self) -> None:
        """Save the changes made to this object.

        The run is read again and only what was changed here is put onto it, so what others wrote since this
        object was loaded stays. Where both changed the same key this side wins, and a warning is logged.
        Without a change nothing is sent.

        Raises:
            NotFoundError: The run is gone; it is not made anew.
        """
        self._save(everything=True)

    def save(self) -> None:
        """The same as `update()`."""
        self.update()

    def delete(self, delete_artifacts: bool = False) -> None:
        """Delete the run, for good.

        Args:
            delete_artifacts: Delete the artifacts that the run logged, too.
        """
        variables = {"id": self.storage_id, "deleteArtifacts": delete_artifacts}
        try:
            execute(self._transport, documents.DELETE_RUN, variables, where=self._where)
        except AmbiguousOutcome:
            try:
                self._fetch()
            except NotFoundError:
                return
            raise

    def stop(self) -> None:
        """Ask the process that writes the run to stop; returns at once."""
        from wandb_ops.protocol.documents.write import STOP_RUN

        execute(self._transport, STOP_RUN, {"id": self.storage_id}, where=self._where)

    def update_state(self, state: str) -> bool:
        """Set the state to `pending` (to be run again) or `failed`; whether the server did it.

        Raises:
            UsageError: Another state was asked for.
        """
        if state not in {"pending", "failed"}:
            raise UsageError(f"A state can be set to 'pending' or 'failed', not {state!r}", where=self._where)
        variables = {"input": {"id": self.storage_id, "state": state}}
        data = execute(self._transport, documents.UPDATE_RUN_STATE, variables, where=self._where)
        done = bool((data.get("updateRunState") or {}).get("success"))
        if done:
            self._attrs["state"] = state
        return done

    def wait_until_finished(
        self,
        *,
        timeout: float | None = None,
        poll_interval: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wait until the run is finished, failed, crashed, killed or preempted; `state` then says which.

        Args:
            timeout: Seconds to wait at most; None is for ever.
            poll_interval: Seconds between two looks.
            sleep: For tests.
            clock: For tests.

        Raises:
            WaitTimeout: The run was still going on.
            CommError: W&B was away for several looks in a row; fewer than that do not end the wait.
            NotFoundError: The run was deleted.
            UsageError: `poll_interval` is not positive, or `timeout` negative.
        """

        def look() -> str | NotYet:
            state = self._attrs["state"] = self._fetch_state()
            return state if state in TERMINAL_STATES else NotYet(state)

        wait_for(
            look,
            what="The run",
            where=self._where,
            timeout=timeout,
            poll_interval=poll_interval,
            sleep=sleep,
            clock=clock,
        )

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """HTML that shows the run's page in a notebook."""
        return iframe(self.url, height=height, hidden=hidden, what="run")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'/'.join(self.path)} ({self.state})>"

    # -- inside --------------------------------------------------------------------------------------------

    def _attr(self, field: str) -> Any:
        return self._need(field) if field in HEAVY_FIELDS else self._attrs[field]

    def _need(self, field: str) -> Any:
        """The value of a heavy field, loaded when it did not come with the page."""
        if field not in self._attrs and self._loader is not None:
            self._loader.load_heavy()
        if field not in self._attrs:
            self._take_heavy(self._fetch())
        return self._attrs.get(field)

    def _take_heavy(self, node: Mapping[str, Any]) -> None:
        """Complete a light node."""
        self._config.replace(node.get("config"))
        self._summary_document.replace(node.get("summaryMetrics"))
        # Last: other threads take the attributes as the sign that the rest is there.
        self._attrs.update({field: node.get(field) for field in HEAVY_FIELDS})

    def _take(self, node: Mapping[str, Any]) -> None:
        """Become what the server says, and forget what was not saved."""
        self._attrs = dict(node)
        self._fields = {field: node.get(field) for field in FIELDS}
        self._tags = list(node.get("tags") or [])
        self._attrs["tags"] = list(self._tags)
        if "config" in node:
            self._config.replace(node["config"])
        if "summaryMetrics" in node:
            self._summary_document.replace(node["summaryMetrics"])
        if self._summary is not None:
            self._summary._touched.clear()

    def _fetch(self) -> dict[str, Any]:
        return self._query(documents.RUN)

    def _fetch_state(self) -> str:
        return str(self._query(documents.RUN_STATE)["state"])

    def _query(self, operation: Any) -> dict[str, Any]:
        variables = {"entity": self._entity, "project": self._project, "name": self._run_id}
        data = execute(self._transport, operation, variables, where=self._where)
        project = data.get("project")
        if project is None:
            raise NotFoundError("There is no such project", where=f"{self._entity}/{self._project}")
        if project.get("run") is None:
            raise NotFoundError("There is no such run", where=self._where)
        run: dict[str, Any] = project["run"]
        return run

    def _summary_values(self) -> dict[str, Any]:
        self._need("summaryMetrics")
        return self._summary_document.now

    def _save_summary(self) -> None:
        self._save(everything=False)

    def _save(self, *, everything: bool) -> None:
        edits = self._edits(everything=everything)
        if not edits:
            return
        if self._summary is not None:
            self._summary._store_media(self._transport)
        node = save(self._transport, edits, fetch=self._fetch, where=self._where)
        if everything:
            self._take(node)
        else:
            self._attrs["summaryMetrics"] = node.get("summaryMetrics")
            self._summary_document.replace(node.get("summaryMetrics"))
            self.summary._touched.clear()

    def _unsaved(self) -> bool:
        """Whether there are changes that `update()` would save, or refuse."""
        try:
            return bool(self._edits(everything=True))
        except Error:
            return True

    def _edits(self, *, everything: bool) -> Edits:
        config = self._config.pending() if everything else []
        summary = self._summary_document.pending()
        fields = {
            field: self._attrs.get(field)
            for field, before in self._fields.items()
            if everything and self._attrs.get(field) != before
        }
        return Edits(
            config=config,
            config_before=self._config.base if config else {},
            summary=summary,
            summary_before=self._summary_document.base if summary else {},
            fields=fields,
            tags=(self._tags, self.tags) if everything and self.tags != self._tags else None,
        )


def random_run_id() -> str:
    """A run id of eight letters and digits, as W&B makes them up."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(8))
