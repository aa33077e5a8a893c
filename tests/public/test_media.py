"""Tables, images and pages on their own: what they take, what they refuse, and how they are stored."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import hashlib
import io
import json
import pathlib
import struct
import uuid
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wandb_ops
from wandb_ops import Api, Artifact, Histogram, Html, Image, Table
from wandb_ops.errors import DataError, UsageError
from wandb_ops.public.media import types
from wandb_ops.public.runs.run import Run

PIXELS = (np.arange(60, dtype=np.uint8) * 4).reshape(4, 5, 3)


@pytest.fixture
def run(api: Api, project: str) -> Run:
    return api.create_run(run_id="maker", project=project)


# -- tables ------------------------------------------------------------------------------------------------


def test_a_table_gives_back_what_was_put_in() -> None:
    table = Table(columns=["a", "b"], data=[[1, "x"]])
    table.add_data(2, None)
    table.add_row(float("nan"), "z")
    assert table.columns == ["a", "b"]
    assert table.get_column("b") == ["x", None, "z"]
    assert table.get_column("a", convert_to="numpy").tolist()[:2] == [1.0, 2.0]
    assert list(table.iterrows())[1] == (1, [2, None])
    assert table.get_index() == [0, 1, 2]
    assert len(table) == 3
    assert table.get_dataframe().columns.tolist() == ["a", "b"]
    assert table.get_dataframe()["b"].tolist()[0] == "x"
    assert table == Table(columns=["a", "b"], data=[[1, "x"], [2, None], [float("nan"), "z"]])
    assert table != Table(columns=["a", "c"], data=table.data)


def test_a_frame_comes_back_as_it_was() -> None:
    frame = pd.DataFrame({"i": [1, 2], "f": [0.5, float("inf")], "s": ["a", "b"], "b": [True, False]})
    pd.testing.assert_frame_equal(Table(dataframe=frame).get_dataframe(), frame)
    pd.testing.assert_frame_equal(Table(data=frame).get_dataframe(), frame)
    assert Table(dataframe=frame, columns=["s", "i"]).data == [["a", 1], ["b", 2]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Table(columns=["a"], data=[[1], ["x"]]), "row 1, column 'a'.*allow_mixed_types"),
        (lambda: Table(columns=["a"], data=[[b"x"]]), "cannot hold a bytes"),
        (lambda: Table(columns=["a"], data=[[dt.timedelta(1)]]), "timedelta"),
        (lambda: Table(columns=["a"], data=[[1j]]), "complex"),
        (lambda: Table(columns=["a"], data=[[uuid.UUID(int=1)]]), "UUID"),
        (lambda: Table(columns=["a"], data=[[np.array([1j])]]), "ndarray"),
        (lambda: Table(columns=["a"], data=[[Table()]]), "cannot hold a table"),
        (lambda: Table(columns=["a", "a"]), "same name"),
        (lambda: Table(columns="ab"), "columns is a list"),
        (lambda: Table(columns=[1.5]), "columns is a list"),
        (lambda: Table(columns=["a"], data=[[1, 2]]), "2 cells, the table 1"),
        (lambda: Table(columns=["a"], data=["x"]), "A row is a list"),
        (lambda: Table(columns=["a"], data=[{"a": 1}]), "A row is a list"),
        (lambda: Table(columns=["a"], dtype=pathlib.Path), "dtype"),
        (lambda: Table(columns=["a"], dtype=[int, int]), "an item for each"),
        (lambda: Table(columns=["a"], data=[[None]], optional=False), "holds Unknown"),
        (lambda: Table(columns=["a"], log_mode="INCREMENTAL"), "log_mode"),
        (lambda: Table(columns=["a"], data=[[1]]).add_column("a", [1]), "a column 'a'"),
        (lambda: Table(columns=["a"], data=[[1]]).add_column("b", [1, 2]), "2 cells, the table 1"),
        (lambda: Table(columns=["a"]).get_column("b"), "no column 'b'"),
        (lambda: Table(columns=["a"], data=[[1]]).cast("a", str), "holds String"),
    ],
)
def test_what_makes_no_table_is_refused_in_words(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_a_refused_row_leaves_the_table_as_it_was() -> None:
    table = Table(columns=["a", "b"], data=[[1, "x"]])
    with pytest.raises(UsageError):
        table.add_data("no", "y")
    with pytest.raises(UsageError):
        table.add_data(2, 3)
    table.add_data(2, "y")
    assert table.data == [[1, "x"], [2, "y"]]


class Colour(enum.Enum):
    RED = "red"


def test_common_values_of_python_go_into_a_cell() -> None:
    cells = [decimal.Decimal("1.5"), pathlib.PurePath("a/b"), Colour.RED, {1, 2}, {1: "x"}, None]
    table = Table(columns=list("abcdef"), data=[cells])
    stored = json.loads(table._content(wandb_ops.public.media.base.Files()))
    assert stored["data"] == [[1.5, "a/b", "red", [1, 2], {"1": "x"}, None]]
    assert table.cast("a", float, optional=True) == types.optional(types.NUMBER)


def test_a_column_may_be_added_to_an_empty_table() -> None:
    table = Table(columns=[])
    table.add_column("a", [1, None])
    assert table.data == [[1], [None]]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
CELLS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=4))
def test_any_mixture_is_stored_and_read_back_unchanged(rows: list[Any]) -> None:
    from wandb_ops.public.media.base import Files
    from wandb_ops.public.media.reading import read_object

    table = Table(columns=["a", "b"], data=rows, allow_mixed_types=True)
    content = table._content(Files())
    found = read_object("t", lambda names: dict.fromkeys(names, content), "here")
    assert isinstance(found, Table)
    assert found.data == [list(row) for row in rows]
    assert [[type(cell) for cell in row] for row in found.data] == [
        [type(cell) for cell in row] for row in rows
    ]
    assert found._content(Files()) == content


@settings(max_examples=80, deadline=None)
@given(st.lists(SCALARS | st.dictionaries(st.sampled_from("xy"), SCALARS), max_size=5))
def test_a_column_has_a_type_in_any_order_or_is_refused_in_every(cells: list[Any]) -> None:
    def kind(values: list[Any]) -> bool:
        try:
            Table(columns=["a"], data=[[value] for value in values])
        except UsageError:
            return False
        return True

    assert kind(cells) == kind(cells[::-1])


# -- images and pages --------------------------------------------------------------------------------------


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    """A PNG's pixels, read by Pillow."""
    import PIL.Image

    return np.asarray(PIL.Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS[:, :, 0], PIXELS[:, :, 0]),
        (PIXELS[:, :, :1], PIXELS[:, :, 0]),
        (np.dstack([PIXELS, PIXELS[:, :, 0]]), np.dstack([PIXELS, PIXELS[:, :, 0]])),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(np.float32), PIXELS),
        (np.array([[0.0, 0.5, 1.0]]), np.array([[0, 128, 255]])),
        (np.eye(2, dtype=bool), np.array([[255, 0], [0, 255]])),
        ([[0, 255]], np.array([[0, 255]])),
        (PIXELS[::-1, ::2], PIXELS[::-1, ::2]),
    ],
)
def test_an_array_becomes_the_picture_of_its_values(array: Any, expected: Any) -> None:
    image = Image(array)
    assert np.array_equal(decoded(image.data), expected)
    assert (image.format, image.height, image.width) == ("png", expected.shape[0], expected.shape[1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Image(np.array([[-1.0]])), "from -1 to -1"),
        (lambda: Image(np.array([[256]])), "0 to 255"),
        (lambda: Image(np.array([[float("nan")]])), "0 to 255"),
        (lambda: Image(np.zeros((2, 2, 2))), "3 or 4 channels"),
        (lambda: Image(np.zeros(4)), "height x width"),
        (lambda: Image(np.zeros((0, 2))), "at least one pixel"),
        (lambda: Image(np.array([["x"]])), "made of numbers"),
        (lambda: Image(b"no picture"), "no PNG"),
        (lambda: Image(b"\x89PNG\r\n\x1a\n"), "no PNG"),
        (lambda: Image("nowhere.png"), "no file"),
        (lambda: Image(PIXELS, boxes={"a": {}}), "not supported"),
        (lambda: Image(PIXELS, file_type="tiff"), "file_type"),
        (lambda: Image(PIXELS, mode="L"), "mode"),
        (lambda: Html(3), "Html takes"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_what_makes_no_picture_is_refused_in_words(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp"])
def test_pillow_writes_what_it_is_asked_for_and_the_size_is_found(kind: str) -> None:
    image = Image(PIXELS, file_type=kind, caption="c")
    again = Image(image.data)
    assert (again.format, again.width, again.height) == (kind, 5, 4)
    assert again.image.size == (5, 4)
    assert Image(again.image, file_type=kind).width == 5
    assert Image(image).data == image.data


def test_a_png_is_what_its_standard_says() -> None:
    data = Image(PIXELS).data
    found, place = [], 8
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", data, place + 8 + size) == (zlib.crc32(kind + body),)
        found.append(kind)
        place += 12 + size
    assert found == [b"IHDR", b"IDAT", b"IEND"]


def test_a_picture_of_a_figure_is_taken() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1), dpi=50)
    assert Image(figure).width == 50


def test_a_file_keeps_its_bytes_and_its_name(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(Image(PIXELS).data)
    artifact = Artifact("x", type="dataset")
    artifact.add(Image(path), "i")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(artifact.manifest.entries) == ["i.image-file.json", f"media/images/{digest[:20]}/a b.png"]


def test_a_page_comes_from_text_files_and_paths(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<html><body>ü</body></html>", encoding="utf-8")
    assert Html(path, inject=False).html == "<html><body>ü</body></html>"
    assert Html(str(path), inject=False) == Html(path, inject=False)
    assert Html(str(path), data_is_not_path=True, inject=False).html == str(path)
    with path.open(encoding="utf-8") as handle:
        assert "<head>" in Html(handle).html


@pytest.mark.parametrize("text", ["<p>" + "x" * 400 + " see index.html", "<p>\0 index.html"])
def test_a_text_that_cannot_be_a_files_name_is_markup(text: str) -> None:
    assert Html(text, inject=False).html == text


# -- in artifacts ------------------------------------------------------------------------------------------


def test_an_artifact_keeps_objects_and_their_files_once(run: Run, sent: list[str]) -> None:
    table = Table(columns=["n", "i"], data=[[n, Image(PIXELS[: 1 + n % 3])] for n in range(1100)])
    artifact = Artifact("objects", type="dataset")
    assert artifact.add(table, "t").path == "t.table.json"
    assert artifact.add(table, "t").path == "t.table.json"
    with pytest.raises(UsageError, match="overwrite=True"):
        artifact.add(Table(columns=["n"], data=[[1]]), "t")
    artifact.add(Image(PIXELS[:1]), "one")
    artifact["page"] = Html("<p>")
    assert len(artifact.manifest.entries) == 3 + 3 + 1
    logged = run.log_artifact(artifact)
    sent.clear()
    found = logged.get("t.table.json")
    assert found == table
    # The manifest, the table, and its files together.
    assert sent == ["FetchArtifactManifest", *["ArtifactFileURLsByManifestEntries"] * 2]
    one = logged["one"]
    assert isinstance(one, Image)
    assert one.data == Image(PIXELS[:1]).data
    artifact = logged.new_draft()
    artifact.add(Table(columns=["n"], data=[[1]]), "t", overwrite=True)
    again = run.log_artifact(artifact)
    assert again.get("t") == Table(columns=["n"], data=[[1]])
    assert again.get("page") == Html("<p>")


def test_what_is_no_object_cannot_be_added_or_got(run: Run) -> None:
    artifact = Artifact("objects", type="dataset")
    for wrong in (Histogram([1]), {"a": 1}, "x"):
        with pytest.raises(UsageError, match="Table, Image or Html"):
            artifact.add(wrong, "x")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UsageError, match="not logged yet"):
        artifact.get("x")
    artifact.add_bytes(b'{"_type": "audio-file", "path": "media/audio/a.wav"}', "clip.audio-file.json")
    artifact.add_bytes(b'{"_type": "joined-table"}', "join.joined-table.json")
    artifact.add_bytes(b'{"_type": "table", "columns": ["a"], "data": [[1, 2], 3]}', "bad.table.json")
    artifact.add_bytes(b"[]", "list.table.json")
    artifact.add_bytes(b'{"_type": "image-file"}', "no.image-file.json")
    artifact.add_bytes(b"plain", "plain.txt")
    artifact.add_bytes(
        b'{"_type": "table", "columns": ["a"], "data": [[{"_type": "audio-file", "path": "a.wav"}]]}',
        "old.table.json",
    )
    logged = run.log_artifact(artifact)
    for name in ("clip", "join"):
        with pytest.raises(UsageError, match="not read here"):
            logged.get(name)
    for name in ("bad", "list", "no"):
        with pytest.raises(DataError):
            logged.get(name)
    assert logged.get("plain.txt") is None
    assert logged.get("nothing") is None
    table = logged.get("old")
    assert isinstance(table, Table)
    assert table.data == [[{"_type": "audio-file", "path": "a.wav"}]]


def test_damaged_objects_are_told_with_their_place_and_unknown_pictures_are_left_as_stored(run: Run) -> None:
    artifact = Artifact("objects", type="dataset")
    times = {"params": {"type_map": {"a": {"wb_type": "timestamp"}}}, "wb_type": "typedDict"}
    arrays = {
        "params": {"serialization_path": {"key": "a", "path": "x.npz"}, "shape": [1]}, "wb_type": "ndarray"
    }  # fmt: skip
    damaged: dict[str, Any] = {
        "long": {"columns": ["a"], "data": [[1, 2]]},
        "short": {"columns": ["a", "b"], "data": [[1]]},
        "when": {"columns": ["a"], "data": [[1e300]], "column_types": times},
        "zip": {"columns": ["a"], "data": [[None]], "column_types": {"params": {"type_map": {"a": arrays}}}},
    }
    for name, table in damaged.items():
        artifact.add_bytes(json.dumps({"_type": "table", **table}).encode(), f"{name}.table.json")
    for name in ("x.npz", "x.png", "x.webp"):
        artifact.add_bytes(b"what is this", name)
    artifact.add_bytes(b"no json", "text.table.json")
    png, webp = ({"_type": "image-file", "path": f"x.{kind}", "format": kind} for kind in ("png", "webp"))
    artifact.add_bytes(json.dumps(png).encode(), "png.image-file.json")
    cells = {"_type": "table", "columns": ["a"], "data": [[webp]]}
    artifact.add_bytes(json.dumps(cells).encode(), "webp.table.json")
    logged = run.log_artifact(artifact)
    for name in (*damaged, "text", "png"):
        with pytest.raises(DataError, match=rf"objects:v0/{name}\."):
            logged.get(name)
    table = logged.get("webp")
    assert isinstance(table, Table)
    assert table.data == [[webp]]


def test_a_table_that_another_artifact_refers_to_is_found_there(run: Run) -> None:
    artifact = Artifact("objects", type="dataset")
    artifact.add(Table(columns=["i"], data=[[Image(PIXELS)]]), "t")
    logged = run.log_artifact(artifact)
    second = Artifact("refers", type="dataset")
    second.add_reference(logged.get_entry("t.table.json"), name="u.table.json")
    found = run.log_artifact(second).get("u")
    assert isinstance(found, Table)
    assert found.data == [[Image(PIXELS)]]
