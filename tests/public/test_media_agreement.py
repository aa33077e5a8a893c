"""Tables, images and pages: what we store is what the real SDK stores, and each reads the other's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import wandb_ops

pytestmark = pytest.mark.sdk

UTC = dt.UTC
WEST = dt.timezone(dt.timedelta(hours=-5))
NAN = float("nan")
PIXELS = (np.arange(60, dtype=np.uint8) * 4).reshape(4, 5, 3)

#: Tables that are stored byte for byte as the SDK stores them.
SAME: dict[str, Callable[[Any], Any]] = {
    "numbers": lambda w: w.Table(columns=["a", "b"], data=[[1, 0.5], [2**60 + 1, -3]]),
    "long": lambda w: w.Table(columns=["a"], data=[[2**53 + 1], [2**64 - 1], [-(2**70)]]),
    "missing": lambda w: w.Table(columns=["a", "b"], data=[[None, NAN], [1, "x"], [NAN, None]]),
    "nothing": lambda w: w.Table(columns=["a"], data=[[None], [NAN]]),
    "infinite": lambda w: w.Table(columns=["a"], data=[[float("inf")], [-float("inf")], [NAN]]),
    "texts": lambda w: w.Table(columns=["z", "a"], data=[["ü☃", "x\n\"y'"], ["", "\u2028"]]),
    "bools": lambda w: w.Table(columns=["a"], data=[[True], [False], [None]]),
    "naive": lambda w: w.Table(columns=["a"], data=[[dt.datetime(2020, 7, 2, 3, 4, 5, 678912)]]),
    "aware": lambda w: w.Table(columns=["a"], data=[[dt.datetime(2020, 1, 2, 3, tzinfo=WEST)]]),
    "days": lambda w: w.Table(columns=["a"], data=[[dt.date(2020, 7, 2)], [dt.date(1969, 12, 31)]]),
    "old": lambda w: w.Table(columns=["a"], data=[[dt.datetime(1960, 1, 1, 0, 0, 0, 999)]]),
    "numpy times": lambda w: w.Table(columns=["a"], data=[[np.datetime64("2020-01-02T03:04:05.678")]]),
    "numpy scalars": lambda w: w.Table(
        columns=["a", "b", "c"], data=[[np.int64(3), np.float32(0.1), np.bool_(True)]]
    ),
    "lists": lambda w: w.Table(columns=["a"], data=[[[1, 2]], [[3]], [[]], [(4,)]]),
    "dicts": lambda w: w.Table(columns=["a"], data=[[{"x": 1, "y": "z"}], [{"x": 2, "y": "q"}]]),
    "nested": lambda w: w.Table(columns=["a"], data=[[{"x": [{"y": [1.5]}]}], [None]]),
    "times in dicts": lambda w: w.Table(columns=["a"], data=[[{"x": dt.datetime(2020, 1, 1)}]]),
    "mixed": lambda w: w.Table(
        columns=["a"], data=[[1], ["x"], [None], [[1, "y"]], [{"b": 2}]], allow_mixed_types=True
    ),
    "arrays": lambda w: w.Table(
        columns=["a"], data=[[np.arange(4).reshape(2, 2)], [np.ones((2, 2), dtype=int)]]
    ),
    "frame": lambda w: w.Table(
        dataframe=pd.DataFrame(
            {
                "i": [1, 2],
                "f": [0.5, NAN],
                "s": ["a", None],
                "t": pd.to_datetime(["2020-01-01 05:00", None]),
                "c": pd.Categorical(["u", "v"]),
            }
        )
    ),
    "array": lambda w: w.Table(columns=["x", "y"], data=np.array([[1.0, 2.0], [3.0, np.inf]])),
    "default columns": lambda w: w.Table(rows=[["a", "b", "c"]]),
    "empty": lambda w: w.Table(columns=["a", "b"]),
    "numbered": lambda w: w.Table(columns=[1, 2], data=[[3, 4]]),
    "declared": lambda w: w.Table(columns=["a", "b"], data=[[1, "x"]], dtype=[int, str]),
    "needed": lambda w: w.Table(columns=["a", "b"], data=[[1, 2]], optional=[True, False]),
    "either": lambda w: w.Table(columns=["a"], data=[[1], ["x"]], dtype=[[int, str]]),
    "pages": lambda w: w.Table(columns=["a"], data=[[w.Html("<b>x</b>")], [None]]),
    "histograms": lambda w: w.Table(columns=["a"], data=[[w.Histogram([1, 2, 3, 3])]]),
    "added": lambda w: added(w.Table(columns=["a"], data=[[1], [2]])),
}


def added(table: Any) -> Any:
    table.add_data(3)
    table.add_column("b", ["x", "y", "z"])
    table.add_column("c", np.array([0.5, 1.5, 2.5]))
    table.add_computed_columns(lambda number, row: {"d": row["a"] + number})
    return table


@pytest.mark.parametrize("name", sorted(SAME))
def test_a_table_is_stored_as_the_sdk_stores_it(sdk_home: None, name: str) -> None:
    import wandb

    real, mine = wandb.Artifact("x", type="dataset"), wandb_ops.Artifact("x", type="dataset")
    real.add(SAME[name](wandb), "t")
    mine.add(SAME[name](wandb_ops), "t")
    assert mine.digest == real.digest
    assert sorted(mine.manifest.entries) == sorted(real.manifest.entries)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "kinds": lambda w: w.Table(columns=["a"], data=[["x"], [1]]),
    "a bool among numbers": lambda w: w.Table(columns=["a"], data=[[1], [True]]),
    "lists of kinds": lambda w: w.Table(columns=["a"], data=[[[1]], [["a"]]]),
    "objects": lambda w: w.Table(columns=["a"], data=[[w.Histogram([1])], [1]]),
    "declared": lambda w: w.Table(columns=["a"], data=[[1]], dtype=bool),
    "too few cells": lambda w: w.Table(columns=["a", "b"], data=[[1]]),
    "a row that is none": lambda w: w.Table(columns=["a"], data=[1]),
    "added": lambda w: w.Table(columns=["a"], data=[[1]]).add_data("x"),
    "added of kinds": lambda w: w.Table(columns=["a"], data=[[1], [2]]).add_column("b", [1, "x"]),
    "another kind": lambda w: w.Table(columns=["a"], data=[[1]]).cast("a", str),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_both_refuse_what_does_not_go_together(sdk_home: None, name: str) -> None:
    import wandb

    with pytest.raises((TypeError, ValueError)) as real:
        REFUSED[name](wandb)
    with pytest.raises(real.type):
        REFUSED[name](wandb_ops)


# -- through a server --------------------------------------------------------------------------------------

#: What is stored otherwise on purpose (docs/compatibility.md), and what the SDK then reads of it.
OTHERWISE: dict[str, tuple[Callable[[Any], Any], list[list[Any]]]] = {
    "lists of kinds": (lambda w: w.Table(columns=["a"], data=[[[1, "x", None]]]), [[[1, "x", None]]]),
    "lists with gaps": (lambda w: w.Table(columns=["a"], data=[[[1.0, NAN]]]), [[[1.0, None]]]),
    "dicts with gaps": (
        lambda w: w.Table(columns=["a"], data=[[{"x": 1, "y": None}], [{"x": 2}], [{"y": "z"}]]),
        [[{"x": 1, "y": None}], [{"x": 2}], [{"y": "z"}]],
    ),
    "numpy text": (lambda w: w.Table(columns=["a"], data=[[np.str_("u")]]), [["u"]]),
    "short arrays": (lambda w: w.Table(columns=["a"], data=[[np.arange(2)], [None]]), [[[0, 1]], [None]]),
    "arrays with gaps": (
        lambda w: w.Table(columns=["a"], data=[[np.ones((1, 2), int)], [None]]),
        [[[[1, 1]]], [None]],
    ),
    "NA": (
        lambda w: w.Table(dataframe=pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})),
        [[1], [None]],
    ),
    "pandas times": (
        lambda w: w.Table(columns=["a"], data=[[pd.Timestamp("2020-01-01 00:00:00.123456")], [pd.NaT]]),
        [[dt.datetime(2020, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)], [None]],
    ),
}
#: What the SDK itself cannot read, whoever wrote it, and what we read.
UNREADABLE: dict[str, list[list[Any]]] = {
    "histograms": [[wandb_ops.Histogram([1, 2, 3, 3])]],
    "times in dicts": [[{"x": dt.datetime(2020, 1, 1, tzinfo=UTC)}]],
}


@pytest.fixture(scope="module")
def theirs(wandb_server_session: Any, sdk_home: None) -> Iterator[Any]:
    """The real `wandb.Api`; a run of the SDK has logged `theirs:v0` and rows with media."""
    import wandb

    patch = pytest.MonkeyPatch()
    for name, value in {
        **wandb_server_session.env,
        "WANDB_CONSOLE": "off",
        "WANDB_X_DISABLE_STATS": "true",
    }.items():
        patch.setenv(name, value)
    try:
        run = wandb.init(project="media-agreement", id="theirs")
        artifact = wandb.Artifact("theirs", type="dataset")
        for name, make in SAME.items():
            artifact.add(make(wandb), f"tables/{name}")
        artifact.add(wandb.Image(PIXELS, caption="c"), "image")
        artifact.add(wandb.Html("<b>x</b>"), "page")
        artifact.add(
            wandb.Table(columns=["i"], data=[[wandb.Image(PIXELS)], [None], [wandb.Image(PIXELS[:2])]]),
            "images",
        )
        run.log_artifact(artifact).wait()
        run.log(logged(wandb))
        run.summary["kept"] = wandb.Table(columns=["q"], data=[[1]])
        run.finish()
        yield wandb.Api(timeout=60)
    finally:
        patch.undo()


def logged(w: Any) -> dict[str, Any]:
    """A row with media in it."""
    return {
        "loss": 0.5,
        "h": w.Histogram([1, 2, 3]),
        "deep/tab": w.Table(
            columns=["i", "f", "t"], data=[[1, NAN, dt.datetime(2020, 1, 2)], [2**60, 0.1, None]]
        ),
        "page": w.Html("<b>1</b>"),
        "inner": {"tab": w.Table(columns=["q"], data=[["ü"]])},
        "pages": [w.Html("x"), w.Html("y")],
    }


@pytest.fixture(scope="module")
def ours(wandb_server_session: Any, theirs: Any) -> wandb_ops.Api:
    """Our `Api`; a run of ours has logged `ours:v0` and the same rows."""
    api = wandb_ops.Api(
        overrides={"base_url": wandb_server_session.url, "entity": wandb_server_session.entity},
        api_key=wandb_server_session.api_key,
    )
    run = api.create_run(run_id="ours", project="media-agreement")
    artifact = wandb_ops.Artifact("ours", type="dataset")
    for name, make in SAME.items():
        artifact.add(make(wandb_ops), f"tables/{name}")
    for name, (make, _) in OTHERWISE.items():
        artifact.add(make(wandb_ops), f"others/{name}")
    artifact["image"] = wandb_ops.Image(PIXELS, caption="c")
    artifact.add(wandb_ops.Html("<b>x</b>"), "page")
    artifact.add(
        wandb_ops.Table(
            columns=["i"], data=[[wandb_ops.Image(PIXELS)], [None], [wandb_ops.Image(PIXELS[:2])]]
        ),
        "images",
    )
    run.log_artifact(artifact)
    wandb_ops.steps.log_metrics(api, run="/".join(run.path), rows=[logged(wandb_ops)])
    run = api.run("/".join(run.path))
    run.summary["kept"] = wandb_ops.Table(columns=["q"], data=[[1]])
    run.summary.update()
    return api


@pytest.fixture(scope="module")
def logged_by_both(theirs: Any, ours: wandb_ops.Api, wandb_server_session: Any) -> list[Any]:
    """The two artifacts, as the SDK finds them."""
    path = f"{wandb_server_session.entity}/media-agreement"
    return [theirs.artifact(f"{path}/{name}:v0") for name in ("theirs", "ours")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's `get` downloads into the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(wandb_server_session: Any) -> str:
    return f"{wandb_server_session.entity}/media-agreement"


def values(cell: Any) -> Any:
    """A cell as plain values, whichever library's objects it holds."""
    if isinstance(cell, (list, tuple)):
        return [values(item) for item in cell]
    if isinstance(cell, dict):
        return {key: values(item) for key, item in cell.items()}
    if isinstance(cell, np.ndarray):
        return [cell.dtype.name, cell.tolist()]
    if type(cell).__name__ == "Html":
        return ("Html", cell.html)
    if type(cell).__name__ == "Image":
        return ("Image", np.asarray(cell.image).tolist())
    return (type(cell).__name__, cell) if isinstance(cell, (bool, int, float)) else cell


