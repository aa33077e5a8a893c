"""What a sync tells afterwards, and why it refuses: its result, the terminal, the JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from wandb_ops import Api, steps
from wandb_ops.cli.main import cli

NAME = "events.out.tfevents.1700000000.host"
REASONS = {"damaged record": 1, "empty tag": 1, "unfinished last record": 1}


@pytest.fixture
def damaged(tmp_path, append_events, scalar_event):
    """Six scalars in two files, of which one is damaged and one cut; and how many bytes are given up."""
    root = tmp_path / "logs"
    path = append_events(root / "a" / NAME, [scalar_event("x", n, n, 1.0 + n) for n in range(1, 5)])
    data = bytearray(path.read_bytes())
    size = len(data) // 4
    data[size + 20] ^= 1
    path.write_bytes(data)
    append_events(path, [scalar_event("", 1, 5, 6.0)])
    cut = append_events(root / "b" / NAME, [scalar_event("x", n, n, 1.5 + n) for n in range(2)])
    cut.write_bytes(cut.read_bytes()[:-3])
    return root, size


@pytest.fixture
def environment(wandb_server, monkeypatch):
    for name, value in {**wandb_server.env, "WANDB_PROJECT": "tb"}.items():
        monkeypatch.setenv(name, value)


def sync(*words):
    return CliRunner().invoke(cli, ["sync-tensorboard", *map(str, words)])


def test_the_result_counts_what_was_sent_and_what_was_not(damaged, environment):
    root, size = damaged
    told = []
    done = steps.sync_tensorboard(
        Api(), root, run_id="r", project="tb", progress=lambda *numbers: told.append(numbers)
    ).to_json()
    assert (done["rows"], done["scalars"], done["media"], done["files"]) == (4, 4, 0, 2)
    assert (done["resumed_at_line"], done["history_lines"], done["last_step"]) == (0, 4, 3)
    assert (done["bytes_skipped"], done["left_out"]) == (size, REASONS)
    total = sum(path.stat().st_size for path in root.rglob("*tfevents*"))
    torn = total - done["bytes_read"]
    assert told[-1] == (done["bytes_read"], total, told[-1][2])
    assert 0 < torn == (root / "b" / NAME).stat().st_size - (size - 2)  # an event of step 0 says no step
    # Again: nothing is new, and only how the files end now is still told.
    again = steps.sync_tensorboard(Api(), root, run_id="r", project="tb").to_json()
    assert (again["rows"], again["resumed_at_line"], again["bytes_skipped"]) == (0, 4, 0)
    assert again["left_out"] in ({}, {"unfinished last record": 1})


def test_the_command_says_what_was_damaged_and_left_out(damaged, environment):
    root, size = damaged
    shown = sync(root, "--run-id", "r").stdout
    assert f"{size} B" in shown
    for reason, count in REASONS.items():
        assert f"{count} {reason}" in shown
    said = json.loads(sync(root, "--run-id", "other", "--json").stdout)
    assert (said["bytes_skipped"], said["left_out"], said["resumed_at_line"]) == (size, REASONS, 0)


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (("--entity", "nobody"), {}, "'nobody'"),
        (("--project", "a/b"), {}, "Pass entity='a', project='b'"),
        ((), {"WANDB_API_KEY": "c0ffee" * 6 + "beef"}, "does not accept the API key"),
    ],
)
def test_a_call_that_cannot_work_says_why(damaged, environment, monkeypatch, words, environ, expected):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    refused = sync(damaged[0], *words)
    assert refused.exit_code not in {0, 75}  # not one that a retry would help
    assert expected in refused.output


def test_a_folder_of_another_run_is_refused_by_name(
    damaged, environment, tmp_path, append_events, scalar_event
):
    assert sync(damaged[0], "--run-id", "r").exit_code == 0
    append_events(tmp_path / "other" / NAME, [scalar_event("x", 1, 1, 1.0)])
    refused = sync(tmp_path / "other", "--run-id", "r")
    assert refused.exit_code == 1
    assert f"a/{NAME}" in refused.output
    assert "another run id" in refused.output
