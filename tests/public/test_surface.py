"""Every public member of the SDK's classes is here, with the same parameters and defaults.

What is left out or differs is named below, with the text by which docs/compatibility.md says so.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from sdk_surface import INTERNAL, PAIRS, function_of, pair, pydantics

import wandb_ops

pytestmark = pytest.mark.sdk

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"


def members(cls: type) -> set[str]:
    """Public names of a class, those included that its methods put on the instance."""
    names = (
        set(dir(cls))
        | set(getattr(cls, "__annotations__", {}))
        | set(getattr(cls, "__dataclass_fields__", {}))
    )
    for each in cls.__mro__:
        if each.__module__.startswith(("wandb_ops.", "wandb.")):
            names |= set(re.findall(r"self\.([a-z]\w*)\s*(?::[^=\n]+)?=[^=]", inspect.getsource(each)))
    return {name for name in names if not name.startswith("_")}


#: Members that are not here -> what the first cell of a row of the document says.
ABSENT = {
    "Artifact.add": "`add(obj, name)`",
    "Artifact.digest_algorithm": "`Artifact(...)`",
    "Artifact.distributed_id": "`Artifact(...)`",
    "Artifact.finalize": "`finalize()`",
    "Artifact.get": "`add(obj, name)`",
    "Artifact.get_added_local_path_name": "`finalize()`",
    "Artifact.incremental": "`Artifact(...)`",
    "Artifact.json_encode": "`finalize()`",
    "Artifact.use_as": "`Artifact(...)`",
    "ArtifactCollection.load": "`load(...)` of collections",
    "ArtifactCollection.project_internal_id": "`load(...)` of collections",
    "ArtifactManifestEntry.digest_algorithm": "pydantic's methods",
    "ArtifactManifestEntry.to_json": "pydantic's methods",
    "HTTPSummary.load": "`HTTPSummary.load`",
    "HTTPSummary.open_h5": "`HTTPSummary.load`",
    "HTTPSummary.read_h5": "`HTTPSummary.load`",
    "HTTPSummary.write_h5": "`HTTPSummary.load`",
    "RunQueue.create": "`RunQueue.create`",
}
#: Methods whose parameters differ -> what the first cell of a row of the document says.
DIFFERENT = {
    "Api.create_automation": "`create_automation(",
    "Api.runs": "`runs(path",
    "Artifact.save": "`save()`",
    "ArtifactManifestEntry.download": "`ArtifactManifestEntry.download`",
    "HTTPSummary.get": "`HTTPSummary`",
    "Sweep.get": "`Sweep.get(",
}
#: Another area's; it may offer more than is said here.
GROWING = {"Artifact", "ArtifactManifestEntry"}


def first_cells() -> str:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.split("|")[1].strip() for line in lines if line.startswith("| "))


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_no_public_member_is_missing(name: str) -> None:
    theirs, mine = pair(name)
    public = {each for each in dir(theirs) if not each.startswith("_")}
    missing = public - members(mine) - INTERNAL - pydantics(theirs)
    said = {each.partition(".")[2] for each in ABSENT if each.partition(".")[0] == name}
    assert missing <= said
    assert name in GROWING or said <= missing, "these are here now"


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Name, default and kind, without `*args` and `**kwargs`."""
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    listed = inspect.signature(function).parameters.values()
    return [(each.name, each.default, each.kind) for each in listed if each.kind not in variable]


def agree(theirs: Any, mine: Any) -> bool:
    """Whether every call of theirs is one of ours: what we have beyond theirs is last and optional."""
    wanted, found = parameters(theirs), parameters(mine)
    extra = found[len(wanted) :]
    return found[: len(wanted)] == wanted and all(
        default is not inspect.Parameter.empty for _, default, _ in extra
    )


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_parameters_have_the_same_names_and_defaults(name: str) -> None:
    theirs, mine = pair(name)
    differing = set()
    for each in sorted(set(dir(theirs)) - INTERNAL - pydantics(theirs)):
        one, other = function_of(theirs, each), function_of(mine, each)
        if each.startswith("_") or one is None or other is None:
            continue
        if not agree(one, other):
            differing.add(f"{name}.{each}")
    said = {each for each in DIFFERENT if each.partition(".")[0] == name}
    assert differing <= said
    assert name in GROWING or said <= differing, "these agree now"


def test_an_api_is_made_with_the_same_arguments() -> None:
    theirs, mine = pair("Api")
    assert parameters(mine.__init__) == parameters(theirs.__init__)


def test_what_differs_is_written_down() -> None:
    cells = first_cells()
    for member, text in {**ABSENT, **DIFFERENT}.items():
        name, _, attribute = member.partition(".")
        if name in GROWING and attribute in members(pair(name)[1]):
            continue
        assert text in cells, f"{member}: no row begins with {text}"
    for internal in INTERNAL - {"length"}:
        assert internal in DOCUMENT.read_text(encoding="utf-8")


def test_a_property_of_theirs_is_no_method_of_ours() -> None:
    wrong = []
    for name in PAIRS:
        theirs, mine = pair(name)
        for each in set(dir(theirs)) - INTERNAL - pydantics(theirs):
            if each.startswith("_") or not hasattr(mine, each):
                continue
            if (function_of(theirs, each) is None) != (function_of(mine, each) is None):
                wrong.append(f"{name}.{each}")
    assert wrong == []


def test_every_event_and_action_of_the_sdk_can_be_made() -> None:
    """compatibility: Automations."""
    from typing import get_args

    from wandb.automations import actions, events

    from wandb_ops.public.automations.actions import AutomationAction
    from wandb_ops.public.automations.events import AutomationEvent, AutomationScope

    where = AutomationScope("id", "name", "ARTIFACT_COLLECTION")
    project = AutomationScope("id", "name", "PROJECT")
    made = {
        AutomationAction.notification("i").action_type,
        AutomationAction.webhook("i").action_type,
        AutomationAction.no_op().action_type,
        AutomationAction.aria("p").action_type,
    }

    def kinds(union: Any, field: str) -> set[str]:
        models = get_args(get_args(union)[0])
        return {
            str(kind.value) for model in models for kind in get_args(model.model_fields[field].annotation)
        }

    assert kinds(actions.InputAction, "action_type") == made
    names = kinds(events.InputEvent, "event_type")
    ours_made = {AutomationEvent.run_state(project, "failed").event_type}
    for event in names - {"RUN_METRIC", "RUN_METRIC_CHANGE", "RUN_METRIC_ZSCORE", "RUN_STATE"}:
        ours_made.add(AutomationEvent.artifact(where, event).event_type)
    ours_made.add(AutomationEvent.run_metric(project, "m", ">", 1).event_type)
    ours_made.add(AutomationEvent.run_metric_change(project, "m", 1).event_type)
    ours_made.add(AutomationEvent.run_metric_zscore(project, "m").event_type)
    assert names <= ours_made


def test_the_package_offers_what_examples_take_from_it() -> None:
    for name in ("Api", "Artifact", "Histogram", "Error", "CommError", "errors"):
        assert hasattr(wandb_ops, name)