@pytest.mark.parametrize("name", sorted(SAME))
def test_each_reads_the_tables_of_the_other(
    logged_by_both: list[Any], ours: wandb_ops.Api, path: str, name: str
) -> None:
    by_them, by_us = ours.artifact(f"{path}/theirs:v0"), ours.artifact(f"{path}/ours:v0")
    first, second = by_them.get(f"tables/{name}"), by_us.get(f"tables/{name}")
    assert isinstance(first, wandb_ops.Table)
    assert first == second
    if name in UNREADABLE:
        assert first.data == UNREADABLE[name]
        return
    for artifact in logged_by_both:
        real = artifact.get(f"tables/{name}")
        assert first.columns == real.columns
        assert values(first.data) == values(real.data)


@pytest.mark.parametrize("name", sorted(OTHERWISE))
def test_the_sdk_reads_what_it_would_not_have_stored_so(
    theirs: Any, ours: wandb_ops.Api, path: str, name: str
) -> None:
    expected = OTHERWISE[name][1]
    assert theirs.artifact(f"{path}/ours:v0").get(f"others/{name}").data == expected
    mine = ours.artifact(f"{path}/ours:v0").get(f"others/{name}")
    assert isinstance(mine, wandb_ops.Table)
    assert mine.data == expected


def test_each_reads_the_images_and_pages_of_the_other(theirs: Any, ours: wandb_ops.Api, path: str) -> None:
    for artifact in ("theirs:v0", "ours:v0"):
        real, mine = theirs.artifact(f"{path}/{artifact}"), ours.artifact(f"{path}/{artifact}")
        image = mine["image"]
        assert isinstance(image, wandb_ops.Image)
        assert (image.caption, image.format, image.width, image.height) == ("c", "png", 5, 4)
        assert np.array_equal(np.asarray(image.image), PIXELS)
        assert np.array_equal(np.asarray(real.get("image").image), PIXELS)
        page = mine.get("page")
        assert isinstance(page, wandb_ops.Html)
        assert page.html == real.get("page").html
        assert page.html.endswith("<b>x</b>")
        table, other = mine.get("images"), real.get("images")
        assert isinstance(table, wandb_ops.Table)
        assert values(table.data) == values(other.data)
        assert np.array_equal(np.asarray(table.data[2][0].image), PIXELS[:2])
        assert table.data[1] == [None]
        assert mine.get("nothing") is None
        assert real.get("nothing") is None


