"""A snapshot as one HTML page: no script, no network, no file beside it.

Charts are images inside the page. What comes from runs (names, values) is text, never markup, and the page
forbids itself to load anything.
"""

from __future__ import annotations

import math
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from wandb_ops.charts import bar_chart, data_uri
from wandb_ops.export.places.targets import explained, measure, target

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from wandb_ops.export.snapshots.snapshots import Goal, Snapshot

    Pair = tuple[str, Goal]

COLUMNS = ("run_id", "display_name", "state", "url", "history_lines")
"""What the page says of a run, but for its metrics."""

_BARS = 12
_ROWS = 500
_WORDS = {"min": "lowest", "max": "highest", "last": "last value", "mean": "mean"}
_STYLE = """
:root { color-scheme: light dark; --ink: #0f172a; --soft: #64748b; --line: #e2e8f0; --card: #fff;
  --page: #f8fafc; --link: #2563eb; --good: #047857; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --soft: #94a3b8; --line: #334155;
  --card: #1e293b; --page: #0f172a; --link: #93c5fd; --good: #6ee7b7; --bad: #fca5a5; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; } h1 a { color: inherit; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
.soft { color: var(--soft); } p { margin: .25rem 0; }
.cards, .charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.charts { grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); align-items: start; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem;
  min-width: 0; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.55rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.label { font-size: .8rem; color: var(--soft); }
.card img { width: 100%; height: auto; background: #fff; border-radius: 6px; }
.state { font-size: .8rem; border-radius: 99px; padding: .1rem .55rem; white-space: nowrap;
  background: #e2e8f0; color: #334155; }
.finished { background: #d1fae5; color: #065f46; } .running { background: #dbeafe; color: #1e40af; }
.failed, .crashed, .killed { background: #fee2e2; color: #991b1b; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { font-size: .8rem; font-weight: 600; color: var(--soft); white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); }
@media (max-width: 30rem) { .charts { grid-template-columns: 1fr; } }
"""


def snapshot_page(
    snapshot: Snapshot,
    runs: pa.Table,
    values: Mapping[Pair, Sequence[float | None]],
    before: Mapping[Pair, Mapping[str, float]],
) -> bytes:
    """The page.

    Args:
        snapshot: What was seen.
        runs: `COLUMNS` of its table.
        values: (metric, goal) -> its value in each row of that.
        before: (metric, goal) -> run id -> value in the snapshot before.
    """
    title = f"{snapshot.entity}/{snapshot.project}"
    states = " ".join(f"{_state(state)} {count}" for state, count in snapshot.states.items())
    names = _names(runs)
    charts = "".join(_chart(pair, names, found) for pair, found in values.items())
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:;",
        " style-src 'unsafe-inline'\">",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{escape(title)} at {snapshot.at}</title><style>{_STYLE}</style></head><body>",
        f"<h1><a href='{escape(snapshot.url, quote=True)}'>{escape(title)}</a></h1>",
        f"<p class='soft'>{snapshot.at}{_compared(snapshot)}</p>",
        f"<p>{snapshot.runs} runs, {snapshot.new_runs} new &nbsp; {states}</p>",
        f"<h2>Metrics</h2><div class='cards'>{''.join(_cards(snapshot))}</div>" if values else "",
        f"<h2>Charts</h2><div class='charts'>{charts}</div>" if charts else "",
        _table(snapshot, runs, names, values, before),
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


def _state(state: Any) -> str:
    known = str(state) if str(state).isalpha() else ""
    return f"<span class='state {escape(known, quote=True)}'>{escape(str(state or 'unknown'))}</span>"


def _cards(snapshot: Snapshot) -> list[str]:
    """One per metric: the best run of those that rank, what moved most of the others."""
    cards = []
    best = {(one.metric, one.goal): one for one in snapshot.best}
    for change in snapshot.changes:
        label = f"<span class='label'>{escape(change.metric)}, {_WORDS[change.goal]}</span>"
        winner = best.get((change.metric, change.goal))  # type: ignore[arg-type]  # of some goals there is none
        if winner is not None:
            moved = _delta(winner.delta, change.goal, "since the snapshot before")
            cards.append(
                f"<div class='card'>{label}<b>{winner.value:.6g}</b>"
                f"<p>{_link(winner.url, winner.display_name)}</p>"
                f"<p class='label'>{moved or 'nothing to compare with'}</p></div>"
            )
        elif not change.runs:
            cards.append(
                f"<div class='card'>{label}<b>–</b><p class='soft'>No run has a finite value.</p></div>"
            )
        else:
            about = f"<p class='label'>in {change.runs} runs, {change.changed} changed</p>"
            most = ""
            if change.value is not None:
                most = (
                    f"<b>{change.value:.6g}</b><p>{_link(change.url or '', change.display_name or '')}"
                    f" <span class='label'>changed most: {change.delta:+.4g}</span></p>"
                )
            cards.append(f"<div class='card'>{label}{most}{about}</div>")
    return cards


