"""Every way to write a run or a project."""

from __future__ import annotations

import pytest

from wandb_ops import UsageError
from wandb_ops.public.paths import Defaults, ProjectPath, RunPath, parse_project_path, parse_run_path


def defaults(entity: str | None = None, project: str | None = None, run: str | None = None) -> Defaults:
    def ask() -> str | None:
        raise AssertionError("the server was asked for an entity that the path names")

    return Defaults({"entity": entity, "project": project, "run": run}, ask)


@pytest.mark.parametrize(
    "path",
    [
        "team/vision/ab12",
        "/team/vision/ab12",
        " team/vision/ab12/ ",
        "team/vision/runs/ab12",
        "team/vision/run/ab12",
        "team/vision:ab12",
        "https://wandb.ai/team/vision/runs/ab12",
        "https://wandb.ai/team/vision/runs/ab12/overview",
        "https://wandb.ai/team/vision/runs/ab12?nw=nwuser&panel=x",
        "https://forge.coreweave.com/wandb/team/vision/runs/ab12/files",
        "http://127.0.0.1:8080/team/vision/runs/ab12#charts",
    ],
)
def test_a_whole_path_names_a_run_without_asking_the_server(path: str) -> None:
    assert parse_run_path(path, defaults()) == RunPath("team", "vision", "ab12")


@pytest.mark.parametrize(
    ("path", "settings", "expected"),
    [
        ("vision/ab12", {"entity": "team"}, "team/vision/ab12"),
        ("vision:ab12", {"entity": "team"}, "team/vision/ab12"),
        ("ab12", {"entity": "team", "project": "vision"}, "team/vision/ab12"),
        ("", {"entity": "team", "project": "vision", "run": "ab12"}, "team/vision/ab12"),
        ("other/vision/ab12", {"entity": "team", "project": "nlp"}, "other/vision/ab12"),
        ("team/vision/runs", {}, "team/vision/runs"),
        ("https://wandb.ai/my%20team/vision/runs/ab12", {}, "my team/vision/ab12"),
        ("team/vision/ünï-1.2_x", {}, "team/vision/ünï-1.2_x"),
    ],
)
def test_settings_fill_what_a_path_leaves_out(path: str, settings: dict[str, str], expected: str) -> None:
    assert str(parse_run_path(path, defaults(**settings))) == expected


def test_the_server_is_asked_for_the_entity_only_when_nothing_else_names_it() -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return "mine"

    unset = Defaults({"entity": None}, ask)
    assert parse_run_path("vision/ab12", unset).entity == "mine"
    assert len(asked) == 1
    assert parse_run_path("team/vision/ab12", unset).entity == "team"
    assert len(asked) == 1


@pytest.mark.parametrize("path", ["", "ab12", "a/b/c/d/e", "team/vision/sweeps/xy", "team//ab12", "/"])
def test_what_names_no_run_is_refused_with_advice(path: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_run_path(path, defaults(entity="team"))
    assert "entity/project/run" in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_a_path_without_any_entity_is_refused() -> None:
    with pytest.raises(UsageError, match="no entity"):
        parse_run_path("vision/ab12", Defaults({}, lambda: None))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("other/nlp", ProjectPath("other", "nlp")),
        ("nlp", ProjectPath("team", "nlp")),
        (None, ProjectPath("team", "vision")),
        ("", ProjectPath("team", "vision")),
        ("other/nlp/workspace", ProjectPath("other", "nlp")),
        ("https://wandb.ai/other/nlp", ProjectPath("other", "nlp")),
        ("https://wandb.ai/other/nlp/workspace?nw=x", ProjectPath("other", "nlp")),
        ("https://wandb.ai/other/nlp/runs", ProjectPath("other", "nlp")),
        ("https://wandb.ai/other/nlp/reports", ProjectPath("other", "nlp")),
        ("https://forge.coreweave.com/wandb/other/nlp/table", ProjectPath("other", "nlp")),
    ],
)
def test_a_project_is_found_by_path_or_address(path: str | None, expected: ProjectPath) -> None:
    assert parse_project_path(path, defaults(entity="team", project="vision")) == expected


def test_the_project_of_last_resort_is_wandbs() -> None:
    assert parse_project_path(None, defaults(entity="team")) == ProjectPath("team", "uncategorized")


@pytest.mark.parametrize("path", ["a/b/c", "/a//b", "a/b/sweeps/c", "https://wandb.ai/a/b/sweeps/c"])
def test_what_names_no_project_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="not the path of a project"):
        parse_project_path(path, defaults(entity="team"))
