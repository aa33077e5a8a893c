"""How much there is to do, and how it is dealt out to shards."""

from __future__ import annotations

from array import array
from collections import Counter
from heapq import heapreplace
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError
from wandb_ops.export.runs.listing import PAGE, PAGE_WITH_FILES
from wandb_ops.export.runs.together import MOST_RUNS, SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wandb_ops.export.crew import Item
    from wandb_ops.export.request.project import ProjectRequest

_PAGE_ROWS = 1000  # history rows per request
_RUNS_PER_ARTIFACT_LIST = 50


class Work:
    """What is to be fetched, added up page by page of the list of runs. What grows with the project are the
    ids of the runs to fetch, which the shards name.

    Attributes:
        runs: How many there are, changed or not.
        rows: Part -> rows to fetch.
    """

    def __init__(self, request: ProjectRequest) -> None:
        self._include = set(request.include)
        self._alone = self._small = 0
        self.runs = 0
        self._names: list[str] = []  # runs that changed
        self._sizes = array("q")  # of each: rows to fetch, and a thousand for each part
        self.rows: Counter[str] = Counter()

    def add(self, runs: int, missing: Iterable[Item]) -> None:
        """Some more runs, and those parts of them that are not there."""
        self.runs += runs
        sizes: Counter[str] = Counter()
        for item in missing:
            sizes[item.listed.ref.run_id] += item.rows + _PAGE_ROWS
            self.rows[item.what] += item.rows
            self._small += item.what == "history" and 0 < item.rows <= SMALL
            self._alone += _requests(item)
        self._names += sizes.keys()
        self._sizes.extend(sizes.values())

    @property
    def changed(self) -> int:
        """Runs of which something is to be fetched."""
        return len(self._names)

    @property
    def requests(self) -> int:
        """About how many requests it takes."""
        lists = max(1, -(-self.runs // (PAGE_WITH_FILES if "files" in self._include else PAGE)))
        if "artifacts" in self._include:
            lists += -(-self.runs // _RUNS_PER_ARTIFACT_LIST)
        together = self._small - -(-self._small // MOST_RUNS) if self._small > MOST_RUNS else 0
        return lists + self._alone - together

    def shards(self, most: int) -> tuple[dict[str, Any], ...]:
        """Runs dealt out so that the shards have about the same to do; the same for the same runs."""
        count = max(1, min(most, self.changed))
        names, sizes = self._names, self._sizes
        dealt = [list[str]() for _ in range(count)]
        loads = [(0, i) for i in range(count)]
        order = sorted(range(len(names)), key=names.__getitem__)
        order.sort(key=sizes.__getitem__, reverse=True)
        for place in order:
            load, least = loads[0]
            heapreplace(loads, (load + sizes[place], least))
            dealt[least].append(names[place])
        for each in dealt:
            each.sort()
        return tuple({"index": i, "of": count, "runs": dealt[i]} for i in range(count))


def run_ids(shard: Mapping[str, Any]) -> list[str]:
    """The runs of a shard.

    Raises:
        UsageError: It is no shard of a plan.
    """
    runs = shard.get("runs")
    if not isinstance(runs, (list, tuple)) or not all(isinstance(name, str) for name in runs):
        raise UsageError("A shard is one of the values that plan_export returned", hint="Pass it as it is.")
    return list(runs)


def _requests(item: Item) -> int:
    """Requests that a part of a run takes, when all goes well and it is read alone."""
    if item.what == "system":
        return 1 if item.rows else 0
    if item.what == "files":
        return 1
    if item.what == "artifacts":
        return 2
    pages = -(-item.rows // _PAGE_ROWS)
    return pages + 1 if pages > 1 else pages
