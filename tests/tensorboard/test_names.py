"""Which files of a folder are read: odd names, tools that copy, folders that are closed or go away."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from wandb_ops import Api, steps
from wandb_ops.errors import NotFoundError, TransportError, UsageError
from wandb_ops.tensorboard import discover
from wandb_ops.tensorboard.discover import find_directories

NAME = "events.out.tfevents.1700000000.host"


def found_in(folder):
    return [file.name for directory in find_directories(folder) for file in directory.files]


def test_a_file_that_is_being_copied_is_not_read(tmp_path, append_events, scalar_event, local_rows):
    """rsync fills a hidden file and names it when it is whole: read before, it would come twice."""
    events = [scalar_event("x", n, n, 1.0 + n) for n in range(3)]
    append_events(tmp_path / f".{NAME}.aB3dEf", events[:2])
    append_events(tmp_path / "train" / NAME, events)
    assert found_in(tmp_path) == [f"train/{NAME}"]
    assert [row["train/x"] for row in local_rows(tmp_path)] == [0, 1, 2]


def test_folders_whose_names_are_no_utf8_are_told_apart(
    tmp_path, append_events, scalar_event, wandb_server, monkeypatch
):
    for name, value in wandb_server.env.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / os.fsdecode(b"l\xf6gs")
    for value, name in enumerate((b"caf\xe9", b"caf\xe8", "größe".encode())):
        append_events(root / os.fsdecode(name) / NAME, [scalar_event("x", value, 1, 1.0 + value)])
    first = steps.sync_tensorboard(Api(), root, project="tb")
    again = steps.sync_tensorboard(Api(), root, project="tb")
    assert (first.rows, again.rows, first.run_id) == (3, 0, again.run_id)
    rows = wandb_server.run("tb", first.run_id).history_rows()
    found = [(key, row[key]) for row in rows for key in row if key.endswith("/x")]
    assert found == [(r"caf\xe9/x", 0), (r"caf\xe8/x", 1), ("größe/x", 2)]


def test_a_folder_that_may_not_be_read_is_skipped_with_one_warning(
    tmp_path, append_events, scalar_event, monkeypatch, caplog
):
    """As `lost+found` of a volume. To root, who may run this, nothing is closed: the refusal is played."""
    append_events(tmp_path / "a" / NAME, [scalar_event("x", 1, 1, 1.0)])
    (tmp_path / "lost+found").mkdir()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    discover._warn.cache_clear()
    with caplog.at_level(logging.WARNING, "wandb_ops.tensorboard"):
        assert found_in(tmp_path) == found_in(tmp_path) == [f"a/{NAME}"]
    assert [record.getMessage() for record in caplog.records] == [
        f"skipped the folder {str(tmp_path / 'lost+found')!r}: Permission denied"
    ]


def test_what_goes_away_while_it_is_looked_at_is_left_out(tmp_path, append_events, scalar_event, monkeypatch):
    gone = append_events(tmp_path / "b" / NAME, [scalar_event("x", 1, 1, 1.0)])
    append_events(tmp_path / "a" / NAME, [scalar_event("x", 1, 1, 1.0)])
    real = Path.stat

    def stat(self, **options):
        if self == gone:
            gone.unlink(missing_ok=True)
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert found_in(tmp_path) == [f"a/{NAME}"]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError(2, "No such file"), NotFoundError, "is gone"),
        (PermissionError(13, "Permission denied"), UsageError, "may not be read"),
        (OSError(116, "Stale file handle"), TransportError, "Stale file handle"),
    ],
)
def test_a_file_that_the_disk_does_not_give_is_an_error_of_ours(
    tmp_path, append_events, scalar_event, local_rows, monkeypatch, error, kind, message
):
    append_events(tmp_path / NAME, [scalar_event("x", 1, 1, 1.0)])

    def refuse(self, *_words, **_options):
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(kind, match=message) as raised:
        local_rows(tmp_path)
    assert raised.value.retryable == (kind is TransportError)
