"""Projects, accounts, and the `Api` itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import wandb_ops as wandb
from wandb_ops import Api, CredentialsError, NotFoundError, UsageError
from wandb_ops.public import Project, Run


def test_projects_are_listed_page_by_page(api: Api, project: str, entity: str, sent: list[str]) -> None:
    names = [f"{project}-{number}" for number in range(5)]
    for name in names:
        api.create_project(name, entity)
    projects = api.projects(entity, per_page=2)
    found = {each.name: each for each in projects}
    assert set(names) <= set(found)
    assert len(found) == sum(1 for _ in projects)
    assert repr(projects) == f"<Projects {entity}>"
    assert found[names[0]].path == [entity, names[0]]
    del sent[:]
    assert found[names[0]].created_at
    assert found[names[0]].owner.username == entity
    assert sent == []


def test_a_project_is_fetched_when_something_is_asked_of_it(
    api: Api, project: str, entity: str, sent: list[str]
) -> None:
    api.create_project(project, entity)
    del sent[:]
    found = api.project(project)
    assert (found.name, found.entity) == (project, entity)
    assert found.url == f"{api.settings['base_url']}/{entity}/{project}/workspace"
    assert sent == []
    assert found.id
    assert found.is_benchmark is False
    assert found.createdAt == found.created_at
    assert sent == ["GetProject"]
    assert repr(found) == f"<Project {entity}/{project}>"
    assert pickle.loads(pickle.dumps(found)).id == found.id


def test_a_missing_project_is_an_error_when_it_is_looked_at(api: Api, entity: str) -> None:
    missing = api.project("no-such-project")
    with pytest.raises(NotFoundError, match=f"{entity}/no-such-project"):
        _ = missing.id


def test_creating_a_project_twice_changes_nothing(api: Api, writer: Any, project: str, entity: str) -> None:
    writer.run(project, "r")
    first = api.project(project).id
    api.create_project(project, entity)
    assert api.project(project).id == first
    assert len(api.runs(f"{entity}/{project}")) == 1


def test_the_viewer_is_who_the_key_belongs_to(api: Api, entity: str, sent: list[str]) -> None:
    assert api.viewer.username == entity
    assert api.viewer.entity == entity
    assert entity in api.viewer.teams
    assert api.viewer.email
    assert api.default_entity == entity
    assert sent == ["GetViewer"]
    api.flush()
    assert api.default_entity == entity
    assert sent == ["GetViewer", "GetDefaultEntity"]
    assert repr(api.viewer) == f"<User {entity}>"


def test_settings_are_wandbs(make_api: Callable[..., Api]) -> None:
    api = make_api(project="p", run="r")
    assert api.settings["project"] == "p"
    assert api.settings["run"] == "r"
    assert api.settings["entity"]
    assert api.settings["base_url"].startswith("http://127.0.0.1:")


def test_changed_settings_count_from_the_next_call(api: Api, writer: Any, project: str) -> None:
    writer.run(project, "r")
    api.settings["project"] = project
    assert api.run("r").project == project
    assert len(api.runs()) == 1


def test_the_environment_is_enough(wandb_env: Any) -> None:
    api = wandb.Api()
    assert api.settings["base_url"] == wandb_env.url
    assert api.viewer.username == wandb_env.entity


def test_making_an_api_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(overrides={"base_url": "http://127.0.0.1:9"}, api_key="k" * 40)
    assert api.settings["base_url"] == "http://127.0.0.1:9"


def test_without_a_key_there_is_no_api() -> None:
    with pytest.raises(CredentialsError):
        Api(overrides={"base_url": "http://127.0.0.1:9"})


def test_a_wrong_key_is_refused_by_the_server(api: Api, entity: str) -> None:
    stranger = Api(overrides={"base_url": api.settings["base_url"]}, api_key="0" * 40)
    with pytest.raises(wandb.AuthenticationError):
        _ = stranger.viewer


def test_the_key_is_in_no_text_and_no_pickle(api: Api) -> None:
    assert api.api_key not in repr(api) + str(vars(api)) + repr(api.transport)
    assert api.api_key.encode() not in pickle.dumps(api)


def test_an_api_travels_to_another_process_that_knows_the_key(api: Api, entity: str) -> None:
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).viewer.username)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(_plain(api)),
        capture_output=True,
        check=True,
        env={"WANDB_API_KEY": api.api_key, "HOME": "/nonexistent", "PATH": ""},
    )
    assert done.stdout.decode().strip() == entity


def _plain(api: Api) -> Api:
    """The same Api without the test's transport, which another process cannot import."""
    return Api(overrides={"base_url": api.settings["base_url"]}, api_key=api.api_key)


def test_a_path_leads_to_a_project_or_a_run(api: Api, writer: Any, project: str, entity: str) -> None:
    path = writer.run(project, "r1")
    for text in (project, f"{entity}/{project}", f"https://wandb.ai/{entity}/{project}/workspace"):
        found = api.from_path(text)
        assert isinstance(found, Project)
        assert found.path == [entity, project]
    for text in (path, f"{entity}/{project}/runs/r1", api.run(path).url):
        found = api.from_path(text)
        assert isinstance(found, Run)
        assert found.id == "r1"


@pytest.mark.parametrize("path", ["", "/", "a/b/c/d/e", "a/b/reports/no-id", "a/b/jobs/c"])
def test_a_path_to_nothing_known_is_refused(api: Api, path: str) -> None:
    with pytest.raises(UsageError) as refused:
        api.from_path(path)
    assert isinstance(refused.value, wandb.Error)


def test_a_path_to_what_is_missing_is_an_error_at_once(api: Api, entity: str) -> None:
    with pytest.raises(NotFoundError):
        api.from_path(f"{entity}/no-such-project")
