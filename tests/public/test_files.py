"""Files of a run: what comes down is what went up, and lands where it should."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from wandb_ops import Api, ChecksumMismatch, NotFoundError, UsageError
from wandb_ops.public import Run

CONTENTS = {f"data/part-{n:02}.json": f'{{"n": {n}}}\n' for n in range(12)} | {
    "model.h5": "weights ü\n",
    "log.txt": "",
}


@pytest.fixture
def run(api: Api, writer: Any, project: str, tmp_path: Path) -> Run:
    """A run with 14 files, sent by `upload_file` and checked in the server's own store."""
    run = api.run(writer.run(project, "files"))
    source = tmp_path / "source"
    for name, text in CONTENTS.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        assert run.upload_file(str(path), root=str(source)).name == name
    stored = writer.server.run(project, "files").files
    assert stored == {name: text.encode() for name, text in CONTENTS.items()}
    return run


def test_files_are_listed_page_by_page(run: Run, sent: list[str]) -> None:
    del sent[:]
    files = run.files(per_page=5)
    assert sorted(file.name for file in files) == sorted(CONTENTS)
    assert len(files) == 14
    assert sent == ["RunFiles"] * 3
    assert repr(files) == f"<Files {'/'.join(run.path)} (14)>"
    assert next(file.name for file in files) == files[0].name == files[-14].name


def test_a_file_knows_its_size_and_checksum(run: Run) -> None:
    file = run.file("model.h5")
    assert (file.name, file.size) == ("model.h5", len(CONTENTS["model.h5"].encode()))
    assert file.md5 is not None
    assert file.updated_at is not None
    assert file.url.startswith("http")
    assert file.path_uri == file.direct_url
    assert repr(file) == f"<File model.h5 ({file.mimetype}) 11.0B>"
    assert pickle.loads(pickle.dumps(file)).name == "model.h5"


def test_names_and_patterns_pick_files(run: Run) -> None:
    assert [file.name for file in run.files(names=["log.txt", "missing"])] == ["log.txt"]
    some = run.files(pattern="%.json", per_page=5)
    assert len(some) == 12
    assert {file.name for file in some} == {name for name in CONTENTS if name.endswith(".json")}
    with pytest.raises(UsageError):
        run.files(names=["a"], pattern="%")
    with pytest.raises(UsageError):
        run.files(names="log.txt")  # type: ignore[arg-type]  # a usual mistake


def test_every_file_comes_down_as_it_went_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in run.files():
        with file.download() as handle:
            assert isinstance(handle, io.TextIOWrapper)
            assert handle.read() == CONTENTS[file.name]
    down = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert down == set(CONTENTS) | {f"source/{name}" for name in CONTENTS}


def test_a_file_that_is_there_is_overwritten_only_when_asked(run: Run, tmp_path: Path) -> None:
    there = tmp_path / "down" / "model.h5"
    there.parent.mkdir()
    there.write_text("mine")
    file = run.file("model.h5")
    with pytest.raises(ValueError, match="there already"):
        file.download(root=str(there.parent))
    with file.download(root=str(there.parent), exist_ok=True) as handle:
        assert handle.read() == "mine"
    with file.download(root=str(there.parent), replace=True) as handle:
        assert handle.read() == CONTENTS["model.h5"]
    assert sorted(path.name for path in there.parent.iterdir()) == ["model.h5"]


def test_a_download_that_fails_leaves_what_was_there(run: Run, tmp_path: Path) -> None:
    there = tmp_path / "down" / "model.h5"
    there.parent.mkdir()
    there.write_text("mine")
    file = run.file("model.h5")
    file._attrs["md5"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    run._transport._sleep = lambda _seconds: None
    with pytest.raises(ChecksumMismatch):
        file.download(root=str(there.parent), replace=True)
    assert [path.name for path in there.parent.iterdir()] == ["model.h5"]
    assert there.read_text() == "mine"


def test_a_downloaded_file_has_the_permissions_of_a_new_file(run: Run, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run.file("log.txt").download(root=str(tmp_path / "down")).close()
    finally:
        os.umask(before)
    assert (tmp_path / "down" / "log.txt").stat().st_mode & 0o777 == 0o640


def test_a_missing_file_is_an_error_that_names_it(run: Run) -> None:
    with pytest.raises(NotFoundError, match=r"no file 'missing\.bin'"):
        run.file("missing.bin")
    with pytest.raises(UsageError):
        run.file("")


def test_a_deleted_file_is_gone(run: Run, writer: Any) -> None:
    run.file("model.h5").delete()
    assert "model.h5" not in writer.server.run(run.project, run.id).files
    assert len(run.files()) == 13
    with pytest.raises(NotFoundError):
        run.file("model.h5")


def test_uploading_the_same_name_again_replaces_it(run: Run, writer: Any, tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"new")
    run.upload_file(str(tmp_path / "model.h5"), root=str(tmp_path))
    assert writer.server.run(run.project, run.id).files["model.h5"] == b"new"
    assert run.file("model.h5").size == 3


def test_the_name_in_the_run_is_relative_to_the_root(
    run: Run, writer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "my_dir"
    inner.mkdir()
    (inner / "file.txt").write_text("x")
    monkeypatch.chdir(inner)
    assert run.upload_file("file.txt", root="../").name == "my_dir/file.txt"
    assert run.upload_file("file.txt").name == "file.txt"
    with pytest.raises(UsageError, match="not below"):
        run.upload_file(str(tmp_path / "source" / "log.txt"), root=str(inner))
    with pytest.raises(UsageError, match="no file"):
        run.upload_file("missing.txt")


def test_metadata_is_the_metadata_file(run: Run, tmp_path: Path) -> None:
    assert run.metadata is None
    (tmp_path / "wandb-metadata.json").write_text('{"program": "train.py", "args": ["--lr", "0.1"]}')
    run.upload_file(str(tmp_path / "wandb-metadata.json"), root=str(tmp_path))
    assert run.metadata == {"program": "train.py", "args": ["--lr", "0.1"]}
