"""The parameters of a sweep's next trial, by grid, at random, or by Bayesian search."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from wandb_ops.local.sweeps import bayes, sweepconfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.local.sweeps.bayes import Trial


def suggest(
    config: Mapping[str, Any], name: str, number: int, trials: Sequence[Trial] = ()
) -> dict[str, Any] | None:
    """Parameters of trial ``number`` (from 0) of the sweep ``name``; None when there is no such trial.

    Args:
        trials: What was tried so far, for a Bayesian search.
    """
    if config.get("method") == "custom":
        return None
    limit = sweepconfig.expected_runs(config)
    if limit is not None and number >= limit:
        return None
    given = sweepconfig.parameters(config)
    if config.get("method") == "grid":
        values = _cell([sweepconfig.grid_values(parameter) for parameter in given], number)
    else:
        choice = random.Random(f"{name}/{number}")
        if config.get("method") == "bayes":
            values = bayes.choose(given, choice, trials, number)
        else:
            values = [sweepconfig.draw(parameter, choice) for parameter in given]
    chosen: dict[str, Any] = {}
    for parameter, value in zip(given, values, strict=True):
        place = chosen
        for key in parameter.path[:-1]:
            place = place.setdefault(key, {})
        place[parameter.path[-1]] = value
    return chosen


def _cell(columns: list[list[Any]], number: int) -> list[Any]:
    """Cell ``number`` of a grid; the last parameter changes the fastest."""
    values = []
    for column in reversed(columns):
        number, index = divmod(number, len(column))
        values.append(column[index])
    return values[::-1]
