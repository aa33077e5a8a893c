"""Small, still charts for reports, asset pages and mails.

Everything that an orchestrator shows beside a result should load at once and look the same tomorrow: a chart
here is a few kilobytes, needs no script and no network, and the same numbers give the same bytes.
matplotlib does the drawing, headless, and is imported on first use only (`pip install 'wandb-ops[plots]'`).
"""

from __future__ import annotations

import base64
import io
import math
import re
import threading
import unicodedata
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import Error, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ChartFormat = Literal["svg", "png"]

# Eight hues that stay apart for colour-blind readers and on white as on light grey.
_PALETTE = ("#2563eb", "#ea580c", "#059669", "#c026d3", "#ca8a04", "#0891b2", "#dc2626", "#64748b")
_INK = "#0f172a"
_MUTED = "#64748b"
_GRID = "#e2e8f0"
_DPI = 100
_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_SIZE_LIMIT = 20_000  # bytes that a chart should not exceed
_POINTS_PER_CHART = (640, 480, 320, 160)  # drawn, over all lines; fewer when the picture gets too large
_DIRECT_LABELS = 8  # more lines than this get a legend
_LEGEND_ENTRIES = 14
_NAME_LENGTH = 28
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#cbd5e1",
    "axes.formatter.useoffset": False,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "path.simplify": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "wandb-ops",
    "text.color": _INK,
    "text.parse_math": False,  # a run may be called "$x_1"; it is a name, not a formula
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_drawing = threading.Lock()  # matplotlib's settings are global to the process


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    width: int = 640,
    height: int = 360,
    format: ChartFormat = "svg",
) -> bytes:
    """Lines over a common x axis, each labelled where it ends.

    NaN and infinite values leave a gap. Lines with many points are thinned for drawing only, keeping the
    lowest and highest value of every stretch, so that no spike disappears.

    Args:
        series: name -> (x values, y values), both of one length.
        title: Shown above the chart.
        x_label: What x counts.
        y_label: What y measures.
        width: Pixels.
        height: Pixels.
        format: "svg" or "png".

    Returns:
        The image, the same bytes for the same arguments.

    Raises:
        UsageError: x and y of a series differ in length, or the format is unknown.
        Error: matplotlib is not installed.
    """
    _check_format(format)
    for name, (xs, ys) in series.items():
        if len(xs) != len(ys):
            raise UsageError(f"Series {name!r} has {len(xs)} x values and {len(ys)} y values")
    picture = b""
    for points in _POINTS_PER_CHART:
        budget = max(8, points // max(1, len(series)))
        thinned = {name: _thin(xs, ys, budget) for name, (xs, ys) in series.items()}
        with _figure(width, height) as figure:
            _draw_lines(figure, thinned, title, x_label, y_label)
            picture = _render(figure, format)
        if len(picture) <= _SIZE_LIMIT:
            break
    return picture


def bar_chart(
    values: Mapping[str, float],
    *,
    title: str,
    x_label: str = "",
    highlight: str | None = None,
    width: int = 640,
    height: int | None = None,
    format: ChartFormat = "svg",
) -> bytes:
    """Horizontal bars, one per name, each with its value written at its end.

    Args:
        values: name -> value; NaN and infinite values are written out and get no bar.
        title: Shown above the chart.
        x_label: What the values measure.
        highlight: The name whose bar stands out, such as the best run; the others are muted.
        width: Pixels.
        height: Pixels; by default what the number of bars needs.
        format: "svg" or "png".

    Returns:
        The image, the same bytes for the same arguments.

    Raises:
        UsageError: The format is unknown.
        Error: matplotlib is not installed.
    """
    _check_format(format)
    names = list(values)
    numbers = [float(value) for value in values.values()]
    lengths = [number if math.isfinite(number) else 0.0 for number in numbers]
    with _figure(width, height or max(140, 84 + 30 * len(names))) as figure:
        axes = _axes(figure, title, x_label)
        axes.grid(axis="x", color=_GRID, linewidth=0.8)
        axes.spines["bottom"].set_visible(False)
        muted = "#bfdbfe" if highlight is not None else _PALETTE[0]
        colors = [_PALETTE[0] if name == highlight else muted for name in names]
        rows = range(len(names))
        axes.xaxis.set_major_formatter(_tick)
        axes.barh(rows, lengths, height=0.62, color=colors)
        axes.set_yticks(list(rows), [_clean(name) for name in names], color=_INK)
        axes.invert_yaxis()
        for row, number, length in zip(rows, numbers, lengths, strict=True):
            axes.annotate(
                _tick(float(f"{number:.4g}")) if math.isfinite(number) else str(number),
                (length, row),
                xytext=(4 if length >= 0 else -4, 0),
                textcoords="offset points",
                va="center",
                ha="left" if length >= 0 else "right",
                fontweight="bold" if names[row] == highlight else "normal",
            )
        if not names:
            _say_no_data(axes)
        axes.axvline(0, color="#94a3b8", linewidth=0.8)
        axes.margins(x=0.2)  # room for the longest label, also beside long names
        if min(lengths, default=0.0) >= 0:
            axes.set_xlim(left=0)
        figure.tight_layout(pad=0.8)
        return _render(figure, format)


def data_uri(image: bytes, format: ChartFormat) -> str:
    """`image` as a `data:` URI, to stand in Markdown or HTML without a file of its own."""
    _check_format(format)
    kind = "image/svg+xml" if format == "svg" else "image/png"
    return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _check_format(format: str) -> None:
    if format not in ("svg", "png"):
        raise UsageError(f"A chart is 'svg' or 'png', not {format!r}")


@contextmanager
def _figure(width: int, height: int) -> Iterator[Figure]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Error(
            "Drawing a chart needs matplotlib", hint="Install it with: pip install 'wandb-ops[plots]'"
        ) from error
    with _drawing, mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A run may be named in a script that the font lacks: a box in its place is no news.
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message="Tight layout not applied")
        yield Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")


