"""The real SDK's sweeps, alerts, resumed, rewound and offline runs, judged by what the server stored."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from wandb_ops.local.serve import LocalServer

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the wandb SDK is not installed"),
]


@dataclass(frozen=True)
class Session:
    server: LocalServer
    answers: dict[str, Any]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, run_sdk_script: Any) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("sdk-sweeps")
    with LocalServer(data=folder / "data", entity="team") as server:
        yield Session(server, run_sdk_script(server, "sdk_sweep_session.py", folder))


def test_an_agent_runs_as_many_trials_as_it_was_told(session: Session) -> None:
    state, count, expected, best = session.answers["after three"]
    assert (state, count, expected) == ("RUNNING", 3, 4)
    stored = {name: session.server.run("swept", name) for name in session.answers["runs"]}
    assert {run.state for run in stored.values()} == {"finished"}
    losses = {name: run.summary["loss"] for name, run in stored.items()}
    assert losses[best] == min(losses.values())


def test_a_grid_gives_every_combination_once_nested_parameters_too(session: Session) -> None:
    grid = {(lr, layers) for lr in (0.1, 0.2) for layers in (1, 2)}
    given = [tuple(pair) for pair in session.answers["configs"]]
    assert len(set(given)) == 3
    assert set(given) < grid
    for name in session.answers["runs"]:
        run = session.server.run("swept", name)
        assert run.summary["loss"] == run.config["lr"] * run.config["nested"]["layers"]


def test_runs_know_their_sweep_and_the_agent_its_runs(session: Session) -> None:
    assert session.answers["sweep name of a run"] == session.answers["sweep"]
    ((_name, count, runs),) = session.answers["agents"]
    assert (count, runs) == (3, session.answers["runs"])


def test_alerts_are_kept_unless_their_title_asked_for_quiet(session: Session) -> None:
    first, second = session.server.run("events", "alerting").alerts
    assert (first.title, first.text, first.severity, first.wait_seconds) == ("first", "a text", "WARN", 300)
    assert (second.title, second.text, second.severity) == ("second", "another", "INFO")


def test_a_resumed_run_goes_on_and_a_rewound_one_goes_on_from_the_step(session: Session) -> None:
    assert session.answers["resumed at"] == 6
    run = session.server.run("events", "alerting")
    # Steps 0 to 5 and the resumed 6, cut behind 3, then one more row.
    assert [(row["_step"], row["loss"]) for row in run.history_rows()] == [
        (0, 10),
        (1, 9),
        (2, 8),
        (3, 7),
        (4, 100),
    ]
    assert (run.summary["loss"], run.state) == (100, "finished")


def test_must_refuses_a_run_that_is_not_there_and_never_one_that_is(session: Session) -> None:
    assert "does not exist" in session.answers["must"]
    assert "already exists" in session.answers["never"]


def test_an_offline_run_is_synced_afterwards(session: Session) -> None:
    run = session.server.run("events", "offline")
    assert [(row["_step"], row["loss"]) for row in run.history_rows()] == [(n, n) for n in range(5)]
    assert (run.config, run.state, run.summary["loss"]) == ({"a": 1}, "finished", 4)
