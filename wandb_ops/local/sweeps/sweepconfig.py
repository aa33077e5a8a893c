"""Sweep configs: read from YAML, checked, and turned into the parameters of one trial.

A trial's parameters depend on the config, the sweep's name and the trial's number alone (and, in a Bayesian
search, on what the trials so far came to), so a server that was killed in between goes on as if nothing had
happened.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import finite
from wandb_ops.local.sweeps import hyperband

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping


METHODS = frozenset({"grid", "random", "bayes", "custom"})
_MAX_TEXT = 1 << 20
_MAX_GRID = 1_000_000
_KNOWN = frozenset(
    {
        "apiVersion", "command", "controller", "description", "early_terminate", "entity", "image_uri",
        "imageuri", "job", "launch", "method", "metric", "name", "parameters", "program", "project",
        "run_cap", "scheduler", "settings", "uri",
    }
)  # fmt: skip
_RANGES = frozenset(
    {
        "int_uniform", "uniform", "q_uniform", "log_uniform", "q_log_uniform", "inv_log_uniform",
        "log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values",
    }
)  # fmt: skip
_BELLS = frozenset({"normal", "q_normal", "log_normal", "q_log_normal"})
_BETAS = frozenset({"beta", "q_beta"})
LISTS = frozenset({"categorical", "categorical_w_probabilities"})
DISTRIBUTIONS = _RANGES | _BELLS | _BETAS | LISTS | {"constant"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value to be chosen: where it stands in the run's config, how it is drawn."""

    path: tuple[str, ...]
    distribution: str
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The path with dots, as messages have it."""
        return ".".join(self.path)


def parse(text: str | None) -> dict[str, Any]:
    """A config that a client sent as YAML or JSON, in JSON's types, or :class:`Refused`.

    JSON is tried first: of YAML's readers this one takes its ``1e-05`` for a text.
    """
    import yaml

    if not text or len(text) > _MAX_TEXT:
        raise Refused("a sweep needs a config of at most 1 MiB")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        if any(isinstance(found, float) and not math.isfinite(found) for found in _leaves(value)):
            raise Refused("the sweep config may hold no NaN and no infinities")
        return value
    try:
        # An alias may stand for a tree that holds aliases, and so on: small text, endless config.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise Refused("a sweep config may not hold YAML aliases")
        value = yaml.safe_load(text)
        json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise Refused(f"the sweep config is not valid YAML of plain values: {error}") from None
    if not isinstance(value, dict):
        raise Refused("the sweep config must be a mapping")
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """Every plain value within."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _leaves(inner)
    if not isinstance(value, dict | list):
        yield value


def check(config: Mapping[str, Any]) -> list[str]:
    """Warnings about a config; :class:`Refused` when no trial could be made of it."""
    method = config.get("method")
    if method not in METHODS:
        raise Refused(f"Invalid sweep config: method must be one of {', '.join(sorted(METHODS))}")
    warnings = [f"unknown key {key!r} in the sweep config" for key in config if key not in _KNOWN]
    cap = config.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise Refused("Invalid sweep config: run_cap must be a whole number from 1")
    _check_metric(config.get("metric"))
    given = parameters(config)
    if not given and method != "custom":
        raise Refused("Invalid sweep config: parameters are missing")
    if method == "grid":
        count = math.prod(len(grid_values(parameter)) for parameter in given)
        if count > _MAX_GRID:
            raise Refused(f"Invalid sweep config: a grid of {count} runs; {_MAX_GRID} are allowed")
    if method == "bayes" and config.get("metric") is None:
        raise Refused("Invalid sweep config: method 'bayes' needs a metric")
    hyperband.read_rule(config)
    return warnings


def _check_metric(metric: Any) -> None:
    if metric is None:
        return
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise Refused("Invalid sweep config: metric must have a name")
    if metric.get("goal", "minimize") not in {"minimize", "maximize"}:
        raise Refused("Invalid sweep config: metric.goal must be 'minimize' or 'maximize'")


def parameters(config: Mapping[str, Any]) -> list[Parameter]:
    """Every parameter, nested ones by their path, in the config's order; :class:`Refused` for a wrong one."""
    return list(_walk(config.get("parameters") or {}, ()))


def _walk(given: Any, above: tuple[str, ...]) -> Iterator[Parameter]:
    if not isinstance(given, dict):
        raise Refused("Invalid sweep config: parameters must be a mapping")
    for key, spec in given.items():
        path = (*above, str(key))
        if isinstance(spec, dict) and isinstance(spec.get("parameters"), dict):
            yield from _walk(spec["parameters"], path)
            continue
        if not isinstance(spec, dict):
            raise _wrong(path, "it must be a mapping such as {value: 1} or {values: [1, 2]}")
        yield _parameter(path, spec)


def _wrong(path: tuple[str, ...], reason: str) -> Refused:
    return Refused(f"Invalid sweep config: invalid hyperparameter configuration: {'.'.join(path)}: {reason}")


