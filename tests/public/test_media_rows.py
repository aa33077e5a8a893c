"""Media as values of history rows and of the summary."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from wandb_ops import Api, Histogram, Html, Image, Table, steps
from wandb_ops.errors import RunConflict, UsageError

PIXELS = np.zeros((2, 3), dtype=np.uint8)


@pytest.fixture
def path(api: Api, project: str) -> str:
    return steps.create_run(api, project=project, run_id="r").path


def media_of(api: Api, path: str) -> list[str]:
    return sorted(file.name for file in api.run(path).files() if file.name.startswith("media/"))


def tables_of(api: Api, path: str) -> list[str]:
    return sorted(artifact.name for artifact in api.run(path).logged_artifacts())


def test_a_row_refers_to_files_that_are_there_and_right(api: Api, path: str, tmp_path: Path) -> None:
    image = Image(PIXELS, caption="dark", grouping=2)
    steps.log_metrics(api, run=path, rows=[{"loss": 1.0}, {"im": image, "both": [image, Image(PIXELS + 9)]}])
    row = list(api.run(path).scan_history())[1]
    digest = hashlib.sha256(image.data).hexdigest()
    assert row["im"] == {
        "_type": "image-file",
        "path": f"media/images/im_1_{digest[:20]}.png",
        "sha256": digest,
        "size": len(image.data),
        "format": "png",
        "width": 3,
        "height": 2,
        "caption": "dark",
        "grouping": 2,
    }
    assert row["both"]["_type"] == "images/separated"
    assert row["both"]["captions"] == ["dark", None]
    names = [row["im"]["path"], *row["both"]["filenames"]]
    for name, data in zip(names, [image.data, image.data, Image(PIXELS + 9).data], strict=True):
        with api.run(path).file(name).download(root=str(tmp_path)) as found:
            assert Path(found.name).read_bytes() == data
    assert api.run(path).summary["im"]["sha256"] == digest


def test_a_repeated_call_stores_nothing_twice(api: Api, path: str) -> None:
    rows = [
        {"t": Table(columns=["a"], data=[[n]]), "i": Image(PIXELS + n), "h": Histogram([n]), "p": Html("x")}
        for n in range(2)
    ]
    first = steps.log_metrics(api, run=path, rows=rows[:1], first_line=0)
    second = steps.log_metrics(api, run=path, rows=rows, first_line=0)
    third = steps.log_metrics(api, run=path, rows=rows, first_line=0)
    assert (first.rows, second.rows, second.skipped, third.rows) == (1, 1, 1, 0)
    assert len(media_of(api, path)) == 2 * 3
    assert tables_of(api, path) == ["run-r-t:v0", "run-r-t:v1"]
    versions = [artifact.get("t") for artifact in api.run(path).logged_artifacts()]
    assert sorted(table.data for table in versions if isinstance(table, Table)) == [[[0]], [[1]]]
    assert api.artifact(f"{path.rpartition('/')[0]}/run-r-t:latest").get("t") == rows[1]["t"]
    with pytest.raises(RunConflict):
        steps.log_metrics(api, run=path, rows=[rows[0], {**rows[1], "i": Image(PIXELS + 7)}], first_line=0)


def test_a_call_that_was_cut_short_after_the_files_goes_on(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb_ops.protocol.filestream import FileStream

    rows = [{"t": Table(columns=["a"], data=[[1]]), "i": Image(PIXELS)}]

    def killed(_stream: FileStream) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FileStream, "flush", killed)
        with pytest.raises(KeyboardInterrupt):
            steps.log_metrics(api, run=path, rows=rows, first_line=0)
    assert list(api.run(path).scan_history()) == []
    before = (media_of(api, path), tables_of(api, path))
    assert steps.log_metrics(api, run=path, rows=rows, first_line=0).rows == 1
    assert (media_of(api, path), tables_of(api, path)) == before
    assert len(before[0]) == 2


def test_the_latest_table_is_the_one_that_was_logged_last(api: Api, path: str) -> None:
    one, two = Table(columns=["a"], data=[[1]]), Table(columns=["a"], data=[[2]])
    steps.log_metrics(api, run=path, rows=[{"t": one}, {"t": one}, {"t": two}, {"t": one}])
    assert tables_of(api, path) == ["run-r-t:v0", "run-r-t:v1"]
    place = path.rpartition("/")[0]
    assert [api.artifact(f"{place}/run-r-t:{name}").get("t") for name in ("v0", "v1", "latest")] == [
        one, two, one,
    ]  # fmt: skip


def test_the_summary_takes_media_too(api: Api, path: str, tmp_path: Path) -> None:
    run = api.run(path)
    run.summary["t"] = Table(columns=["a"], data=[[float("nan")]])
    run.summary["deep"] = {"i": Image(PIXELS), "n": 1}
    run.summary.inner = {"x": 0}
    run.summary.inner.h = Histogram([1])
    assert media_of(api, path) == []  # nothing is sent before the update
    pickle.loads(pickle.dumps(run)).update()
    found = api.run(path).summary
    assert found["t"]["nrows"] == 1
    assert found["deep"]["i"]["path"].startswith("media/images/i_summary_")
    assert found["inner"]["h"]["_type"] == "histogram"
    assert media_of(api, path) == sorted([found["t"]["path"], found["deep"]["i"]["path"]])
    with api.run(path).file(found["t"]["path"]).download(root=str(tmp_path)) as text:
        assert text.read() == '{"columns":["a"],"data":[[NaN]]}'
    steps.update_run(api, run=path, summary={"u": Table(columns=["a"], data=[[2]])})
    assert tables_of(api, path) == ["run-r-t:v0", "run-r-u:v0"]


def test_a_long_table_is_shown_in_part_and_kept_whole(
    api: Api, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "MAX_ROWS", 3)
    table = Table(columns=["a"], data=[[n] for n in range(5)])
    steps.log_metrics(api, run=path, rows=[{"t": table}])
    value = api.run(path).summary["t"]
    assert value["nrows"] == 5
    with api.run(path).file(value["path"]).download(root=str(tmp_path)) as text:
        assert text.read() == '{"columns":["a"],"data":[[0],[1],[2]]}'
    (artifact,) = api.run(path).logged_artifacts()
    assert artifact.get("t") == table
    assert artifact.history_step is None or artifact.history_step >= 0


def test_many_images_are_announced_together(api: Api, path: str, sent: list[str]) -> None:
    rows = [{"i": [Image(PIXELS + n + 10 * k) for k in range(10)]} for n in range(10)]
    sent.clear()
    steps.log_metrics(api, run=path, rows=rows)
    assert sent.count("CreateRunFiles") == 1
    assert len(sent) < 10
    assert len(media_of(api, path)) == 100


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"a": [Image(PIXELS), 1]}, "one kind"),
        ({"../a": Image(PIXELS)}, "part of a file's name"),
        ({"k" * 200: Table()}, "too long"),
        ({"a": [Image(PIXELS)] * 109}, "at most 108"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_is_sent(
    api: Api, path: str, sent: list[str], row: dict[str, object], words: str
) -> None:
    sent.clear()
    with pytest.raises(UsageError, match=words):
        steps.log_metrics(api, run=path, rows=[row])
    assert set(sent) == {"Run", "RunResumeStatus"} or not [name for name in sent if name.startswith("Create")]
    assert media_of(api, path) == []
