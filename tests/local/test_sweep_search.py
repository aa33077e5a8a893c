"""Bayesian search and early termination, judged by known functions and by counting; preempted runs."""

from __future__ import annotations

import json
import math
import random
import statistics
from typing import Any

import pytest

from wandb_ops.local.serve import LocalServer
from wandb_ops.local.sweeps import sweepconfig
from wandb_ops.local.sweeps.bayes import Trial
from wandb_ops.local.sweeps.hyperband import read_rule
from wandb_ops.local.sweeps.suggest import suggest

UPSERT = """mutation U($input: UpsertSweepInput!) { upsertSweep(input: $input) {
  sweep { name } configValidationWarnings } }"""
AGENT = """mutation A($p: String!, $s: String!) {
  createAgent(input: {projectName: $p, sweep: $s, host: "h"}) { agent { id } } }"""
BEAT = """mutation H($id: ID!, $runs: JSONString) {
  agentHeartbeat(input: {id: $id, metrics: "{}", runState: $runs}) { commands } }"""
STATE = """query S($p: String!, $s: String!) { project(name: $p) { sweep(sweepName: $s) { state } } }"""


def make(bare: Any, project: str, config: dict[str, Any]) -> str:
    made = bare.data(UPSERT, input={"projectName": project, "config": json.dumps(config)})["upsertSweep"]
    assert made["configValidationWarnings"] == []
    return str(made["sweep"]["name"])


def agent(bare: Any, project: str, name: str) -> str:
    return str(bare.data(AGENT, p=project, s=name)["createAgent"]["agent"]["id"])


def beat(bare: Any, agent_id: str, *working: str) -> Any:
    runs = json.dumps(dict.fromkeys(working, True))
    commands = json.loads(bare.data(BEAT, id=agent_id, runs=runs)["agentHeartbeat"]["commands"])
    assert len(commands) <= 1
    return commands[0] if commands else None


def begin(bare: Any, project: str, sweep: str, command: Any) -> str:
    run = str(command["run_id"])
    bare.upsert(name=run, modelName=project, sweep=sweep, config=json.dumps(command["args"]))
    return run


# -- Bayesian search ---------------------------------------------------------------------------------------

SPACE = {
    "x": {"min": -1.0, "max": 2.0},
    "deep": {"parameters": {"lr": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1.0}}},
    "kind": {"values": ["a", "b", "c"]},
    "size": {"min": 1, "max": 9},
    "fixed": {"value": "always"},
}


def loss(values: Any) -> float:
    """Lowest, 0, at x=0.3, lr=1e-3, kind=b, size=7."""
    kind = 0.0 if values["kind"] == "b" else 0.5
    rate = math.log10(values["deep"]["lr"]) + 3
    return (values["x"] - 0.3) ** 2 + 0.3 * rate**2 + kind + 0.02 * (values["size"] - 7) ** 2


def best_of(method: str, name: str, trials: int, sign: float = 1.0) -> float:
    config = {"method": method, "metric": {"name": "loss"}, "parameters": SPACE}
    tried: list[Trial] = []
    for number in range(trials):
        values = suggest(config, name, number, tried)
        assert values is not None
        tried.append(Trial(values, sign * loss(values)))
    return min(sign * float(trial.loss or 0.0) for trial in tried)


def test_a_bayesian_search_comes_closer_to_the_optimum_than_a_random_one() -> None:
    names = ["first", "second", "third"]
    bayes = [best_of("bayes", name, 24) for name in names]
    chance = [best_of("random", name, 24) for name in names]
    assert statistics.median(bayes) < statistics.median(chance) / 5
    assert max(bayes) < 0.1  # each of them found the right kind


def test_the_next_trial_follows_from_the_sweep_and_its_trials_alone() -> None:
    config = {"method": "bayes", "metric": {"name": "loss"}, "parameters": SPACE}
    tried = []
    for number in range(10):
        values = suggest(config, "same", number, tried)
        assert values == suggest(config, "same", number, tried)
        assert values is not None
        tried.append(Trial(values, loss(values)))
    assert suggest(config, "same", 10, tried) != suggest(config, "other", 10, tried)


