"""States of a run, and which of them mean that it is over."""

from __future__ import annotations

#: No more rows come, unless somebody resumes the run.
TERMINAL_STATES = frozenset({"finished", "failed", "crashed", "killed", "preempted"})
SUCCESS_STATES = frozenset({"finished"})
#: Somebody, or something, ended it. W&B shows a run as crashed when nothing was heard from it for some
#: minutes: nobody ended it, and the task that fills it may be between two tries. So its writer may go on.
ENDED_STATES = TERMINAL_STATES - {"crashed"}
