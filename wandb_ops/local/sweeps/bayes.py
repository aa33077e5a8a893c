"""Bayesian search: a Gaussian process over what the trials so far came to, and the next point to try.

Values are mapped to the unit cube (logarithms where the distribution has them, one axis per value of a
list). A process with a Matern 5/2 kernel, whose lengths and noise are those that the trials make most likely,
says of a candidate what to expect and how surely; the candidate of the highest expected improvement is taken.
The answer follows from the config, the sweep's name, the trial's number and the trials alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.sweeps import axes, sweepconfig

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from wandb_ops.local.sweeps.sweepconfig import Parameter

    Array = NDArray[np.float64]

_WARM_UP = 4  # trials at random before the process has anything to say
_ANYWHERE = 6  # every so many trials one at random: a process that is sure of itself may be wrong
_CANDIDATES = 600  # drawn like a random search's
_NEAR = 300  # drawn around the best trials
_KEPT = 120  # trials that the process is made of: its cost grows with their cube
_LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_ROUNDS = 2
_NOISES = (1e-6, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that was made: its parameters, and what it came to.

    Attributes:
        values: Parameters as the config nests them.
        loss: The metric, turned so that lower is better; None while the trial has not ended.
    """

    values: Mapping[str, Any]
    loss: float | None


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = values
    for key in path:
        found = found[key]
    return found


def _seen(given: Sequence[Parameter], trials: Sequence[Trial]) -> tuple[list[list[float]], list[Trial]]:
    """The places of the trials that have every parameter, and those trials: the best and the newest."""
    places, kept = [], []
    for trial in trials:
        try:
            place = [part for each in given for part in axes.place(each, _at(trial.values, each.path))]
        except (KeyError, TypeError, ValueError):
            continue  # a run that was adopted, or whose script changed its config
        places.append(place)
        kept.append(trial)
    if len(kept) > _KEPT:
        best = sorted(range(len(kept)), key=lambda at: math.inf if (y := kept[at].loss) is None else y)
        wanted = sorted({*best[: _KEPT // 2], *range(len(kept) - _KEPT // 2, len(kept))})
        places, kept = [places[at] for at in wanted], [kept[at] for at in wanted]
    return places, kept


def _squares(left: Array, right: Array, columns: Sequence[slice]) -> Array:
    """Squared distances, one table per parameter."""
    import numpy as np

    tables = [((left[:, None, part] - right[None, :, part]) ** 2).sum(axis=2) for part in columns]
    squares: Array = np.array(tables)
    return squares


def _kernel(squares: Array, lengths: Sequence[float]) -> Array:
    import numpy as np

    far = np.sqrt(5.0 * np.tensordot(1.0 / np.square(lengths), squares, axes=1))
    kernel: Array = (1.0 + far + far**2 / 3.0) * np.exp(-far)
    return kernel


def _solve(squares: Array, values: Array, lengths: Sequence[float], noise: float) -> tuple[float, Any, Any]:
    """Log likelihood of the values, the Cholesky factor of their covariance, and their weights."""
    import numpy as np

    covariance = _kernel(squares, lengths) + (noise + 1e-9) * np.eye(len(values))
    factor = np.linalg.cholesky(covariance)
    weights = np.linalg.solve(factor.T, np.linalg.solve(factor, values))
    likelihood = -0.5 * float(values @ weights) - float(np.log(np.diag(factor)).sum())
    return likelihood, factor, weights


def _fit(squares: Array, values: Array) -> tuple[list[float], float]:
    """The likeliest length of each parameter, and noise, sought one after the other."""
    lengths, noise = [_LENGTHS[2]] * len(squares), _NOISES[1]
    for _ in range(_ROUNDS):
        for at in range(len(lengths)):
            tried = [[*lengths[:at], length, *lengths[at + 1 :]] for length in _LENGTHS]
            lengths = max(tried, key=lambda each: _solve(squares, values, each, noise)[0])
        noise = max(_NOISES, key=lambda each: _solve(squares, values, lengths, each)[0])
    return lengths, noise


def _improvement(points: Array, values: Array, candidates: Array, columns: Sequence[slice]) -> Array:
    """How much below the lowest value each candidate is expected to come, on average."""
    import numpy as np

    squares = _squares(points, points, columns)
    lengths, noise = _fit(squares, values)
    _, factor, weights = _solve(squares, values, lengths, noise)
    cross = _kernel(_squares(candidates, points, columns), lengths)
    mean = cross @ weights
    spread = np.linalg.solve(factor, cross.T)
    sigma = np.sqrt(np.maximum(1.0 - (spread**2).sum(axis=0), 1e-12))
    score = (values.min() - mean) / sigma
    density = np.exp(-0.5 * score**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1.0 + np.array([math.erf(each / math.sqrt(2)) for each in score]))
    gain: Array = sigma * (score * below + density)
    return gain


def choose(
    given: Sequence[Parameter], choice: random.Random, trials: Sequence[Trial], number: int
) -> list[Any]:
    """Values of the parameters for trial ``number``, in their order.

    Trials that still run count as average ones, so that agents at work at once try different places.
    """
    import numpy as np

    places, kept = _seen(given, trials)
    losses = [trial.loss for trial in kept if trial.loss is not None]
    warming = max(_WARM_UP, len(given) + 2)
    if len(losses) < warming or number % _ANYWHERE == _ANYWHERE - 1 or not places[0]:
        return [sweepconfig.draw(each, choice) for each in given]
    known = np.array(losses)
    middle, width = float(known.mean()), float(known.std()) or 1.0
    values = np.array([0.0 if trial.loss is None else (trial.loss - middle) / width for trial in kept])
    drawn = [[sweepconfig.draw(each, choice) for each in given] for _ in range(_CANDIDATES)]
    ended = [trial for trial in kept if trial.loss is not None]
    top = sorted(ended, key=lambda trial: trial.loss or 0.0)[:3]
    for index in range(_NEAR):
        centre = top[index % len(top)].values
        spread = (0.2, 0.05, 0.01)[index // len(top) % 3]
        drawn.append([axes.near(each, _at(centre, each.path), choice, spread) for each in given])
    candidates = np.array(
        [
            [part for each, value in zip(given, row, strict=True) for part in axes.place(each, value)]
            for row in drawn
        ]
    )
    return drawn[int(np.argmax(_improvement(np.array(places), values, candidates, axes.columns_of(given))))]