def without_addresses(value: Any) -> Any:
    """A logged value without what each client makes up for itself."""
    if isinstance(value, dict):
        return {
            key: item.rpartition("/")[2] if key.endswith("artifact_path") else without_addresses(item)
            for key, item in value.items()
            if key not in {"_timestamp", "_runtime", "_wandb"}
        }
    return [without_addresses(item) for item in value] if isinstance(value, list) else value


def test_a_logged_row_is_the_one_that_the_sdk_logs(ours: wandb_ops.Api, path: str) -> None:
    theirs, mine = ours.run(f"{path}/theirs"), ours.run(f"{path}/ours")
    (first,), (second,) = list(theirs.scan_history()), list(mine.scan_history())
    assert without_addresses(second) == without_addresses(first)
    assert without_addresses(dict(mine.summary._json_dict)) == without_addresses(
        dict(theirs.summary._json_dict)
    )


def test_the_files_and_tables_of_a_run_are_those_that_the_sdk_stores(ours: wandb_ops.Api, path: str) -> None:
    def media(name: str) -> dict[str, bytes]:
        run = ours.run(f"{path}/{name}")
        files = [file for file in run.files() if file.name.startswith("media/")]
        return {file.name: file._attrs["md5"] for file in files}

    assert media("ours") == media("theirs")
    assert len(media("ours")) == 6

    def tables(name: str) -> dict[str, Any]:
        return {
            artifact.name.replace(name, "RUN"): (artifact.type, artifact.digest, artifact.aliases)
            for artifact in ours.run(f"{path}/{name}").logged_artifacts()
            if artifact.type == "run_table"
        }

    mine, real = tables("ours"), tables("theirs")
    assert sorted(name.partition("-deeptab")[0] for name in mine) == sorted(
        name.partition("-deeptab")[0] for name in real
    )
    assert sorted(mine.values()) == sorted(real.values())
    assert len(mine) == 3


def test_a_logged_table_is_read_by_the_sdk(
    theirs: Any, ours: wandb_ops.Api, path: str, tmp_path: Path
) -> None:
    names = [a.name for a in ours.run(f"{path}/ours").logged_artifacts() if "deeptab" in a.name]
    table = theirs.artifact(f"{path}/{names[0]}").get("deep/tab")
    assert table.data == [[1, None, dt.datetime(2020, 1, 2, tzinfo=UTC)], [2**60, 0.1, None]]
    mine = ours.artifact(f"{path}/{names[0]}").get("deep/tab")
    assert isinstance(mine, wandb_ops.Table)
    assert mine.data == table.data
    stored = ours.artifact(f"{path}/{names[0]}").get_entry("deep/tab.table.json").download(str(tmp_path))
    assert json.loads(Path(stored).read_text())["nrows"] == 2
