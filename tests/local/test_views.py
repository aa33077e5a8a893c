"""Reports by the protocol: made, changed, listed in pages, found by id, removed."""

from __future__ import annotations

import json
from typing import Any

UPSERT = """mutation U($input: UpsertViewInput!) { upsertView(input: $input) { inserted view {
  id name displayName description type spec createdAt updatedAt projectName entityName
  user { username photoUrl email } project { name } } } }"""
LIST = """query L($p: String!, $t: String, $n: String, $a: String) { project(name: $p) {
  allViews(viewType: $t, viewName: $n, first: 2, after: $a) {
    edges { cursor node { id displayName } } pageInfo { endCursor hasNextPage } } } }"""
VIEW = "query V($id: ID!) { view(id: $id) { displayName spec } }"
DELETE = "mutation D($id: ID!) { deleteView(input: {id: $id}) { success } }"


def make(bare: Any, project: str, title: str, **given: Any) -> Any:
    bare.data("mutation M($n: String!) { upsertModel(input: {name: $n}) { inserted } }", n=project)
    values = {"projectName": project, "displayName": title, "type": "runs", **given}
    return bare.data(UPSERT, input=values)["upsertView"]


def test_a_report_is_made_and_changed_by_its_id(bare: Any, project: str) -> None:
    spec = json.dumps({"panelGroups": []})
    made = make(bare, project, "Title", description="d", spec=spec, createdUsing="WANDB_SDK")
    view = made["view"]
    assert made["inserted"]
    assert (view["displayName"], view["description"], view["spec"]) == ("Title", "d", spec)
    assert (view["user"]["username"], view["project"]["name"]) == (bare.server.entity, project)
    assert view["id"].startswith("Vmlldzo")  # so clients know the ids in addresses
    changed = bare.data(UPSERT, input={"id": view["id"], "displayName": "New"})["upsertView"]
    assert not changed["inserted"]
    assert (changed["view"]["displayName"], changed["view"]["spec"]) == ("New", spec)
    assert bare.data(VIEW, id=view["id"].rstrip("="))["view"] == {"displayName": "New", "spec": spec}
    assert bare.data(DELETE, id=view["id"]) == {"deleteView": {"success": True}}
    assert bare.data(VIEW, id=view["id"])["view"] is None


def test_views_are_listed_by_type_and_name_in_pages(bare: Any, project: str) -> None:
    for number in range(5):
        make(bare, project, f"report {number}")
    make(bare, project, "a draft", type="runs/draft")
    found, after = [], None
    while True:
        page = bare.data(LIST, p=project, t="runs", a=after)["project"]["allViews"]
        found += [edge["node"]["displayName"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert found == [f"report {number}" for number in range(5)]
    one = bare.data(LIST, p=project, t="runs", n="report 3")["project"]["allViews"]["edges"]
    assert [edge["node"]["displayName"] for edge in one] == ["report 3"]


def test_what_is_no_report_is_refused(bare: Any, project: str) -> None:
    make(bare, project, "x")
    assert "JSON" in bare.errors(UPSERT, input={"projectName": project, "spec": "{"})[0]
    assert "not found" in bare.errors(UPSERT, input={"projectName": "nowhere", "displayName": "x"})[0]
    assert bare.errors(VIEW, id="bogus!") == ["invalid View id"]
