"""What a test does with a server besides talking to it: look at what is stored, break it, move the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wandb_ops.local import queues, readback
from wandb_ops.local.faults import Fault, Faults
from wandb_ops.local.runs.stored import list_runs, read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from wandb_ops.local.faults import FaultHits, SeenRequest
    from wandb_ops.local.readback import StoredArtifact, StoredItem
    from wandb_ops.local.runs.stored import StoredRun
    from wandb_ops.local.service import Service


class Observed:
    """The part of :class:`wandb_ops.local.serve.LocalServer` that tests talk to."""

    entity: str

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._given_clock = clock
        self._ahead = 0.0
        self._faults = Faults()

    @property
    def service(self) -> Service:
        """The opened data folder."""
        raise NotImplementedError

    # -- what is stored ------------------------------------------------------------------------------------

    def run(self, project: str, run_id: str | None = None, entity: str | None = None) -> StoredRun:
        """What is stored of a run, read past every client; ``LookupError`` when there is none.

        Args:
            project: Its project; or, without ``run_id``, the run's path: ``entity/project/run`` or
                ``project/run``.
            entity: User or team; None is the server's own user.
        """
        if run_id is None:
            owner, project, run_id = self._split(project, 3)
            entity = entity or owner
        return read_run(self.service, project, run_id, entity)

    def runs(self, project: str, entity: str | None = None) -> list[StoredRun]:
        """What is stored of every run of a project, oldest first; empty when there is no such project."""
        owner = entity or self.entity
        return [self.run(project, name, owner) for name in list_runs(self.service, project, owner)]

    def artifact(self, path: str) -> StoredArtifact:
        """What is stored of a version: ``entity/project/name:alias`` or ``project/name:alias``.

        Raises:
            LookupError: There is none.
        """
        return readback.read_artifact(self.service, *self._split(path, 3))

    def queue_items(
        self, queue: str, entity: str | None = None, project: str = queues.PROJECT
    ) -> list[StoredItem]:
        """The items of a launch queue, oldest first; ``LookupError`` when there is no such queue."""
        return readback.read_queue(self.service, entity or self.entity, project, queue)

    def _split(self, path: str, parts: int) -> tuple[str, str, str]:
        found = path.strip("/").split("/")
        if len(found) == parts - 1:
            found = [self.entity, *found]
        if len(found) != parts or not all(found):
            raise ValueError(f"{path!r} is not entity/project/name")
        return found[0], found[1], found[2]

    # -- what goes wrong -----------------------------------------------------------------------------------

    def fail_next(self, times: int = 1, *, status: int = 502, **given: Any) -> FaultHits:
        """Answer the next requests with an error, without doing them.

        Args:
            times: How many of them.
            status: With what.
            given: Which requests, and more: fields of :class:`wandb_ops.local.faults.Fault`.

        Returns:
            ``.hits`` says how many were struck so far.
        """
        return self._faults.add([Fault(status=status, times=times, **given)])

    def faults(self, *faults: Fault) -> AbstractContextManager[FaultHits]:
        """Let things go wrong for the time of a block; the first fault that fits a request strikes it."""
        return self._faults.during(faults)

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()

    def requests(self) -> AbstractContextManager[list[SeenRequest]]:
        """A list of the requests that are answered during a block."""
        return self._faults.listening()

    # -- time ----------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Move the server's clock: running runs crash for want of heartbeats, signed URLs expire.

        Raises:
            ValueError: The clock of a server goes forward only.
        """
        if seconds < 0:
            raise ValueError("a server's clock goes forward only")
        self._ahead += seconds

    def _now(self) -> float:
        return self._given_clock() + self._ahead
