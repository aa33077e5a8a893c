"""One run that a folder of event files is sent to: plays the passes of `state`, and ends the run."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from wandb_ops.errors import RunConflict
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.protocol.states import ENDED_STATES
from wandb_ops.protocol.values import loads
from wandb_ops.tensorboard.beside import Beside
from wandb_ops.tensorboard.holding import before_open_rows
from wandb_ops.tensorboard.merge import merged
from wandb_ops.tensorboard.reading import BROKEN_GZIP, UNFINISHED, DirectoryReader
from wandb_ops.tensorboard.records import CHUNK, Damage
from wandb_ops.tensorboard.sending import RowSender
from wandb_ops.tensorboard.state import SyncState, fingerprint, head_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wandb_ops.tensorboard.columns import Context
    from wandb_ops.tensorboard.discover import Directory, EventFile
    from wandb_ops.tensorboard.merge import MergedRows
    from wandb_ops.tensorboard.sending import RunBefore
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.tensorboard")

FAILED = frozenset({"failed", "killed"})
# One block of rows is held per directory; the blocks of all directories together stay near this.
_HELD_BYTES = 4 << 20
_SMALLEST_CHUNK = 16 << 10


class RunSync:
    """Sends what a folder has and its run has not.

    Attributes:
        bytes_read: Bytes looked at.
        damage: Bytes that could not be read.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        run_id: str,
        run: RunBefore,
        progress: Callable[[int, int, int], None] | None,
        *,
        prefixed_step: bool = False,
        may_reopen: bool = True,
    ) -> None:
        self.bytes_read = 0
        self.damage = Damage()
        self.left_out: Counter[str] = Counter()
        self._transport = transport
        self._entity, self._project, self._run_id = entity, project, run_id
        self._run = run
        self._directories: list[Directory] = []
        self._files: dict[str, EventFile] = {}
        self._state: SyncState | None = None
        # Directory -> what decoding it up to where the state stands has taught.
        self._contexts: dict[str, Context] = {}
        self._progress = progress
        self._prefixed_step = prefixed_step
        self._written: SyncState | None = None  # the state as it stands in the run's summary
        self._sender = RowSender(transport, entity, project, run_id, run, may_reopen=may_reopen)
        self._beside = Beside()
        self._last_line = b""
        self._size = 0  # bytes of all files

    def take(self, directories: list[Directory], *, hold: bool = False) -> None:
        """Send what the folder holds now: a pass that was under way first, then one over what came since.

        Args:
            directories: The folder, as it is now.
            hold: Leave the last step of each directory for later, as more values of it may follow.

        Raises:
            RunConflict: The run holds rows that did not come from this folder, or the folder is another one.
        """
        self._directories = directories
        self._files = {file.name: file for directory in directories for file in directory.files}
        self._size = sum(file.size for file in self._files.values())
        if self._state is None:
            state = self._known_state()
            if state.until is not None:
                state = self._play(state)
        else:
            state = self._state
            state.check_files(self._files, where=self._run.where)
        if hold:
            grown = before_open_rows(directories, state.since)
        else:
            grown = {name: max(file.size, state.since.get(name, 0)) for name, file in self._files.items()}
        if any(size > state.since.get(name, 0) for name, size in grown.items()):
            state = self._play(replace(state, until=grown))
        self._state = state

    def _known_state(self) -> SyncState:
        """Where the run stands, checked against the run and the folder."""
        run = self._run
        state = SyncState.from_summary(run.summary, where=run.where)
        if state is None:
            sizes = {name: file.size for name, file in self._files.items()}
            return SyncState(until=sizes) if run.lines else SyncState()
        self._written = state
        state.check_files(self._files, where=run.where)
        if run.lines < state.line or (run.lines > state.line and state.until is None):
            raise RunConflict(
                f"the run has {run.lines} history lines, but {state.line} were synced to it",
                where=run.where,
                hint="Someone else writes this run, or the server has not counted yet; "
                "sync to another run id if it stays so.",
            )
        if (
            run.lines == state.line
            and state.tail
            and run.last_row
            and fingerprint(run.last_row) != state.tail
        ):
            raise self._foreign(run.lines - 1)
        return state

    def _play(self, state: SyncState) -> SyncState:
        """Read one pass and send the rows that the server does not have; the state after it."""
        assert state.until is not None
        sizes = state.until
        chunk = min(CHUNK, max(_SMALLEST_CHUNK, _HELD_BYTES // len(self._directories)))
        readers = [
            DirectoryReader(
                directory,
                since=state.since,
                until=sizes,
                chunk=chunk,
                context=self._contexts.get(directory.name),
                prefixed_step=self._prefixed_step,
                on_bytes=self._on_bytes,
            )
            for directory in self._directories
        ]
        line, origin, tail = state.line, state.origin, state.tail
        for block in merged([reader.blocks() for reader in readers]):
            if origin is None:
                origin = float(block.wall[0])
            self._check(block, line, origin)
            if line + len(block) > self._run.lines:
                self._announce(replace(state, origin=origin))
                self._sender.send(block, line, origin)
            line += len(block)
            last = len(block) - 1
            self._last_line = block.lines(last, last + 1, first_line=line - 1 - last, origin=origin)[0]
            tail = fingerprint(loads(self._last_line))
        if line < self._run.lines:
            raise RunConflict(
                f"the run has {self._run.lines} history lines, but this folder gives only {line}",
                where=self._run.where,
                hint="Sync this folder to another run id.",
            )
        self._collect(readers)
        positions = {name: at for reader in readers for name, at in reader.positions.items()}
        since = {**state.since, **positions}
        return SyncState(line=line, origin=origin, since=since, heads=self._heads(since, state), tail=tail)

    def _heads(self, since: Mapping[str, int], state: SyncState) -> dict[str, int]:
        heads = dict(state.heads)
        for name, position in since.items():
            if position and name not in heads and name in self._files:
                heads[name] = head_of(self._files[name])
        return heads

    def _check(self, block: MergedRows, line: int, origin: float) -> None:
        """The last row that the server has must be the one that this folder gives for its line."""
        position = self._run.lines - 1 - line
        if not 0 <= position < len(block):
            return
        if self._run.last_row is None:
            raise RunConflict("the server does not show the run's last row", where=self._run.where)
        ours = block.lines(position, position + 1, first_line=line, origin=origin)[0]
        if fingerprint(loads(ours)) != fingerprint(self._run.last_row):
            raise self._foreign(self._run.lines - 1)

    def _foreign(self, line: int) -> RunConflict:
        return RunConflict(
            f"history line {line} of the run is not the row that this folder gives for it",
            where=self._run.where,
            hint="The run holds rows from elsewhere, or the folder was changed; sync it to another run id.",
        )

    def _announce(self, state: SyncState) -> None:
        """Before the first row of a pass leaves, the run must know what the pass reads."""
        if self._written is not None and (self._written.line, self._written.until) == (
            state.line,
            state.until,
        ):
            return
        state = replace(state, heads=self._heads(state.until or {}, state))
        self._show(state)

    def _show(self, state: SyncState) -> None:
        """Put `state` into the run's summary, with the latest values."""
        stream = self._sender.stream()
        stream.set_summary(self._beside.summary(self._run.summary, self._last_line, state))
        stream.flush()
        self._written = state

    def _collect(self, readers: list[DirectoryReader]) -> None:
        """What the readers learnt beside rows."""
        for reason in (UNFINISHED, BROKEN_GZIP):  # how files end now, whatever was said before
            del self.left_out[reason]
        for reader in readers:
            self._contexts[reader.directory.name] = reader.context
            self.left_out.update(reader.left_out)
            for name in ("bad_payloads", "bad_payload_bytes", "resyncs", "resync_bytes"):
                setattr(self.damage, name, getattr(self.damage, name) + getattr(reader.damage, name))
        self._beside.take(readers)

    @property
    def rows(self) -> int:
        """Rows sent."""
        return self._sender.rows

    @property
    def scalars(self) -> int:
        """Scalar values in them."""
        return self._sender.scalars

    @property
    def media(self) -> int:
        """Other values in them."""
        return self._sender.media

    @property
    def lines(self) -> int:
        """History lines of the run, those sent by this object included."""
        return self._run.lines + self.rows

    def heartbeat(self) -> None:
        """Tell the server that this writer is alive. A run that has ended, and got nothing, stays ended."""
        if not self._sender.is_open and self._run.state in ENDED_STATES:
            return
        self._sender.stream().heartbeat()

    def flush(self) -> None:
        """Send hyperparameters that are new, and wait until the server has every row."""
        config = self._beside.config(self._run.config)
        if config is not None:
            upsert_run(
                self._transport,
                entity=self._entity,
                project=self._project,
                run_id=self._run_id,
                config=config,
            )
            self._run = replace(self._run, config=config)
            self._beside.config_is_sent()
        self._sender.flush()

    def publish(self) -> None:
        """As `flush`; then show the latest values in the run's summary, and how far the sync is."""
        self.flush()
        state = self._state
        if state is not None and self._written is not None and self._written != state:
            # Only now: the state must never be ahead of the rows.
            self._show(state)

    def end(self, *, finish: bool) -> None:
        """Config, summary, and, when asked for, the end of the run."""
        self.flush()
        touched = self.rows > 0 or (self._written is not None and self._written.until is not None)
        if touched and self._state is not None:
            summary = self._beside.summary(self._run.summary, self._last_line, self._state)
            self._sender.stream().set_summary(summary)
        if finish and (touched or self._run.state not in ENDED_STATES):
            self._sender.stream().finish(1 if self._run.state in FAILED else 0)
        else:
            self._sender.flush()
        logger.info("synced %d rows to %s", self.rows, self._run.where)

    def _on_bytes(self, size: int) -> None:
        self.bytes_read += size
        if self._progress is not None:
            self._progress(self.bytes_read, self._size, self.rows)

    def reasons(self) -> Counter[str]:
        """Everything that was not taken, by reason."""
        reasons = Counter(self.left_out)
        if self.damage.bad_payloads:
            reasons["damaged record"] += self.damage.bad_payloads
        if self.damage.resyncs:
            reasons["broken framing"] += self.damage.resyncs
        return reasons
