"""Classes of objects that lead to each other, bound late and in one place.

A run knows its sweep, and a sweep its runs; an artifact knows the runs that used it, and a run its artifacts.
Their modules import one way only, artifacts below runs below sweeps. Who has to make an object of a class
that is above takes the class from here. `wandb_ops.public` puts them here once all are loaded, and nobody
gets at one of these objects before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wandb_ops.public.artifacts.collections import ArtifactCollection
    from wandb_ops.public.runs.run import Run
    from wandb_ops.public.sweeps import Agent, SweepBook

collection_class: type[ArtifactCollection]
run_class: type[Run]
sweep_book_class: type[SweepBook]
agent_class: type[Agent]
