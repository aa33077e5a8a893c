"""A snapshot as one HTML page: no script, no network, no file beside it.

Charts are images inside the page. What comes from runs (names, values) is text, never markup, and the page
forbids itself to load anything.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from wandb_ops.charts import bar_chart, data_uri
from wandb_ops.export.targets import explained, measure, target

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from wandb_ops.snapshot import Snapshot

_BARS = 20
_ROWS = 500
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.muted { color: #64748b; } img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; }
th { border-bottom: 2px solid #cbd5e1; } td { border-bottom: 1px solid #e2e8f0; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def snapshot_page(
    snapshot: Snapshot,
    values: Mapping[str, Sequence[float | None]],
    before: Mapping[str, Mapping[str, float]],
) -> bytes:
    """The page.

    Args:
        snapshot: What was seen.
        values: Metric -> its value in each row of the snapshot's table.
        before: Metric -> run id -> value in the snapshot before.
    """
    title = f"{snapshot.entity}/{snapshot.project}"
    states = ", ".join(f"{count} {escape(state)}" for state, count in snapshot.states.items())
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:;",
        " style-src 'unsafe-inline'\">",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{escape(title)} at {snapshot.at}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p class='muted'>{snapshot.at}, {snapshot.runs} runs ({states}),",
        f" {snapshot.new_runs} new{_compared(snapshot)}</p>",
        *(_metric(snapshot, name, values[name]) for name in snapshot.metrics),
        _table(snapshot, values, before),
        _left_out(snapshot.left_out),
        "</body></html>\n",
    ]
    return "".join(parts).encode("utf-8", "backslashreplace")


def write_page(page: bytes, to: str | os.PathLike[str]) -> str:
    """Put a page in place; returns where it is."""
    place = target(to)
    with explained(place.uri, "write"), place.publish() as out:
        out.write(page)
        out.flush()
        measure(out)
    return place.uri


def _compared(snapshot: Snapshot) -> str:
    return f", compared with {escape(snapshot.previous)}" if snapshot.previous else ""


def _metric(snapshot: Snapshot, metric: str, values: Sequence[float | None]) -> str:
    best = next((one for one in snapshot.best if one.metric == metric), None)
    if best is None:
        return f"<h2>{escape(metric)}</h2><p class='muted'>No run has a finite value.</p>"
    names = _names(snapshot)
    ranked = sorted(
        (row for row, value in enumerate(values) if value is not None and math.isfinite(value)),
        key=lambda row: (values[row] or 0.0) * (1 if best.goal == "min" else -1),
    )[:_BARS]
    bars = {names[row]: values[row] or 0.0 for row in ranked}
    goal = "lowest" if best.goal == "min" else "highest"
    image = bar_chart(bars, title=f"{metric}, {goal} first", highlight=names[ranked[0]])
    change = "" if best.delta is None else f", {best.delta:+.4g} since the snapshot before"
    return (
        f"<h2>{escape(metric)}</h2><p>Best ({best.goal}): <b>{best.value:.6g}</b> of"
        f" <a href='{escape(best.url, quote=True)}'>{escape(best.display_name)}</a>{change}</p>"
        f"<img alt='{escape(metric, quote=True)} of the best runs' src='{data_uri(image, 'svg')}'>"
    )


def _names(snapshot: Snapshot) -> list[str]:
    """A name for each row: display names, with the id where two runs have one name."""
    shown: list[Any] = snapshot.table.column("display_name").to_pylist()
    ids: list[Any] = snapshot.table.column("run_id").to_pylist()
    return [
        str(name) if name and shown.count(name) == 1 else f"{name or ''} ({run_id})".strip()
        for name, run_id in zip(shown, ids, strict=True)
    ]


def _table(
    snapshot: Snapshot,
    values: Mapping[str, Sequence[float | None]],
    before: Mapping[str, Mapping[str, float]],
) -> str:
    heads = "".join(f"<th>{escape(name)}</th><th>change</th>" for name in snapshot.metrics)
    rows = snapshot.table.select(["run_id", "display_name", "state", "url", "history_lines"]).slice(0, _ROWS)
    lines = []
    for place, row in enumerate(rows.to_pylist()):
        cells = ""
        for name in snapshot.metrics:
            value, old = values[name][place], before.get(name, {}).get(row["run_id"])
            change = None if value is None or old is None else value - old
            cells += _number(value, "{:.6g}") + _number(change, "{:+.4g}")
        lines.append(
            f"<tr><td><a href='{escape(row['url'], quote=True)}'>"
            f"{escape(row['display_name'] or row['run_id'])}</a></td><td>{escape(row['state'] or '')}</td>"
            f"<td class='number'>{row['history_lines'] or 0}</td>{cells}</tr>"
        )
    more = snapshot.runs - len(lines)
    note = f"<p class='muted'>and {more} more runs</p>" if more > 0 else ""
    return (
        f"<h2>Runs</h2><table><tr><th>run</th><th>state</th><th>history lines</th>{heads}</tr>"
        f"{''.join(lines)}</table>{note}"
    )


def _number(value: float | None, form: str) -> str:
    return f"<td class='number'>{'' if value is None else form.format(value)}</td>"


def _left_out(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    items = "".join(f"<li>{count} {escape(reason)}</li>" for reason, count in left_out.items())
    return f"<h2>Left out</h2><ul>{items}</ul>"
