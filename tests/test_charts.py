"""Charts: small, still, the same bytes for the same numbers."""

from __future__ import annotations

import base64
import io
import math
import random
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from wandb_ops.charts import _apart, _clean, _thin, bar_chart, data_uri, line_chart
from wandb_ops.errors import Error, UsageError

SVG = "{http://www.w3.org/2000/svg}"
LABELS = {"title": "Validation loss", "x_label": "step", "y_label": "loss"}


def noisy(points: int, seed: int = 0) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    return list(range(points)), [math.exp(-i / points * 4) + 0.05 * rng.random() for i in range(points)]


def texts(svg: bytes) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("format", ["svg", "png"])
def test_the_same_numbers_give_the_same_small_picture(format):
    series = {"baseline": noisy(5000, 1), "wide": noisy(5000, 2), "deep": noisy(5000, 3)}
    first = line_chart(series, format=format, **LABELS)
    assert line_chart(series, format=format, **LABELS) == first
    assert len(first) <= 20_000
    bars = bar_chart({"a": 0.5, "b": 0.25}, title="Best", format=format)
    assert bar_chart({"a": 0.5, "b": 0.25}, title="Best", format=format) == bars
    assert len(bars) <= 20_000


def test_another_process_draws_the_same_bytes():
    code = (
        "import sys; from wandb_ops.charts import line_chart; sys.stdout.buffer.write("
        "line_chart({'a': ([0, 1, 2], [3.0, 1.0, 2.0])}, title='t', x_label='x', y_label='y'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONHASHSEED": "7", "PATH": ""}
    )
    here = line_chart({"a": ([0, 1, 2], [3.0, 1.0, 2.0])}, title="t", x_label="x", y_label="y")
    assert done.stdout == here


def test_a_png_has_the_size_that_was_asked_for():
    picture = Image.open(
        io.BytesIO(line_chart({"a": noisy(50)}, format="png", width=500, height=280, **LABELS))
    )
    assert picture.format == "PNG"
    assert picture.size == (500, 280)
    colors = {color for _, color in picture.convert("RGB").getcolors(100_000)}
    assert (37, 99, 235) in colors


def test_an_svg_shows_title_axes_and_names_as_text_and_holds_no_date():
    svg = line_chart({"baseline": noisy(50), "wide": noisy(50, 2)}, **LABELS)
    shown = texts(svg)
    assert {"Validation loss", "loss", "step", "baseline", "wide"} <= set(shown)
    assert b"metadata" not in svg
    assert not re.search(rb"20\d\d-\d\d", svg)


def test_many_lines_get_a_legend_that_says_how_many_more_there_are():
    svg = line_chart({f"run {i}": noisy(300, i) for i in range(20)}, **LABELS)
    assert len(svg) <= 20_000
    assert "and 6 more" in texts(svg)


def test_nan_and_infinite_values_leave_a_gap_and_a_lone_value_is_a_dot():
    ys = [1.0, 1.5, math.nan, 3.0, math.inf, 2.0, 2.5]
    svg = line_chart({"a": (range(7), ys)}, **LABELS).decode()
    line = next(d for d in re.findall(r'<path d="([^"]*)" clip-path[^>]*stroke: #2563eb', svg))
    pieces = [piece.count("L") for piece in line.split("M")[1:]]
    assert [length for length in pieces if length] == [1, 1]
    assert svg.count("<use") == 1


@pytest.mark.parametrize("series", [{}, {"a": ([], [])}, {"a": ([1, 2], [math.nan, math.nan])}], ids=str)
def test_nothing_to_draw_is_said(series):
    assert "no data" in texts(line_chart(series, **LABELS))


def test_no_bars_are_said_too():
    assert "no data" in texts(bar_chart({}, title="Best"))


def test_a_single_point_is_drawn_as_a_dot():
    one = line_chart({"a": ([3], [0.5])}, **LABELS)
    assert b"<use" in one


def test_thinning_keeps_both_ends_and_every_spike():
    xs = list(range(100_000))
    ys = [0.0] * 100_000
    ys[54_321], ys[77_777] = 9.0, -9.0
    thin_x, thin_y = _thin(xs, ys, 200)
    assert len(thin_x) <= 204
    assert (thin_x[0], thin_x[-1]) == (0, 99_999)
    assert max(thin_y) == 9.0
    assert min(thin_y) == -9.0
    assert thin_x == sorted(thin_x)
    assert _thin([1, 2], [3.0, 4.0], 200) == ([1, 2], [3.0, 4.0])


def test_labels_are_moved_apart_and_stay_inside():
    placed = _apart([100.0, 101.0, 99.0, 10.0], gap=13, low=0, high=105)
    assert all(b - a >= 13 - 1e-9 for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False))
    assert max(placed) <= 105
    assert placed[3] == 10


def test_bars_carry_their_values_and_a_nan_is_written_out():
    shown = texts(
        bar_chart({"a": 0.953, "b": math.nan, "c": -2.0}, title="Best", x_label="acc", highlight="a")
    )
    assert {"a", "b", "c", "0.953", "nan", "-2", "Best", "acc"} <= set(shown)


@pytest.mark.parametrize(
    "name", ["$x_1$", "_hidden", "<script>&", "two\nlines\x1b[31m", "日本語", "\ud800", "", "n" * 500]
)
@pytest.mark.parametrize("format", ["svg", "png"])
def test_any_name_can_be_drawn(name, format):
    assert line_chart({name: noisy(9)}, title=name, x_label=name, y_label=name, format=format)
    assert bar_chart({name: 1.0}, title=name, format=format)


def test_names_are_one_line_of_bounded_length():
    assert _clean("two\nlines\x1b[31m") == "two lines [31m"
    assert len(_clean("n" * 500)) == 28


def test_a_data_uri_holds_the_picture():
    svg = bar_chart({"a": 1.0}, title="t")
    head, _, body = data_uri(svg, "svg").partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body) == svg
    assert data_uri(b"x", "png") == "data:image/png;base64,eA=="


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="2 x values and 1 y"):
        line_chart({"a": ([1, 2], [1.0])}, **LABELS)
    with pytest.raises(UsageError, match="gif"):
        line_chart({}, format="gif", **LABELS)


def test_without_matplotlib_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Error, match=r"pip install 'wandb-ops\[plots\]'"):
        bar_chart({"a": 1.0}, title="t")


def test_threads_draw_at_once_without_mixing():
    series = [{f"run {i}": noisy(100, i)} for i in range(4)]
    alone = [line_chart(s, **LABELS) for s in series]
    together: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.__setitem__(i, line_chart(series[i], **LABELS)))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(4)] == alone


def test_importing_charts_loads_no_matplotlib():
    code = "import sys, wandb_ops.charts; print('matplotlib' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
