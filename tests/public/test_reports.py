"""Reports: listed, found by path, and the runs that a section shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wandb_ops import Api, NotFoundError, UsageError
from wandb_ops.public import BetaReport

UPSERT = "mutation U($input: UpsertViewInput!) { upsertView(input: $input) { view { id name } } }"


def condition(section: str, name: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"key": {"section": section, "name": name}, "op": operator, "value": value, **more}


def spec(*conditions: dict[str, Any], root: int = 1, tree: tuple[str, ...] = ()) -> dict[str, Any]:
    """A report with one group of panels, as the app stores it."""
    run_set = {
        "filters": {"op": "OR", "filters": [{"op": "AND", "filters": list(conditions)}]},
        "sort": {"key": {"section": "summary", "name": "loss"}, "ascending": True},
        "selections": {"root": root, "tree": list(tree)},
    }
    return {"panelGroups": [{"openRunSet": 0, "runSets": [run_set], "panels": []}]}


@pytest.fixture
def publish(writer: Any, project: str, entity: str) -> Any:
    """Makes a report over four runs; returns its id."""
    for number in range(4):
        writer.run(
            project,
            f"r{number}",
            config={"lr": number},
            summary={"loss": 10 - number},
            tags=["even"] if number % 2 == 0 else ["odd"],
        )

    def publish(title: str, content: dict[str, Any], **given: Any) -> str:
        values = {"projectName": project, "entityName": entity, "displayName": title, "type": "runs"}
        data = writer.graphql(UPSERT, {"input": {**values, "spec": json.dumps(content), **given}})
        return str(data["upsertView"]["view"]["id"])

    return publish


def test_reports_are_listed_page_by_page(
    api: Api, entity: str, project: str, publish: Any, sent: list[str]
) -> None:
    ids = [publish(f"Title {number}", spec(), description=f"about {number}") for number in range(5)]
    reports = api.reports(f"{entity}/{project}", per_page=2)
    assert [report.id for report in reports] == ids
    assert len(reports) == 5
    assert sent == ["ProjectViews"] * 3
    first = reports[0]
    assert (first.display_name, first.description, first.spec) == ("Title 0", "about 0", spec())
    assert first.user is not None
    assert first.user["username"] == entity
    assert first.created_at <= (first.updated_at or "")
    assert first.url.endswith(f"/{entity}/{project}/reports/Title-0--{ids[0].rstrip('=')}")
    assert repr(reports) == f"<Reports {entity}/{project}>"
    assert "<iframe" in first.to_html()
    named = api.reports(f"{entity}/{project}", name="Title%203")
    assert [report.id for report in named] == [ids[3]]


def test_a_report_is_found_by_its_path_and_loaded_when_needed(
    api: Api, entity: str, project: str, publish: Any, sent: list[str]
) -> None:
    identifier = publish("My Report", spec(), description="d").rstrip("=")
    for last in (f"My-Report--{identifier}", f"My-Report-{identifier}", identifier):
        report = api.from_path(f"{entity}/{project}/reports/{last}")
        assert isinstance(report, BetaReport)
        assert report.id == identifier
        assert sent == []
        assert report.description == "d"
        assert report.display_name == "My Report"
        assert len(report.sections) == 1
        assert sent == ["View"]
        sent.clear()
    with pytest.raises(UsageError, match="report"):
        api.from_path(f"{entity}/{project}/reports/no-identifier")
    missing = api.from_path(f"{entity}/{project}/reports/Gone--Vmlldzo5OTk5")
    assert isinstance(missing, BetaReport)
    assert missing.display_name == "Gone"
    with pytest.raises(NotFoundError, match="no such report"):
        _ = missing.spec


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (spec(), ["r3", "r2", "r1", "r0"]),
        (spec(condition("config", "lr", ">=", 2)), ["r3", "r2"]),
        (spec(condition("config", "lr", "=", 1)), ["r1"]),
        (spec(condition("tags", "even", "=", True)), ["r2", "r0"]),
        (spec(condition("tags", "even", "=", False)), ["r3", "r1"]),
        (spec(condition("summary", "loss", "IN", [10, 9])), ["r1", "r0"]),
        (spec(condition("run", "name", "!=", "r1")), ["r3", "r2", "r0"]),
        (spec(condition("config", "lr", "<", 1, disabled=True)), ["r3", "r2", "r1", "r0"]),
        (spec(root=0, tree=("r0", "r3")), ["r3", "r0"]),
        (spec(root=1, tree=("r0", "r3")), ["r2", "r1"]),
    ],
)
def test_a_section_shows_its_runs(
    api: Api, entity: str, project: str, publish: Any, content: Any, expected: list[str]
) -> None:
    publish("Shown", content)
    (report,) = api.reports(f"{entity}/{project}")
    (section,) = report.sections
    assert [run.id for run in report.runs(section)] == expected


def test_newer_reports_keep_their_sections_in_blocks(
    api: Api, entity: str, project: str, publish: Any
) -> None:
    (group,) = spec(condition("config", "lr", ">", 1))["panelGroups"]
    group["runSets"][0]["sort"] = {"keys": [{"key": {"section": "config", "name": "lr"}, "ascending": True}]}
    publish("Blocks", {"blocks": [{"type": "heading"}, {"type": "panel-grid", "metadata": group}]})
    (report,) = api.reports(f"{entity}/{project}")
    (section,) = report.sections
    assert [run.id for run in report.runs(section)] == ["r2", "r3"]
    with pytest.raises(UsageError, match="not a section"):
        report.runs({"panels": []})


def test_a_project_that_is_not_there_has_no_reports(api: Api, entity: str) -> None:
    with pytest.raises(NotFoundError, match="no such project"):
        list(api.reports(f"{entity}/no-such-project"))