def test_agents_at_work_at_once_are_sent_to_different_places() -> None:
    config = {"method": "bayes", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    tried = [Trial({"x": at / 7}, (at / 7 - 0.4) ** 2) for at in range(8)]
    given = []
    for number in range(20, 23):
        values = suggest(config, "s", number, tried)
        assert values is not None
        given.append(values["x"])
        tried.append(Trial(values, None))
    assert len({round(value, 3) for value in given}) == 3


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"min": 1, "max": 4}, lambda value: type(value) is int and 1 <= value <= 4),
        ({"min": 2, "max": 2}, lambda value: value == 2),
        ({"min": 0, "max": 10, "q": 5}, lambda value: value in {0, 5, 10}),
        (
            {"distribution": "log_uniform", "min": -2, "max": 0},
            lambda value: math.exp(-2.01) <= value <= 1.01,
        ),
        ({"distribution": "inv_log_uniform", "min": 0, "max": 2}, lambda value: 0.13 <= value <= 1.01),
        ({"distribution": "normal", "mu": 5, "sigma": 2}, lambda value: -5 < value < 15),
        ({"distribution": "log_normal"}, lambda value: value > 0),
        ({"distribution": "beta", "a": 2, "b": 2}, lambda value: 0 <= value <= 1),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 8},
            lambda value: 1 <= value <= 64,
        ),
        ({"values": [None, [1], True, 1]}, lambda value: value in [None, [1], True]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_every_distribution_can_be_searched_and_its_bounds_hold(spec: Any, allowed: Any) -> None:
    config = {"method": "bayes", "metric": {"name": "l"}, "parameters": {"x": spec}}
    assert sweepconfig.check(config) == []
    chance, tried = random.Random(1), []
    for number in range(14):
        values = suggest(config, "s", number, tried)
        assert values is not None
        assert allowed(values["x"])
        tried.append(Trial(values, chance.random()))


def test_what_cannot_be_placed_is_left_out_and_a_flat_metric_is_no_accident() -> None:
    config = {"method": "bayes", "metric": {"name": "l"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    odd = [Trial({"x": value}, 1.0) for value in ("text", math.nan, math.inf, 10**400)]
    tried = [*odd, Trial({}, 0.0), *(Trial({"x": at / 9}, 5.0) for at in range(9))]
    values = suggest(config, "s", 30, tried)
    assert values is not None
    assert 0 <= values["x"] <= 1


def test_the_server_feeds_the_search_with_what_its_runs_reported(bare: Any, project: str) -> None:
    """Through the protocol, to maximize: the later half of the trials lies around the best value."""
    config = {
        "method": "bayes",
        "metric": {"name": "score", "goal": "maximize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "run_cap": 20,
    }
    sweep = make(bare, project, config)
    one, given = agent(bare, project, sweep), []
    while (command := beat(bare, one))["type"] == "run":
        run = begin(bare, project, sweep, command)
        at = command["args"]["x"]["value"]
        given.append(at)
        bare.upsert(name=run, modelName=project, summaryMetrics=json.dumps({"score": -((at - 0.62) ** 2)}))
        bare.stream(project, run, complete=True, exitcode=0)
    assert len(given) == 20
    assert statistics.median(abs(at - 0.62) for at in given[10:]) < 0.03
    assert statistics.median(abs(at - 0.62) for at in given[:4]) > 0.03  # which were drawn at random


# -- early termination -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reached", "boundaries"),
    [
        ({"min_iter": 3}, 100, [3, 9, 27, 81]),
        ({"min_iter": 3, "eta": 2}, 24, [3, 6, 12, 24]),
        ({"max_iter": 27, "s": 2}, 100, [3, 9]),
        ({"max_iter": 27}, 100, [1, 3, 9]),
        ({"min_iter": 3}, 2, []),
        ({"min_iter": 3, "eta": 1e6}, 10**9, [3, 3_000_000]),
        ({"max_iter": 27, "s": 10**12}, 100, [1, 3, 9]),
    ],
    ids=str,
)
def test_brackets_end_where_hyperband_has_them(given: Any, reached: int, boundaries: list[int]) -> None:
    rule = read_rule({"metric": {"name": "l"}, "early_terminate": {"type": "hyperband", **given}})
    assert rule is not None
    assert rule.boundaries(reached) == boundaries


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("hyperband", "a mapping"),
        ({"type": "envelope"}, "type: hyperband"),
        ({"type": "hyperband"}, "either min_iter or max_iter"),
        ({"type": "hyperband", "min_iter": 1, "max_iter": 2}, "either min_iter or max_iter"),
        ({"type": "hyperband", "min_iter": 0}, "min_iter must be a whole number"),
        ({"type": "hyperband", "min_iter": 1, "eta": 1}, "eta must be"),
        ({"type": "hyperband", "min_iter": 1, "eta": 1e300}, "eta must be"),
        ({"type": "hyperband", "max_iter": 10**13}, "max_iter must be"),
        ({"type": "hyperband", "max_iter": 10**9, "eta": 1.0000001}, "eta must be"),
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused_when_the_sweep_is_made(
    bare: Any, project: str, given: Any, reason: str
) -> None:
    config = {
        "method": "random",
        "metric": {"name": "l"},
        "parameters": {"x": {"min": 0, "max": 9}},
        "early_terminate": given,
    }
    (message,) = bare.errors(UPSERT, input={"projectName": project, "config": json.dumps(config)})
    assert "early_terminate" in message
    assert reason in message


def racing(bare: Any, project: str, count: int, **rule: Any) -> tuple[str, list[tuple[str, str]]]:
    """A sweep with that many agents, each with a run under way."""
    config = {
        "method": "random",
        "metric": {"name": "loss", "goal": rule.pop("goal", "minimize")},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "early_terminate": {"type": "hyperband", **rule},
    }
    sweep = make(bare, project, config)
    agents = [agent(bare, project, sweep) for _ in range(count)]
    return sweep, [(one, begin(bare, project, sweep, beat(bare, one))) for one in agents]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_at_a_boundary_the_worst_are_stopped_and_the_best_third_goes_on(
    bare: Any, project: str, goal: str, server: LocalServer
) -> None:
    _, runs = racing(bare, project, 6, min_iter=2, goal=goal)
    sign = 1 if goal == "minimize" else -1
    for rank, (_, run) in enumerate(runs):
        bare.log(project, run, 0, [{"_step": 0, "loss": sign * (10.0 + rank)}, {"_step": 1, "other": 1}])
    assert [beat(bare, one, run) for one, run in runs] == [None] * 6  # one iteration: nobody is judged yet
    for rank, (_, run) in enumerate(runs):
        bare.log(project, run, 2, [{"_step": 2, "loss": sign * (5.0 + rank)}])
    answers = [beat(bare, one, run) for one, run in runs]
    stops = [{"type": "stop", "run_id": run} for _, run in runs]
    assert answers == [None, None, *stops[2:]]  # 6 runs, eta 3: the best two
    for one, run in runs[2:]:
        assert beat(bare, one, run) == {"type": "stop", "run_id": run}  # until it is obeyed
        assert bare.stream(project, run).json()["stopped"] is True
        bare.stream(project, run, complete=True, exitcode=1)
    for _, run in runs[:2]:  # at the next boundary, 6, those two are compared with each other
        bare.log(project, run, 3, [{"_step": step, "loss": sign * 4.0} for step in range(3, 6)])
    bare.log(project, runs[0][1], 6, [{"_step": 6, "loss": sign * 1.0}])
    bare.log(project, runs[1][1], 6, [{"_step": 6, "loss": sign * 2.0}])
    assert [beat(bare, one, run) for one, run in runs[:2]] == [None, stops[1]]


def test_a_run_that_is_far_beyond_a_boundary_when_it_is_seen_is_judged_by_it(bare: Any, project: str) -> None:
    """A writer sends many lines at once: the other run ended long before the next boundary."""
    _, runs = racing(bare, project, 2, min_iter=2)
    (_, good), (late_agent, late) = runs
    bare.log(project, good, 0, [{"_step": step, "loss": 1.0} for step in range(4)])
    bare.log(project, late, 0, [{"_step": step, "loss": 9.0} for step in range(50)])
    assert beat(bare, late_agent, late) == {"type": "stop", "run_id": late}


def test_a_run_that_got_better_since_goes_on_unless_the_rule_is_strict(bare: Any, project: str) -> None:
    for strict in (False, True):
        _, runs = racing(bare, f"{project}-{strict}", 2, min_iter=1, strict=strict)
        (_, good), (late_agent, late) = runs
        bare.log(f"{project}-{strict}", good, 0, [{"_step": 0, "loss": 1.0}])
        bare.log(f"{project}-{strict}", late, 0, [{"_step": 0, "loss": 9.0}, {"_step": 1, "loss": 0.5}])
        stopped = beat(bare, late_agent, late)
        assert stopped == ({"type": "stop", "run_id": late} if strict else None)


def test_values_that_are_no_numbers_lose_and_a_rewound_run_is_read_again(bare: Any, project: str) -> None:
    _, runs = racing(bare, project, 2, min_iter=2)
    (_, good), (bad_agent, bad) = runs
    bare.log(project, good, 0, [{"_step": 0, "loss": 3.0}, {"_step": 1, "loss": 2.0}])
    bare.log(project, bad, 0, ['{"_step":0,"loss":NaN}', '{"_step":1,"loss":"none"}'])
    assert beat(bare, bad_agent, bad) is None  # a text is no iteration
    bare.log(project, bad, 2, ['{"_step":2,"loss":Infinity}'])
    assert beat(bare, bad_agent, bad)["type"] == "stop"
    rewind = f'mutation {{ rewindRun(input: {{projectName: "{project}", runName: "{bad}",'
    rewind += ' metricName: "_step", metricValue: 0}) { rewoundRun { name } } }'
    bare.data(rewind)
    bare.log(project, bad, 1, [{"_step": 1, "loss": 1.0}])
    assert beat(bare, bad_agent, bad) is None


# -- preempted runs ----------------------------------------------------------------------------------------


def test_a_preempted_run_is_handed_out_to_the_next_agent_once(bare: Any, project: str) -> None:
    config = {"method": "grid", "parameters": {"x": {"values": [1, 2]}}}
    sweep = make(bare, project, config)
    first = agent(bare, project, sweep)
    command = beat(bare, first)
    run = begin(bare, project, sweep, command)
    state = "query Q($p: String!, $r: String!) { project(name: $p) { run(name: $r) { state } } }"

    def now() -> str:
        return str(bare.data(state, p=project, r=run)["project"]["run"]["state"])

    bare.stream(project, run, preempting=True)
    bare.log(project, run, 0, [{"_step": 0}])
    bare.upsert(name=run, modelName=project, notes="the SDK sends changes of a run as it sends its beginning")
    assert now() == "preempting"
    bare.stream(project, run, complete=True, exitcode=255)
    assert now() == "preempted"
    second, third = agent(bare, project, sweep), agent(bare, project, sweep)
    again = beat(bare, second)
    assert again == {**command, "type": "resume"}
    other = beat(bare, third)
    assert other["run_id"] != run  # that one was taken
    for each in (again, other):
        name = begin(bare, project, sweep, each)
        bare.stream(project, name, complete=True, exitcode=0)
    assert now() == "finished"
    assert beat(bare, second) == {"type": "exit"}
    assert bare.data(STATE, p=project, s=sweep)["project"]["sweep"]["state"] == "FINISHED"


def test_a_run_that_was_preempting_and_ended_well_is_done(bare: Any, project: str) -> None:
    sweep = make(bare, project, {"method": "grid", "parameters": {"x": {"value": 1}}})
    one = agent(bare, project, sweep)
    run = begin(bare, project, sweep, beat(bare, one))
    bare.stream(project, run, preempting=True)
    bare.stream(project, run, complete=True, exitcode=0)
    assert beat(bare, one) == {"type": "exit"}


def test_a_preempting_run_that_falls_silent_was_preempted(
    tmp_path: Any, clock: Any, bare_client: Any
) -> None:
    with LocalServer(data=tmp_path, clock=clock, crash_after=60) as server:
        bare = bare_client(server)
        sweep = make(bare, "p", {"method": "grid", "parameters": {"x": {"value": 1}}})
        one = agent(bare, "p", sweep)
        run = begin(bare, "p", sweep, beat(bare, one))
        bare.stream("p", run, preempting=True)
        assert beat(bare, one) == {"type": "exit"}  # nothing to do now, but the sweep is not over
        clock.now += 61
        assert server.run("p", run).state == "preempted"
        two = agent(bare, "p", sweep)
        assert beat(bare, two)["type"] == "resume"
