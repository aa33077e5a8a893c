"""Members that have no home of their own: display, next, pending runs, presets of charts, words of errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from faults_plugin import Answer, json_answer

import wandb_ops
from wandb_ops import Api, GraphQLError, ProtocolError, UsageError
from wandb_ops.public import Run


@pytest.fixture
def faulty(fault_server: Any, make_transport: Callable[..., Any], sentinel_key: str) -> Api:
    """An Api whose answers the test writes."""
    api = Api(overrides={"base_url": fault_server.url, "entity": "e"}, api_key=sentinel_key)
    api._transport = make_transport(fault_server)
    return api


@pytest.mark.parametrize("body", [b"", b'{"data": {"vie'], ids=["empty", "cut"])
def test_an_answer_that_was_cut_may_be_whole_the_next_time(
    faulty: Api, fault_server: Any, body: bytes
) -> None:
    fault_server.handler = lambda _request: Answer(body=body)
    with pytest.raises(ProtocolError) as caught:
        _ = faulty.viewer
    assert caught.value.retryable
    assert "A retry may help. What stands between may have cut the answer" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"<html>log in</html>", "text/html"), (b"[1]", "application/json")],
    ids=["web page", "list"],
)
def test_a_whole_answer_of_something_else_will_be_there_again(
    faulty: Api, fault_server: Any, body: bytes, content_type: str
) -> None:
    fault_server.handler = lambda _request: Answer(body=body, headers=(("Content-Type", content_type),))
    with pytest.raises(ProtocolError, match="base URL") as caught:
        _ = faulty.viewer
    assert not caught.value.retryable


def test_an_entity_that_is_not_there_is_named_with_where_it_came_from(
    wandb_server_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in wandb_server_session.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_ENTITY", "no-such-team")
    with pytest.raises(GraphQLError, match="'no-such-team' comes from WANDB_ENTITY"):
        Api().create_run(project="p")
    given = Api(overrides={"entity": "neither-this"})
    with pytest.raises(GraphQLError, match="'neither-this' comes from the overrides"):
        list(given.projects())
    with pytest.raises(GraphQLError, match="spelling of the entity 'or-this'"):
        given.create_project("p", "or-this")


def test_a_refusal_of_something_else_has_no_word_on_the_entity(faulty: Api, fault_server: Any) -> None:
    answer = {"data": None, "errors": [{"message": "project name is taken"}]}
    fault_server.handler = lambda _request: json_answer(answer)
    with pytest.raises(GraphQLError) as caught:
        faulty.create_project("p", "e")
    assert caught.value.hint == ""


def test_a_run_is_shown_in_a_notebook_only(
    api: Api, writer: Any, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = api.run(writer.run(project, "r"))
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert run.display() is False
    shown: list[str] = []
    display = SimpleNamespace(display=shown.append, HTML=str)
    terminal = SimpleNamespace(get_ipython=SimpleNamespace, display=display)
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert run.display() is False
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1), display=display)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert run.display(height=99) is True
    assert shown == [run.to_html(99)]
    assert api.viewer.display() is False  # it has no page


def test_a_hidden_page_comes_with_a_button(api: Api, writer: Any, project: str) -> None:
    text = api.run(writer.run(project, "r")).to_html(hidden=True)
    assert text.startswith("<button")
    assert "Show the run" in text
    assert "display:none" in text


def test_a_light_list_is_completed_page_by_page(
    api: Api, writer: Any, entity: str, project: str, sent: list[str]
) -> None:
    for number in range(5):
        writer.run(project, f"r{number}", config={"n": number})
    runs = api.runs(f"{entity}/{project}", per_page=2, lazy=True)
    first = runs.next()
    assert (first.id, runs.next().id, [run.id for run in runs][:3]) == ("r0", "r1", ["r0", "r1", "r2"])
    sent.clear()
    runs.upgrade_to_full()
    assert len(sent) == 3
    assert [run.config["n"] for run in runs] == list(range(5))
    assert len(sent) == 3
    for number in range(3):
        assert runs.next().id == f"r{number + 2}"
    with pytest.raises(StopIteration):
        runs.next()


def test_a_run_may_wait_to_be_started(api: Api, project: str, writer: Any) -> None:
    run = Run.create(api, run_id="waits", project=project, state="pending")
    assert run.state == "pending"
    assert writer.server.run(project, "waits").state == "pending"
    with pytest.raises(UsageError, match="'running' or 'pending'"):
        Run.create(api, state="finished")  # type: ignore[arg-type]  # is the test


def test_the_config_as_wandb_keeps_it_holds_what_was_not_saved_yet(
    api: Api, project: str, writer: Any
) -> None:
    run = api.run(writer.run(project, "r", config={"a": 1, "_wandb": {"t": 2}}))
    run.config["b"] = [1, 2]
    assert json.loads(run.json_config) == {
        "_wandb": {"value": {"t": 2}, "desc": None},
        "a": {"value": 1, "desc": None},
        "b": {"value": [1, 2], "desc": None},
    }


def test_presets_of_charts_are_checked_and_refused_when_taken(api: Api, entity: str, project: str) -> None:
    name = f"bars-{project}"
    arguments: dict[str, Any] = {
        "entity": entity,
        "name": name,
        "display_name": "Bars",
        "spec_type": "vega2",
        "access": "private",
        "spec": {"mark": "bar"},
    }
    assert api.create_custom_chart(**arguments) == f"{entity}/{name}"
    with pytest.raises(GraphQLError, match="exists already"):
        api.create_custom_chart(**arguments)
    for wrong in (
        {"spec_type": "vega"},
        {"access": "secret"},
        {"spec": "{"},
        {"spec": "[]"},
        {"spec": ""},
        {"spec": {"a": object()}},
        {"name": ""},
    ):
        with pytest.raises(UsageError):
            api.create_custom_chart(**(arguments | wrong))


def test_the_program_says_what_it_is(api: Api) -> None:
    assert api.user_agent == f"wandb-ops/{wandb_ops.__version__}"
