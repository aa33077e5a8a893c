"""Upserting a launch queue, against the embedded server."""

from __future__ import annotations

import uuid

import pytest

from wandb_ops import steps

CONFIG = {"image": "{{image}}", "resources": {"gpu": 1}}
VARIABLES = {"image": {"schema": {"type": "string", "default": "base"}}}


@pytest.fixture
def name():
    return f"q-{uuid.uuid4().hex[:8]}"


def test_the_same_queue_twice_is_made_once_and_then_unchanged(api, name):
    wanted = {
        "name": name, "resource_type": "kubernetes", "resource_config": CONFIG,
        "template_variables": VARIABLES, "external_links": {"docs": "https://example.com/docs"},
    }  # fmt: skip
    assert steps.upsert_run_queue(api, **wanted).action == "created"
    again = steps.upsert_run_queue(api, **wanted)
    assert (again.action, again.changes) == ("unchanged", {})
    queue = api.run_queue(api.default_entity, name)
    assert queue.default_resource_config == {"resource_args": {"kubernetes": CONFIG}}  # W&B's own form
    assert queue.external_links == {"docs": "https://example.com/docs"}


def test_key_order_is_no_change_and_a_new_value_is_one(api, name):
    base = {"name": name, "resource_type": "kubernetes", "template_variables": VARIABLES}
    steps.upsert_run_queue(api, **base, resource_config=CONFIG)
    turned = {"resources": {"gpu": 1}, "image": "{{image}}"}
    assert steps.upsert_run_queue(api, **base, resource_config=turned).action == "unchanged"
    bigger = {**CONFIG, "resources": {"gpu": 8}}
    changed = steps.upsert_run_queue(api, **base, resource_config=bigger)
    assert changed.action == "changed"
    assert changed.changes == {"resource_config": {"before": CONFIG, "after": bigger}}


def test_what_is_left_out_is_kept(api, name):
    steps.upsert_run_queue(
        api, name=name, resource_type="kubernetes", resource_config=CONFIG, template_variables=VARIABLES,
        external_links={"docs": "https://example.com"}, prioritization_mode="V0",
    )  # fmt: skip
    steps.upsert_run_queue(api, name=name, resource_type="kubernetes", resource_config={**CONFIG, "x": 1})
    queue = api.run_queue(api.default_entity, name)
    assert queue.external_links == {"docs": "https://example.com"}
    assert queue.prioritization_mode == "V0"
    assert queue.template_variables == VARIABLES


@pytest.mark.parametrize(
    "wrong", [{"resource_type": "mainframe"}, {"name": ""}, {"name": "x" * 65}, {"prioritization_mode": "V9"}]
)
def test_arguments_that_wandb_refuses_are_refused_before_sending(api, name, wrong):
    with pytest.raises(ValueError):
        steps.upsert_run_queue(
            api, **{"name": name, "resource_type": "kubernetes", "resource_config": {}, **wrong}
        )