def _parameter(path: tuple[str, ...], spec: dict[str, Any]) -> Parameter:
    distribution = spec.get("distribution") or _implied(spec)
    if distribution not in DISTRIBUTIONS:
        raise _wrong(path, f"no distribution {distribution!r}" if distribution else "it says no values")
    if distribution == "constant" and "value" not in spec:
        raise _wrong(path, "a constant needs a value")
    if distribution in LISTS:
        values, weights = spec.get("values"), spec.get("probabilities")
        if not isinstance(values, list) or not values:
            raise _wrong(path, "values must be a list that is not empty")
        if weights is not None and (
            not isinstance(weights, list) or len(weights) != len(values) or not _numbers(weights)
        ):
            raise _wrong(path, "probabilities must be numbers, one for each value")
    if distribution in _RANGES:
        low, high = spec.get("min"), spec.get("max")
        if not _numbers([low, high]) or low > high:  # type: ignore[operator]  # both are numbers then
            raise _wrong(path, "min and max must be numbers, min not above max")
        if distribution == "int_uniform" and not (type(low) is int and type(high) is int):
            raise _wrong(path, "min and max of int_uniform must be integers")
        if distribution.endswith("values") and low <= 0:  # type: ignore[operator]  # as above
            raise _wrong(path, f"min of {distribution} must be above 0")
    step = spec.get("q", 1)
    if distribution.startswith("q_") and (not _numbers([step]) or step <= 0):
        raise _wrong(path, "q must be a number above 0")
    shape = {"mu", "sigma"} if distribution in _BELLS else {"a", "b"} if distribution in _BETAS else set()
    if not _numbers([spec.get(key, 1) for key in shape]):
        raise _wrong(path, f"{' and '.join(sorted(shape))} must be numbers")
    return Parameter(path, distribution, spec)


def _numbers(values: list[Any]) -> bool:
    return all(finite(value) is not None for value in values)


def _implied(spec: Mapping[str, Any]) -> str | None:
    """The distribution that a parameter without one means."""
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "min" in spec and "max" in spec:
        whole = type(spec["min"]) is int and type(spec["max"]) is int
        if "q" in spec:
            return "q_uniform"
        return "int_uniform" if whole else "uniform"
    return "normal" if "mu" in spec or "sigma" in spec else None


def grid_values(parameter: Parameter) -> list[Any]:
    """The values that a grid goes through."""
    spec, kind = parameter.spec, parameter.distribution
    if kind == "constant":
        return [spec["value"]]
    if kind in LISTS:
        return list(spec["values"])
    if kind == "int_uniform":
        span = spec["max"] - spec["min"] + 1
    elif kind == "q_uniform":
        span = int((spec["max"] - spec["min"]) / spec.get("q", 1) + 1e-9) + 1
    else:
        raise _wrong(parameter.path, f"a grid needs values; {kind} has no end of them")
    if span > _MAX_GRID:
        raise _wrong(parameter.path, f"a grid of more than {_MAX_GRID} values")
    step = spec.get("q", 1) if kind == "q_uniform" else 1
    return [spec["min"] + index * step for index in range(span)]


def expected_runs(config: Mapping[str, Any]) -> int | None:
    """How many runs the sweep comes to; None when nothing but a person ends it."""
    cap: int | None = config.get("run_cap")
    if config.get("method") != "grid":
        return cap
    count = math.prod(len(grid_values(parameter)) for parameter in parameters(config))
    return count if cap is None else min(cap, count)


def draw(parameter: Parameter, choice: random.Random) -> Any:
    """A value as the parameter's distribution has them."""
    spec, kind = parameter.spec, parameter.distribution
    if kind == "constant":
        return spec["value"]
    if kind in LISTS:
        return choice.choices(spec["values"], weights=spec.get("probabilities"))[0]
    if kind == "int_uniform":
        return choice.randint(spec["min"], spec["max"])
    return fitted(parameter, _draw_number(kind.removeprefix("q_"), spec, choice))


def fitted(parameter: Parameter, value: float) -> Any:
    """A number as the parameter allows it: whole, or of its steps, and within what was asked for."""
    spec, kind = parameter.spec, parameter.distribution
    if kind == "int_uniform":
        return min(max(round(value), spec["min"]), spec["max"])
    if kind in {"uniform", "log_uniform_values", "inv_log_uniform_values"}:
        return min(max(value, spec["min"]), spec["max"])
    if not kind.startswith("q_"):
        return value
    step = spec.get("q", 1)
    rounded = round(value / step) * step
    # Rounding to a step must not leave the range that was asked for.
    if kind in {"q_uniform", "q_log_uniform_values"}:
        rounded = min(max(rounded, spec["min"]), spec["max"])
    return rounded


def _draw_number(kind: str, spec: Mapping[str, Any], choice: random.Random) -> float:
    if kind in {"normal", "log_normal"}:
        drawn = choice.normalvariate(spec.get("mu", 0), spec.get("sigma", 1))
        return math.exp(drawn) if kind == "log_normal" else drawn
    if kind == "beta":
        return choice.betavariate(spec.get("a", 1), spec.get("b", 1))
    low, high = spec["min"], spec["max"]
    if kind == "uniform":
        return choice.uniform(low, high)
    if kind.endswith("values"):
        low, high = math.log(low), math.log(high)
    if kind == "inv_log_uniform":
        return math.exp(-choice.uniform(low, high))
    return math.exp(choice.uniform(low, high))