def _chart(pair: Pair, names: Sequence[str], values: Sequence[float | None]) -> str:
    metric, goal = pair
    finite = [(row, value) for row, value in enumerate(values) if value is not None and math.isfinite(value)]
    if not finite:
        return ""
    ranked = sorted(finite, key=lambda entry: entry[1] * (1 if goal == "min" else -1))[:_BARS]
    bars = {names[row]: value for row, value in ranked}
    order = "lowest" if goal == "min" else "highest"
    title = (
        f"{metric}, {order} first" if goal in ("min", "max") else f"{metric}, {_WORDS[goal]}, {order} first"
    )
    highlight = names[ranked[0][0]] if goal in ("min", "max") else None
    image = bar_chart(bars, title=title, highlight=highlight, width=520)
    source = data_uri(image, "svg")
    return f"<div class='card'><img alt='{escape(title, quote=True)}' src='{source}'></div>"


def _names(runs: pa.Table) -> list[str]:
    """A name for each row: display names, with the id where two runs have one name."""
    shown: list[Any] = runs.column("display_name").to_pylist()
    ids: list[Any] = runs.column("run_id").to_pylist()
    times = Counter(shown)
    return [
        str(name) if name and times[name] == 1 else f"{name or ''} ({run_id})".strip()
        for name, run_id in zip(shown, ids, strict=True)
    ]


def _table(
    snapshot: Snapshot,
    runs: pa.Table,
    names: Sequence[str],
    values: Mapping[Pair, Sequence[float | None]],
    before: Mapping[Pair, Mapping[str, float]],
) -> str:
    compared = snapshot.previous is not None
    heads = "".join(
        f"<th class='number'>{escape(metric)}{'' if goal in ('min', 'max') else f', {_WORDS[goal]}'}</th>"
        + "<th class='number'>change</th>" * compared
        for metric, goal in values
    )
    first = runs.num_rows - min(runs.num_rows, _ROWS)
    lines = []
    for place, row in reversed(list(enumerate(runs.slice(first).to_pylist(), start=first))):
        cells = ""
        for pair, found in values.items():
            value, old = found[place], before.get(pair, {}).get(row["run_id"])
            change = None if value is None or old is None else value - old
            cells += f"<td class='number'>{_number(value)}</td>"
            cells += f"<td class='number'>{_delta(change, pair[1])}</td>" * compared
        lines.append(
            f"<tr><td>{_link(row['url'], names[place])}</td><td>{_state(row['state'])}</td>"
            f"<td class='number'>{row['history_lines'] or 0}</td>{cells}</tr>"
        )
    note = f"<p class='soft'>and {first} older runs</p>" if first else ""
    return (
        "<h2>Runs</h2><div class='scroll'><table><tr><th>run, newest first</th><th>state</th>"
        f"<th class='number'>history lines</th>{heads}</tr>{''.join(lines)}</table></div>{note}"
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if math.isfinite(value) else "NaN" if math.isnan(value) else f"{value}"


def _link(url: str, text: str) -> str:
    return f"<a href='{escape(url, quote=True)}'>{escape(text)}</a>"


def _delta(change: float | None, goal: Goal, words: str = "") -> str:
    """A change, green where it is to the better; of a last value or a mean nobody knows what is better."""
    if change is None:
        return ""
    if not change:
        return f"unchanged {words}" if words else "<span class='soft'>=</span>"
    better = (change < 0) == (goal == "min") if goal in ("min", "max") else None
    kind = "" if better is None else " class='good'" if better else " class='bad'"
    return f"<span{kind}>{change:+.4g}</span>" + (f" {words}" if words else "")


def _left_out(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    items = "".join(f"<li>{count} {escape(reason)}</li>" for reason, count in left_out.items())
    return f"<h2>Left out</h2><ul class='soft'>{items}</ul>"
