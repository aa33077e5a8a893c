"""Destinations: paths, file:// URLs, object stores, other remote file systems."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from wandb_ops.errors import OutputError, UnsafePath, UsageError
from wandb_ops.export.places.naming import safe_name
from wandb_ops.export.places.targets import explained, folder, shown, target


def put(to, content: bytes) -> str:
    place = target(to)
    with place.publish() as out:
        out.write(content)
    return place.uri


def test_a_relative_path_and_a_home_path_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert put("out/run.csv", b"1") == str(tmp_path / "out" / "run.csv")
    assert put("~/run.csv", b"2") == str(tmp_path / "home" / "run.csv")
    assert (tmp_path / "out" / "run.csv").read_bytes() == b"1"
    assert (tmp_path / "home" / "run.csv").read_bytes() == b"2"


@pytest.mark.parametrize("kind", [str, Path, UPath])
def test_text_and_path_objects_are_the_same_target(tmp_path, kind):
    assert put(kind(tmp_path / "run.csv"), b"x") == str(tmp_path / "run.csv")
    assert (tmp_path / "run.csv").read_bytes() == b"x"


def test_a_file_url_is_a_local_path_with_its_escapes_undone(tmp_path):
    uri = put(f"file://{tmp_path}/a%20b.csv", b"x")
    assert uri == str(tmp_path / "a b.csv")
    assert (tmp_path / "a b.csv").read_bytes() == b"x"


def test_a_file_url_of_another_machine_is_refused():
    with pytest.raises(UsageError, match="another machine"):
        target("file://server/share/run.csv")


@pytest.mark.parametrize("to", ["", "folder/", "s3://bucket/folder/", "memory://", "a\0b", "/"])
def test_what_names_no_file_is_refused(to):
    with pytest.raises(UsageError):
        target(to)


def test_an_unknown_kind_of_url_is_refused_with_its_name():
    with pytest.raises(UsageError, match="gopher://host/x"):
        target("gopher://host/x")


def test_a_link_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath):
        target(tmp_path / "link.csv")


def test_an_object_store_gets_the_file_by_one_put(tmp_path):
    store = fsspec.filesystem("memory")
    place = target("memory://bucket-put/runs/run.csv")
    with place.publish() as out:
        out.write(b"old")
    with place.publish() as out:
        out.write(b"new")
        assert store.cat("/bucket-put/runs/run.csv") == b"old"
    assert store.cat("/bucket-put/runs/run.csv") == b"new"
    assert store.ls("/bucket-put/runs", detail=False) == ["/bucket-put/runs/run.csv"]
    assert place.uri == "memory://bucket-put/runs/run.csv"


def test_a_path_object_of_a_store_is_its_url(tmp_path):
    assert put(UPath("memory://bucket-upath/run.csv"), b"x") == "memory://bucket-upath/run.csv"
    assert fsspec.filesystem("memory").cat("/bucket-upath/run.csv") == b"x"


def test_a_failing_export_leaves_the_old_object(tmp_path):
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket-fail/run.csv", b"old")

    def failing() -> None:
        with target("memory://bucket-fail/run.csv").publish() as out:
            out.write(b"half")
            raise RuntimeError("lost the server")

    with pytest.raises(RuntimeError):
        failing()
    assert store.find("/bucket-fail") == ["/bucket-fail/run.csv"]
    assert store.cat("/bucket-fail/run.csv") == b"old"


class OtherFileSystem(DirFileSystem):
    """A remote file system whose put is no single step: a name of its own, a folder underneath."""

    protocol = "other"


def test_another_file_system_gets_a_temporary_name_and_a_rename(tmp_path, monkeypatch):
    remote = OtherFileSystem(path=str(tmp_path), fs=LocalFileSystem())
    moved = []
    real = remote.mv
    monkeypatch.setattr(remote, "mv", lambda a, b, **kw: (moved.append((a, b)), real(a, b, **kw)))

    class Place:
        fs = remote
        path = "runs/run.csv"

        def __str__(self) -> str:
            return "other://runs/run.csv"

    put(Place(), b"first")
    put(Place(), b"second")
    assert (tmp_path / "runs" / "run.csv").read_bytes() == b"second"
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["run.csv"]
    assert [b for _, b in moved] == ["runs/run.csv"] * 2

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(remote, "mv", refuse)
    with pytest.raises(OSError, match="no"):
        put(Place(), b"third")
    assert (tmp_path / "runs" / "run.csv").read_bytes() == b"second"
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["run.csv"]


def test_a_folder_lists_its_files_and_an_absent_one_is_empty(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"")
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    assert folder(tmp_path).names() == ["a.csv", "b.csv"]
    assert folder(tmp_path / "absent").names() == []
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket-list/x/1.csv", b"")
    assert folder("memory://bucket-list/x").names() == ["1.csv"]
    assert folder("memory://bucket-list/none").names() == []
    with pytest.raises(UsageError, match="Not a folder"):
        folder(tmp_path / "a.csv")


def test_passwords_and_signatures_in_a_url_are_not_shown():
    assert shown("sftp://me:secret@host/x/run.csv?token=abc#d") == "sftp://host/x/run.csv"


def test_what_the_system_says_names_the_place_and_keeps_the_cause(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="Not a directory") as failure, explained("here", "write"):
        put(tmp_path / "file" / "run.csv", b"x")
    assert "here" in str(failure.value)
    assert isinstance(failure.value, OSError)
    assert failure.value.errno == errno.ENOTDIR
    assert str(pickle.loads(pickle.dumps(failure.value))) == str(failure.value)
    assert isinstance(failure.value.__cause__, OSError)


def test_plain_names_stay_and_all_others_get_a_digest():
    assert safe_name("3f9a0k2x") == "3f9a0k2x"
    assert safe_name("run-1_b.c") == "run-1_b.c"
    strange = [
        "AbC",
        "abc.",
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "con",
        "nul.txt",
        ".hidden",
        "",
        "a\0b",
        "ä",
        "x" * 300,
        "\ud800",
        " x",
        "%2e%2e",
    ]
    mapped = [safe_name(name) for name in strange]
    assert len({name.lower() for name in mapped}) == len(strange)
    for name in mapped:
        assert len(name) <= 80
        assert name == Path(name).name
        assert name.isascii()
        assert not name.startswith(".")
    assert safe_name("ABC").lower() != safe_name("abc").lower()


@pytest.mark.parametrize(
    ("number", "helps"),
    [(errno.ENOSPC, True), (errno.EIO, True), (errno.EACCES, False), (errno.EROFS, False)],
)
def test_a_retry_is_advised_only_where_it_may_help(number, helps):
    with pytest.raises(OutputError) as caught, explained("place", "write"):
        raise OSError(number, os.strerror(number))
    assert (caught.value.retryable, caught.value.errno) == (helps, number)
    assert pickle.loads(pickle.dumps(caught.value)).retryable is helps


def test_a_stores_own_error_becomes_one_sentence_and_a_bug_stays_a_bug():
    exceptions = pytest.importorskip("botocore.exceptions")
    with pytest.raises(OutputError, match="credentials") as caught, explained("s3://bucket/x", "write"):
        raise exceptions.NoCredentialsError
    assert not caught.value.retryable
    with pytest.raises(TypeError), explained("s3://bucket/x", "write"):
        raise TypeError("a bug of ours")


def test_what_a_store_says_is_shown_without_the_signature_of_its_address():
    """fsspec's file systems name the address that was refused, with all that stands in it."""
    said = FileNotFoundError("https://host/box/run.csv?sv=1&sig=c2VjcmV0LXNpZ25hdHVyZQ")
    with pytest.raises(OutputError, match="Cannot write") as caught, explained("place", "write"):
        raise said
    assert "c2VjcmV0" not in str(caught.value)
    assert "https://host/box/run.csv" in str(caught.value)
