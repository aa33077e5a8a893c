"""Early termination by Hyperband: at each bracket's end the runs that lag behind are told to stop.

An iteration is one history line that holds the sweep's metric. At a boundary (``min_iter`` times powers of
``eta``, or ``max_iter`` divided by them) a run goes on when it is among the best 1/``eta`` of the runs that
came as far. What a run had at each boundary is written down once, so a long history is read once.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import finite, loads

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_BATCH = 20_000
_MAX_BOUNDARIES = 64
# All of it is worked out inside the writer's transaction, at every heartbeat of an agent.
_MAX_ITERATIONS = 10**12
_LOW_ETA, _HIGH_ETA = 1.01, 10**6


@dataclass(frozen=True, slots=True)
class Rule:
    """``early_terminate`` of a sweep's config, checked.

    Attributes:
        strict: Whether a run is judged by what it had at the boundary; else by its best so far.
    """

    min_iter: int | None
    max_iter: int | None
    eta: float
    s: int
    strict: bool

    def boundaries(self, reached: int) -> list[int]:
        """The iterations at which runs are compared, up to ``reached``."""
        if self.min_iter is not None:
            span = max(reached / self.min_iter, 1)
            highest = min(int(math.log(span, self.eta) + 1e-9) + 1, _MAX_BOUNDARIES)
            every = [int(self.min_iter * self.eta**power) for power in range(highest)]
        else:
            deepest = min(self.s, int(math.log(self.max_iter or 1, self.eta) + 1e-9))
            every = [int((self.max_iter or 0) / self.eta**power) for power in range(deepest, 0, -1)]
        return sorted({each for each in every if 1 <= each <= reached})


def read_rule(config: Mapping[str, Any]) -> Rule | None:
    """The rule of a config, None when it has none; :class:`Refused` when it makes no sense."""
    given = config.get("early_terminate")
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        raise _wrong("it must be a mapping with type: hyperband")
    if not isinstance(config.get("metric"), dict):
        raise _wrong("the sweep needs a metric to compare its runs by")
    low, high, eta, s = (given.get(key) for key in ("min_iter", "max_iter", "eta", "s"))
    for name, value in (("min_iter", low), ("max_iter", high), ("s", s)):
        if value is not None and (type(value) is not int or not 1 <= value <= _MAX_ITERATIONS):
            raise _wrong(f"{name} must be a whole number from 1 to {_MAX_ITERATIONS}")
    if (low is None) == (high is None):
        raise _wrong("it needs either min_iter or max_iter")
    eta = 3 if eta is None else eta
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not _LOW_ETA <= eta <= _HIGH_ETA:
        raise _wrong(f"eta must be a number from {_LOW_ETA} to {_HIGH_ETA}")
    brackets = s or (int(math.log(high, eta) + 1e-9) if high else 0)
    return Rule(low, high, float(eta), brackets, bool(given.get("strict")))


def _wrong(reason: str) -> Refused:
    return Refused(f"Invalid sweep config: early_terminate: {reason}")


@dataclass(slots=True)
class _Progress:
    """How far a run was read: lines, iterations, the best value, and (value, best) at each boundary."""

    upto: int
    count: int
    best: float | None
    bands: dict[str, tuple[float | None, float | None]]


def behind(db: sqlite3.Connection, project: int, sweep: str, config: Mapping[str, Any], at: Any) -> set[str]:
    """Names of the sweep's live runs that came to a boundary and are not good enough to go on.

    Args:
        at: Takes a row of history and the metric's name; the value there or None.
    """
    rule = read_rule(config)
    if rule is None:
        return set()
    metric = config["metric"]
    sign = -1.0 if metric.get("goal") == "maximize" else 1.0
    query = "SELECT id, name, state, history_lines FROM runs WHERE project=? AND sweep=?"
    judged: list[tuple[str, str, _Progress]] = []
    for run, name, state, count in db.execute(query, (project, sweep)).fetchall():
        judged.append((name, state, _progress(db, run, count, rule, metric["name"], sign, at)))
    laggards = set()
    for name, state, progress in judged:
        if state == "running" and any(_lags(progress, band, rule, judged) for band in progress.bands):
            laggards.add(name)
    return laggards


def _lags(own: _Progress, band: str, rule: Rule, judged: list[tuple[str, str, _Progress]]) -> bool:
    """Whether a run is not good enough for a boundary that it reached.

    Many lines may come at once, so it may be well beyond when it is judged.
    """
    values = sorted(_or_worst(each.bands[band][1]) for _, _, each in judged if band in each.bands)
    mine = own.bands[band][0] if rule.strict else own.best
    return _or_worst(mine) > values[int((len(values) - 1) / rule.eta)]


def _or_worst(value: float | None) -> float:
    return math.inf if value is None else value


def _progress(
    db: sqlite3.Connection, run: int, lines_now: int, rule: Rule, metric: str, sign: float, at: Any
) -> _Progress:
    """What is known of a run, with the lines that came since; lower values are better."""
    text = repr((rule, metric, sign))
    row = db.execute(
        "SELECT rule, upto, count, best, bands FROM sweep_progress WHERE run=?", (run,)
    ).fetchone()
    known = _Progress(0, 0, None, {})
    if row is not None and row[0] == text and row[1] <= lines_now:  # else it was rewound, or the rule changed
        known = _Progress(row[1], row[2], row[3], json.loads(row[4]))
    if known.upto == lines_now:
        return known
    wanted = set(rule.boundaries(_BATCH * _BATCH))
    while known.upto < lines_now:
        stop = min(known.upto + _BATCH, lines_now)
        for line in lines.between(db, run, lines.HISTORY, known.upto, stop):
            _take(known, at(loads(line), metric), sign, wanted)
        known.upto = stop
    db.execute(
        "INSERT INTO sweep_progress(run, rule, upto, count, best, bands) VALUES(?,?,?,?,?,?)"
        " ON CONFLICT(run) DO UPDATE SET rule=excluded.rule, upto=excluded.upto, count=excluded.count,"
        " best=excluded.best, bands=excluded.bands",
        (run, text, known.upto, known.count, known.best, json.dumps(known.bands)),
    )
    return known


def _take(known: _Progress, value: Any, sign: float, wanted: set[int]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    known.count += 1
    number = finite(value)
    now = None if number is None else sign * number
    if now is not None and (known.best is None or now < known.best):
        known.best = now
    if known.count in wanted:
        known.bands[str(known.count)] = (now, known.best)
