"""Parallel coordinates of a sweep: one axis a parameter and one for the metric, one line a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from wandb_ops.local.jsontext import finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 1180, 300, 34, 20, 80
_DECADES = 100  # an axis of numbers whose ends are so far apart is drawn by their logarithms
_MOST_AXES = 12


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where a value stands on an axis, from 0 (bottom) to 1, and what is written at marks."""

    name: str
    places: Mapping[Any, float]
    marks: Sequence[tuple[float, str]]


def _number(value: Any) -> bool:
    return finite(value) is not None


def _axis(name: str, values: Sequence[Any], brief: Any) -> _Axis:
    if all(_number(value) for value in values):
        low, high = min(values), max(values)
        log = low > 0 and high / low >= _DECADES
        scale = math.log10 if log else float
        span = (scale(high) - scale(low)) or 1.0
        places = {value: 0.5 if low == high else (scale(value) - scale(low)) / span for value in values}
        return _Axis(name, places, sorted({(places[low], brief(low)), (places[high], brief(high))}))
    words = sorted({brief(value) for value in values})
    steps = {word: 0.5 if len(words) == 1 else at / (len(words) - 1) for at, word in enumerate(words)}
    return _Axis(
        name, {brief(value): steps[brief(value)] for value in values}, [(steps[w], w) for w in words]
    )


def chart(columns: Sequence[str], rows: Sequence[Sequence[Any]], brief: Any, goal: str) -> Markup | None:
    """The drawing, or None when there is nothing to compare.

    Args:
        columns: Names of the axes; the last is the metric.
        rows: A run's values, in that order; runs that lack one are left out.
        brief: A value as text.
        goal: ``minimize`` or ``maximize``: the best third is drawn strongly.
    """
    full = [row for row in rows if all(value is not None for value in row) and _number(row[-1])]
    kept = [at for at in range(len(columns)) if len({brief(row[at]) for row in full}) > 1][-_MOST_AXES:]
    if len(full) < 2 or len(kept) < 2 or kept[-1] != len(columns) - 1:
        return None
    axes = [_axis(columns[at], [row[at] for row in full], brief) for at in kept]
    gap = (_WIDTH - 2 * _SIDE) / (len(axes) - 1)
    ordered = sorted(full, key=lambda row: row[-1], reverse=goal == "maximize")
    parts = []
    for rank, row in reversed(list(enumerate(ordered))):
        points = " ".join(
            f"{_SIDE + gap * index:.1f},{_height(axis.places, row[at], brief):.1f}"
            for index, (axis, at) in enumerate(zip(axes, kept, strict=True))
        )
        strong = "best" if rank * 3 < len(ordered) else "rest"
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(strong, points))
    for index, axis in enumerate(axes):
        x = f"{_SIDE + gap * index:.1f}"
        parts.append(Markup('<line x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, _TOP, _HEIGHT - _BOTTOM))
        parts.append(Markup('<text class="name" x="{}" y="16">{}</text>').format(x, axis.name))
        for place, word in axis.marks:
            parts.append(Markup('<text x="{}" y="{:.1f}">{}</text>').format(x, _up(place) + 4, escape(word)))
    body = Markup("").join(parts)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="parallel coordinates">{}</svg>').format(
        _WIDTH, _HEIGHT, body
    )


def _up(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _BOTTOM - _TOP)


def _height(places: Mapping[Any, float], value: Any, brief: Any) -> float:
    known = places.get(value) if _number(value) else None
    return _up(places[brief(value)] if known is None else known)
