"""`Run`: one run, to read and to change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wandb_ops.errors import (
    AmbiguousOutcome,
    NotFoundError,
    UsageError,
    WaitTimeout,
)
from wandb_ops.history.ref import RunRef
from wandb_ops.protocol.documents import runs as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.attrs import iframe
from wandb_ops.public.document import Document, parse_object
from wandb_ops.public.runs.artifacts import ArtifactUse
from wandb_ops.public.runs.attributes import RunAttributes
from wandb_ops.public.runs.history import HistoryScan
from wandb_ops.public.runs.saving import FIELDS, Edits, save
from wandb_ops.public.runs.summary import HTTPSummary

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from wandb_ops.public.runs.console_logs import ConsoleLogs
    from wandb_ops.public.runs.files import File, Files
    from wandb_ops.public.sweeps import Sweep, SweepBook
    from wandb_ops.transport.session import Transport

#: States that a run does not leave by itself.
TERMINAL_STATES = frozenset({"finished", "failed", "crashed", "killed", "preempted"})
#: Fields that a light page of runs leaves out.
HEAVY_FIELDS = ("config", "summaryMetrics", "systemMetrics", "historyKeys")


class HeavyLoader(Protocol):
    """Fetches the heavy fields for several runs at once."""

    def load_heavy(self) -> None: ...


class Run(ArtifactUse, RunAttributes):
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
        self._metadata: dict[str, Any] | None = None
        self._take(self._fetch() if attrs is None else attrs)

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
    def history_keys(self) -> dict[str, Any] | None:
        """The server's index of the metrics: `{"lastStep": ..., "keys": {...}}`, when last looked."""
        keys: dict[str, Any] | None = self._need("historyKeys")
        return keys

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802 - W&B's name
        """The last step of the history, asked for anew; -1 when there is none."""
        from wandb_ops.history.ref import run_counts

        return run_counts(self._transport, self._ref).last_step

    @property
    def sweep(self) -> Sweep | None:
        """The sweep that it belongs to; None when it belongs to none, or that is gone."""
        if not self.sweep_name:
            return None
        if self._sweep_book is None:
            from wandb_ops.public.sweeps import SweepBook

            self._sweep_book = SweepBook(self._transport, self._entity, self._project)
        return self._sweep_book.get(self.sweep_name)

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What `wandb-metadata.json` says of machine and program; None when the run has no such file."""
        if self._metadata is None:
            from wandb_ops.public.runs.files import fetch

            content = BytesIO()
            try:
                fetch(self.file("wandb-metadata.json"), content)
            except NotFoundError:
                return None
            self._metadata = parse_object(content.getvalue(), f"wandb-metadata.json of {self._where}")
        return self._metadata

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
            NotFoundError: The run was deleted.
        """
        started = clock()
        while True:
            self._attrs["state"] = self._fetch_state()
            if self.state in TERMINAL_STATES:
                return
            waited = clock() - started
            if timeout is not None and waited >= timeout:
                raise WaitTimeout(
                    f"The run is {self.state} after {waited:.0f} s of waiting", where=self._where
                )
            sleep(poll_interval if timeout is None else min(poll_interval, timeout - waited))

    # -- history -------------------------------------------------------------------------------------------

    def history(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: Literal["default", "system", "events"] = "default",
    ) -> pd.DataFrame | Any:
        """A sample of the history: at most `samples` rows that the server picks. `scan_history` gives all.

        Args:
            samples: Rows at most.
            keys: Metrics to take; only rows that have all of them come.
            x_axis: Metric that orders the rows, when `keys` are given.
            pandas: False gives a list of dicts.
            stream: "default" for metrics, "system" or "events" for measurements of the machine.

        Returns:
            A DataFrame, whose `attrs["sampled"]` is True, or a list of dicts.

        Raises:
            UsageError: An argument is of the wrong kind, or keys were given for the system stream.
        """
        from wandb_ops.history.sampled import sampled

        _check_keys(keys)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise UsageError(f"samples is a whole number from 1, not {samples!r}", where=self._where)
        if stream not in {"default", "system", "events"}:
            raise UsageError(f"stream is 'default', 'system' or 'events', not {stream!r}", where=self._where)
        if keys and stream != "default":
            raise UsageError("keys can be asked for in the default stream only", where=self._where)
        rows = sampled(
            self._transport, self._ref, samples=samples, keys=keys or None, x_axis=x_axis, stream=stream
        )
        if not pandas:
            return rows
        import pandas as pd

        frame = pd.DataFrame.from_records(rows)
        frame.attrs["sampled"] = True
        return frame

    def scan_history(
        self,
        keys: list[str] | None = None,
        page_size: int = 1_000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,  # noqa: ARG002 - W&B's argument; there is no cache that could be stale
        *,
        keys_mode: Literal["all", "any"] = "all",
    ) -> HistoryScan:
        """Every row of the history, fetched while it is iterated over.

        Args:
            keys: Metrics to take, besides `_step`; None is all.
            page_size: Rows per request, at first.
            min_step: First step (inclusive).
            max_step: Step to stop before; None is the end.
            use_cache: Accepted as W&B does; the answer always comes from the server.
            keys_mode: "all", as W&B: only rows that have every key. "any": rows that have one of them.

        Raises:
            UsageError: An argument is of the wrong kind.
            IncompleteHistory: While iterating: fewer rows came than the server says exist.
        """
        _check_keys(keys)
        if isinstance(page_size, bool) or not isinstance(page_size, int) or page_size < 1:
            raise UsageError(f"page_size is a whole number from 1, not {page_size!r}", where=self._where)
        if keys_mode not in {"all", "any"}:
            raise UsageError(f"keys_mode is 'all' or 'any', not {keys_mode!r}", where=self._where)
        return HistoryScan(
            self,
            keys=keys or None,
            keys_mode=keys_mode,
            page_size=page_size,
            min_step=min_step,
            max_step=max_step,
        )

    def console_logs(self, *, per_page: int = 1000, last: int | None = None) -> ConsoleLogs:
        """What the run's process wrote to its console, line by line, loaded while it is iterated over.

        Args:
            per_page: Lines per request.
            last: Only that many of the last lines, in one request; the server has a limit of its own.
        """
        from wandb_ops.public.runs.console_logs import ConsoleLogs

        return ConsoleLogs(self, per_page=per_page, last=last)

    # -- files ---------------------------------------------------------------------------------------------

    def files(self, names: list[str] | None = None, pattern: str | None = None, per_page: int = 50) -> Files:
        """The run's files, loaded page by page.

        Args:
            names: Exact names; None or empty is all.
            pattern: SQL's LIKE: `%.json` is every name that ends so. Not together with `names`.
            per_page: Files per request.
        """
        from wandb_ops.public.runs.files import Files

        return Files(self, names=names, pattern=pattern, per_page=per_page)

    def file(self, name: str) -> File:
        """One file.

        Raises:
            NotFoundError: The run has no file of that name.
        """
        if not isinstance(name, str) or not name:
            raise UsageError(f"A file is named by text, not {name!r}", where=self._where)
        for file in self.files([name]):
            if file.name == name:
                return file
        raise NotFoundError(
            f"The run has no file {name!r}", where=self._where, hint="`run.files()` lists what there is."
        )

    def upload_file(self, path: str, root: str = ".") -> File:
        """Upload a local file to the run; the same name again replaces it.

        Args:
            path: The file, absolute or relative to the working directory.
            root: Folder that the name in the run is relative to.

        Raises:
            UsageError: The file is not there, or not below `root`.
        """
        from wandb_ops.protocol.storage import upload_run_file

        base, local = Path(root).resolve(), Path(path).resolve()
        if not local.is_file():
            raise UsageError(f"There is no file {str(path)!r} to upload", where=self._where)
        if not local.is_relative_to(base):
            raise UsageError(
                f"{str(path)!r} is not below the root {str(root)!r}",
                where=self._where,
                hint="Pass a root= that contains the file: its name in the run is relative to it.",
            )
        name = local.relative_to(base).as_posix()
        upload_run_file(
            self._transport,
            entity=self._entity,
            project=self._project,
            run_id=self._run_id,
            name=name,
            data=local,
        )
        return self.file(name)

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """HTML that shows the run's page in a notebook."""
        return iframe(self.url, height=height, hidden=hidden)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'/'.join(self.path)} ({self.state})>"

    # -- inside --------------------------------------------------------------------------------------------

    @property
    def _ref(self) -> RunRef:
        return RunRef(self._entity, self._project, self._run_id)

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
        node = save(self._transport, edits, fetch=self._fetch, where=self._where)
        if everything:
            self._take(node)
        else:
            self._attrs["summaryMetrics"] = node.get("summaryMetrics")
            self._summary_document.replace(node.get("summaryMetrics"))
            self.summary._touched.clear()

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


def _check_keys(keys: object) -> None:
    if keys is None:
        return
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) for key in keys):
        raise UsageError("keys is a list of texts")
