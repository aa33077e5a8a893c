"""A run's history and events: whole lines, sampled keys, keys, Parquet exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.history import exports, lines
from wandb_ops.local.history.historykeys import history_keys
from wandb_ops.local.jsontext import loads, loads_object, strict
from wandb_ops.local.service import EXPORTS

if TYPE_CHECKING:
    from wandb_ops.local.resolvers.context import Args, Context, Resolver
    from wandb_ops.local.runs.runs import Run

_DEFAULT_SAMPLES = 500
_MAX_SAMPLES = 100_000
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_BATCH = 10_000
_MISSING = object()


def _samples(value: Any) -> int:
    if value is None:
        return _DEFAULT_SAMPLES
    if type(value) is not int or value < 1:
        raise Refused("samples must be at least 1")
    return min(value, _MAX_SAMPLES)


def _history(run: Run, context: Context, args: Args) -> list[str]:
    samples, low, high = _samples(args.get("samples")), args.get("minStep"), args.get("maxStep")
    with context.service.store.reading() as db:
        if low is None and high is None:
            return lines.sample(db, run.pk, lines.HISTORY, run.history_lines, samples)
        low, high = _LOWEST if low is None else low, _HIGHEST if high is None else high
        return lines.window(db, run.pk, low, high, samples)


def _events(run: Run, context: Context, args: Args) -> list[str]:
    with context.service.store.reading() as db:
        return lines.sample(db, run.pk, lines.EVENTS, run.events_lines, _samples(args.get("samples")))


@dataclass(frozen=True, slots=True)
class _Spec:
    """One request for sampled history: rows that hold every key, min_step <= _step <= max_step."""

    keys: list[str] | None
    samples: int
    low: int
    high: int


def _read_spec(text: str) -> _Spec:
    given = loads_object(text, "specs")
    keys = given.get("keys")
    if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise Refused("specs: keys must be a list of strings")
    bounds = [given.get("minStep"), given.get("maxStep")]
    if not all(bound is None or type(bound) is int for bound in bounds):
        raise Refused("specs: minStep and maxStep must be integers")
    low, high = bounds
    return _Spec(
        keys or None,
        _samples(given.get("samples")),
        _LOWEST if low is None else low,
        _HIGHEST if high is None else min(high + 1, _HIGHEST),  # the spec's maxStep is inclusive
    )


def _at(row: dict[str, Any], key: str) -> Any:
    """A row's value under a key; a dotted key also leads into nested objects."""
    if key in row:
        return row[key]
    value: Any = row
    parts = key.split(".")
    for part in parts:
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _pick(row: dict[str, Any], keys: list[str]) -> dict[str, Any] | None:
    picked = {}
    for key in keys:
        value = _at(row, key)
        if value is _MISSING:
            return None
        picked[key] = value
    return picked


def _sampled(run: Run, context: Context, spec: _Spec) -> list[dict[str, Any]]:
    matching: list[dict[str, Any]] = []
    with context.service.store.reading() as db:
        query = (
            "SELECT text FROM lines WHERE run=? AND file=0 AND step>=? AND step<? ORDER BY step, line"
            if spec.low > _LOWEST or spec.high < _HIGHEST
            else "SELECT text FROM lines WHERE run=? AND file=0 AND step>=? AND step<=? ORDER BY line"
        )
        for (text,) in db.execute(query, (run.pk, spec.low, spec.high)):
            if spec.keys is not None and not all(_mentions(text, key) for key in spec.keys):
                continue
            row = loads(text)
            picked = row if spec.keys is None else _pick(row, spec.keys)
            if picked is not None:
                matching.append(picked)
    chosen = lines.spread(len(matching), spec.samples)
    return [strict(matching[index]) for index in chosen]


def _mentions(text: str, key: str) -> bool:
    """Whether a line can hold a key at all, before it is parsed. Keys that JSON may escape always can."""
    last = key.rsplit(".", 1)[-1]
    return not (last.isascii() and last.isalnum()) or last in text


def _sampled_history(run: Run, context: Context, args: Args) -> list[list[dict[str, Any]]]:
    return [_sampled(run, context, _read_spec(spec)) for spec in args.get("specs") or ()]


def _parquet_history(run: Run, context: Context, _args: Args) -> dict[str, Any]:
    names = exports.parts(context.service.folder(EXPORTS, run.pk), run)
    live: list[dict[str, int]] = []
    if names and run.history_lines > run.exported_lines:
        with context.service.store.reading() as db:
            step = lines.first_step_from(db, run.pk, run.exported_lines)
        if step is not None:
            live = [{"_step": step}]
    signer = context.service.signer
    return {
        "parquetUrls": [context.base_url + signer.path("GET", EXPORTS, run.pk, name) for name in names],
        "liveData": live,
    }


RESOLVERS: dict[str, Resolver] = {
    "Run.history": _history,
    "Run.events": _events,
    "Run.sampledHistory": _sampled_history,
    "Run.historyKeys": lambda run, context, _args: history_keys(context.service.store, run),
    "Run.parquetHistory": _parquet_history,
}