def _axes(figure: Figure, title: str, measure: str) -> Axes:
    axes = figure.add_subplot()
    heading = _clean(title, 80)
    axes.set_title(heading, loc="left", fontsize=11.5, fontweight="bold", pad=22 if measure else 8)
    if measure:
        # Above the axis, lying: an upright label is read by tilting the head.
        axes.annotate(
            _clean(measure, 60),
            (0, 1),
            xytext=(0, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            color=_MUTED,
        )
    return axes


def _draw_lines(
    figure: Figure,
    series: Mapping[str, tuple[list[float], list[float]]],
    title: str,
    x_label: str,
    y_label: str,
) -> None:
    axes = _axes(figure, title, y_label)
    axes.set_xlabel(_clean(x_label, 60), color=_MUTED, loc="right")
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.xaxis.set_major_formatter(_tick)
    axes.yaxis.set_major_formatter(_tick)
    ends: list[tuple[str, str, float, float]] = []
    for index, (name, (xs, ys)) in enumerate(series.items()):
        color, dashes = _look(index)
        drawn = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        lonely = _lonely(ys)
        axes.plot(
            xs,
            ys,
            linestyle=dashes,
            color=color,
            linewidth=1.7,
            marker="o" if lonely else None,
            markevery=lonely or None,
            markersize=4,
        )
        if drawn:
            ends.append((name, color, *drawn[-1]))
    axes.margins(x=0.01, y=0.08)
    if not ends:
        _say_no_data(axes)
    elif len(series) > _DIRECT_LABELS:
        _legend(axes, list(series))
    figure.tight_layout(pad=0.8)
    if ends and len(series) <= _DIRECT_LABELS:
        _label_ends(figure, axes, ends)


def _lonely(ys: Sequence[float]) -> list[int]:
    """Places of values between two gaps, which a line alone would not show."""
    there = [False, *map(math.isfinite, ys), False]
    return [i for i in range(len(ys)) if there[i + 1] and not there[i] and not there[i + 2]]


def _look(index: int) -> tuple[str, Literal["-", "--", ":", "-."]]:
    return _PALETTE[index % len(_PALETTE)], _DASHES[index // len(_PALETTE) % len(_DASHES)]


def _tick(value: float, _position: float = 0.0) -> str:
    """Numbers as people write them: 12500, 1.5M, 0.0003, 2e-05; never an offset in a corner."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size and abs(value) < 1e12:
            return f"{value / size:.6g}{letter}"
    return f"{value:.6g}"


def _say_no_data(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=_MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def _legend(axes: Axes, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_look(i)[0], linestyle=_look(i)[1])
        for i in range(min(len(names), _LEGEND_ENTRIES))
    ]
    labels = [_clean(name) for name in names[:_LEGEND_ENTRIES]]
    if len(names) > _LEGEND_ENTRIES:
        handles.append(Line2D([], [], linestyle=""))
        labels.append(f"and {len(names) - _LEGEND_ENTRIES} more")
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8)


def _label_ends(figure: Figure, axes: Axes, ends: Sequence[tuple[str, str, float, float]]) -> None:
    """Names at the ends of their lines, moved apart where they would overlap, with room made at the right."""
    names = [_clean(name) for name, *_ in ends]
    widest = max(_text_width(figure, name) for name in names)
    right = figure.subplotpars.right - (widest + 10) / figure.bbox.width
    figure.subplots_adjust(right=max(0.4, right))
    pixels = [float(axes.transData.transform((x, y))[1]) for _, _, x, y in ends]
    spread = _apart(pixels, gap=13.0, low=axes.bbox.y0, high=axes.bbox.y1)
    edge = float(axes.bbox.x1) + 6
    for name, (_, color, _, _), y in zip(names, ends, spread, strict=True):
        figure.text(
            edge / figure.bbox.width, y / figure.bbox.height, name, color=color, va="center", fontsize=9
        )


def _text_width(figure: Figure, text: str) -> float:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    canvas: Any = FigureCanvasAgg(figure)
    width, _, _ = canvas.get_renderer().get_text_width_height_descent(
        text, FontProperties(size=9), ismath=False
    )
    return float(width)


def _apart(positions: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """`positions` moved as little as one pass up and one down need to keep `gap` between neighbours."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = list(positions)
    floor = low
    for i in order:
        placed[i] = max(placed[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def _thin(xs: Sequence[float], ys: Sequence[float], budget: int) -> tuple[list[float], list[float]]:
    """At most about `budget` points: the lowest and highest of every stretch, gaps and both ends kept."""
    points = [(float(x), float(y) if _drawable(x, y) else math.nan) for x, y in zip(xs, ys, strict=True)]
    points = [(x, y) for x, y in points if math.isfinite(x)]
    if len(points) > budget:
        size = math.ceil(len(points) / max(1, budget // 2 - 1))
        kept = {0, len(points) - 1}
        for start in range(0, len(points), size):
            stretch = range(start, min(start + size, len(points)))
            finite = [i for i in stretch if not math.isnan(points[i][1])]
            if finite:
                kept.add(min(finite, key=lambda i: points[i][1]))
                kept.add(max(finite, key=lambda i: points[i][1]))
            else:
                kept.add(stretch[0])  # a stretch of nothing stays a gap
        points = [points[i] for i in sorted(kept)]
    return [x for x, _ in points], [y for _, y in points]


def _drawable(x: float, y: float) -> bool:
    return x is not None and y is not None and math.isfinite(y)


def _clean(text: str, length: int = _NAME_LENGTH) -> str:
    """`text` on one line, free of control characters, cut in the middle of nothing but itself."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in str(text))
    shown = shown.strip()
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def _render(figure: Figure, format: ChartFormat) -> bytes:
    out = io.BytesIO()
    if format == "svg":
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return _slim_svg(out.getvalue().decode()).encode()
    from PIL import Image  # comes with matplotlib

    figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    picture = Image.open(out).convert("RGB")
    small = b""
    for colors in (128, 48, 24):
        packed = io.BytesIO()
        picture.quantize(colors, dither=Image.Dither.NONE).save(packed, format="PNG", optimize=True)
        small = packed.getvalue()
        if len(small) <= _SIZE_LIMIT:
            break
    return small


def _slim_svg(text: str) -> str:
    """The same drawing in half the bytes: hundredths of a pixel are enough, and nobody reads the metadata."""
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<=[\d ,(\"LM-])(\d+\.\d{2})\d+", r"\1", text)
    return re.sub(r"\n\s*", "\n", text)
