"""What one run gets of a folder: files first, then the rows that name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import RunConflict
from wandb_ops.protocol.filestream import FileStream
from wandb_ops.protocol.states import ENDED_STATES
from wandb_ops.protocol.storage import server_features, upload_run_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_ops.tensorboard.merge import MergedRows
    from wandb_ops.transport.session import Transport

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
LOG = "output.log"
_ROWS_AT_ONCE = 4096
_BODY = 4 << 20  # bytes of lines per request; a request is held several times over while it is built and sent
_FILES_AT_ONCE = 4 << 20  # bytes of files that are copied out of the chunks they were read with
_WORKERS = 8  # files on their way at once


@dataclass(frozen=True, slots=True)
class RunBefore:
    """The run as the server had it before this call."""

    where: str
    lines: int
    events_lines: int
    log_lines: int
    last_row: dict[str, Any] | None
    summary: dict[str, Any]
    config: dict[str, Any]
    state: str


class RowSender:
    """Sends rows and their files to one run. The file stream is opened when there is something for it.

    Args:
        transport: Talks to the server.
        entity: The run's entity.
        project: The run's project.
        run_id: The run's id.
        run: The run as it was found.
        may_reopen: What is sent may reopen a run that has ended.

    Attributes:
        rows: Rows sent.
        scalars: Scalar values in them.
        media: Other values in them.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        run_id: str,
        run: RunBefore,
        *,
        may_reopen: bool,
    ) -> None:
        self.rows = self.scalars = self.media = 0
        self._transport = transport
        self._entity, self._project, self._run_id = entity, project, run_id
        self._run = run
        self._may_reopen = may_reopen
        self._stream: FileStream | None = None
        self._stored: set[str] = set()  # names are made from content: each is stored once
        self._waiting = 0  # bytes of lines since the last flush

    @property
    def is_open(self) -> bool:
        """Whether something went to the run's file stream."""
        return self._stream is not None

    def stream(self) -> FileStream:
        """The run's file stream.

        Raises:
            RunConflict: The run has ended and may not be reopened.
        """
        if self._stream is None:
            run = self._run
            if run.state in ENDED_STATES and not self._may_reopen:
                raise RunConflict(
                    f"the run has ended as {run.state}; what is to be sent would reopen it, and nobody would "
                    "end it again",
                    where=run.where,
                    hint='Let this call end it (finish=True), or pass on_finished="resume" to reopen it.',
                )
            self._stream = FileStream(
                self._transport,
                entity=self._entity,
                project=self._project,
                run_id=self._run_id,
                offsets={HISTORY: run.lines, EVENTS: run.events_lines, LOG: run.log_lines},
                gzip="FILESTREAM_GZIP" in server_features(self._transport),
            )
        return self._stream

    def send(self, block: MergedRows, line: int, origin: float) -> None:
        """Send those rows of `block`, which begins at history line `line`, that the run did not have.

        Raises:
            CommError: A file or a chunk of lines did not arrive; rows wait for their files.
        """
        start = max(0, self._run.lines - line)
        for files in self._files_to_store(block, start):
            upload_run_files(
                self._transport,
                entity=self._entity,
                project=self._project,
                run_id=self._run_id,
                files=files,
                workers=_WORKERS,
            )
            self._stored.update(files)
        stream = self.stream()
        for first in range(start, len(block), _ROWS_AT_ONCE):
            end = min(first + _ROWS_AT_ONCE, len(block))
            lines = block.lines(first, end, first_line=line, origin=origin)
            stream.append(HISTORY, lines)
            self._waiting += sum(map(len, lines))
            if self._waiting >= _BODY:
                self.flush()
        self.rows += len(block) - start
        self.scalars += int(block.scalars[start:].sum())
        self.media += int(block.media[start:].sum())

    def _files_to_store(self, block: MergedRows, start: int) -> Iterator[dict[str, bytes]]:
        """The files of the rows from `start` on that are not stored yet, a few MB at a time."""
        batch: dict[str, bytes] = {}
        size = 0
        for row in sorted(row for row in block.files if row >= start):
            for file in block.files[row]:
                if file.name in self._stored or file.name in batch:
                    continue
                batch[file.name] = bytes(file.data)
                size += len(file.data)
                if size >= _FILES_AT_ONCE:
                    yield batch
                    batch, size = {}, 0
        if batch:
            yield batch

    def flush(self) -> None:
        """Wait until the server has every row."""
        if self._stream is not None:
            self._stream.flush()
        self._waiting = 0
