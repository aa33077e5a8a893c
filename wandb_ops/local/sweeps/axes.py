"""The unit cube of a Bayesian search: where a parameter's values stand in it, and which are close by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.jsontext import finite
from wandb_ops.local.sweeps import sweepconfig

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from wandb_ops.local.sweeps.sweepconfig import Parameter

_BELL = 3.0  # a normal distribution's axis ends at so many sigmas


@dataclass(frozen=True, slots=True)
class _Axis:
    """One numeric parameter as an interval: ``inward`` takes its value there, ``outward`` back."""

    low: float
    high: float
    inward: Callable[[float], float]
    outward: Callable[[float], float]


def _same(value: float) -> float:
    return value


def _axis(parameter: Parameter) -> _Axis:
    spec, kind = parameter.spec, parameter.distribution.removeprefix("q_")
    if kind in {"normal", "log_normal"}:
        middle, width = spec.get("mu", 0), _BELL * spec.get("sigma", 1)
        pair = (math.log, math.exp) if kind == "log_normal" else (_same, _same)
        return _Axis(middle - width, middle + width, *pair)
    if kind == "beta":
        return _Axis(0, 1, _same, _same)
    low, high = spec["min"], spec["max"]
    if kind in {"uniform", "int_uniform"}:
        return _Axis(low, high, _same, _same)
    if kind == "inv_log_uniform":
        return _Axis(low, high, lambda value: -math.log(value), lambda place: math.exp(-place))
    if kind.endswith("values"):
        low, high = math.log(low), math.log(high)
    return _Axis(low, high, math.log, math.exp)


def place(parameter: Parameter, value: Any) -> list[float]:
    """Where a value stands: a number from 0 to 1, or one per value of a list; ``ValueError`` when nowhere."""
    if parameter.distribution == "constant":
        return []
    if parameter.distribution in sweepconfig.LISTS:
        known = parameter.spec["values"]
        if value not in known:
            raise ValueError(f"{parameter.name} has no value {value!r}")
        chosen = known.index(value)
        return [math.sqrt(0.5) * (index == chosen) for index in range(len(known))]  # a distance of 1 apart
    axis = _axis(parameter)
    number = finite(value)
    if number is None:
        raise ValueError(f"{parameter.name} is not a number")
    if axis.high == axis.low:
        return [0.0]
    return [min(max((axis.inward(number) - axis.low) / (axis.high - axis.low), 0.0), 1.0)]


def near(parameter: Parameter, value: Any, choice: random.Random, width: float) -> Any:
    """A value close to another one; of a list, now and then any."""
    if parameter.distribution == "constant":
        return value
    if parameter.distribution in sweepconfig.LISTS:
        return sweepconfig.draw(parameter, choice) if choice.random() < width else value
    axis = _axis(parameter)
    moved = axis.inward(value) + choice.gauss(0, width) * (axis.high - axis.low)
    return sweepconfig.fitted(parameter, axis.outward(min(max(moved, axis.low), axis.high)))


def columns_of(given: Sequence[Parameter]) -> list[slice]:
    """Where each parameter that varies stands in a place."""
    found, start = [], 0
    for each in given:
        if each.distribution != "constant":
            width = len(each.spec["values"]) if each.distribution in sweepconfig.LISTS else 1
            found.append(slice(start, start + width))
            start += width
    return found
