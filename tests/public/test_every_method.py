"""Every method and property of W&B's public API: the real SDK's beside ours, on one server, by their values.

`CASES` says for each member how it is called; the call is the same on both sides. Where ours differs on
purpose, the case names the row of docs/compatibility.md and both outcomes. A test below holds the table
against the SDK's classes: what has no case is an error.
"""

from __future__ import annotations

import contextlib
import json
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crew_world import SWEEP, SWEEP_CONFIG, VARIABLES, World
from sdk_surface import INTERNAL, PAIRS, pair, pydantics

import wandb_ops

pytestmark = pytest.mark.sdk

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

#: The SDK needs it said, although its own signature does not.
QUEUE_PROJECT = "model-registry"


@dataclass
class Side:
    """One of the two: its Api, a name for what it makes, and a folder."""

    ours: bool
    tag: str
    world: World
    folder: Path
    kept: dict[str, Any] = field(default_factory=dict)

    def as_user(self, name: str, **overrides: str) -> Any:
        known = self.kept.setdefault("apis", {})
        key = (name, *sorted(overrides.items()))
        if key not in known:
            make = self.world.company.ours if self.ours else self.world.company.theirs
            known[key] = make(name, **overrides)
        return known[key]

    @property
    def api(self) -> Any:
        return self.as_user("ann", entity="crew", project="work")

    def fresh(self) -> Any:
        """An Api that has kept nothing: the SDK's flush leaves reports where they are."""
        self.kept.pop("apis")
        return self.api

    @property
    def run(self) -> Any:
        return self.api.run("crew/work/a0")

    @property
    def weights(self) -> Any:
        return self.api.artifact("crew/work/weights:v1")

    def new_run(self, name: str, **more: Any) -> Any:
        """A run of the side's own, in project made."""
        self.world.writer.run("made", f"{self.tag}-{name}", **more)
        return self.api.run(f"crew/made/{self.tag}-{name}")

    def new_version(self, name: str) -> Any:
        """An artifact of the side's own, logged by ours."""
        run = self.world.company.ours("ann").create_run(entity="crew", project="made")
        artifact = wandb_ops.Artifact(f"{self.tag}-{name}", "model", metadata={"n": 1})
        artifact.add_bytes(b"content", "f.txt")
        run.log_artifact(artifact)
        return self.api.artifact(f"crew/made/{self.tag}-{name}:v0")

    def draft(self, name: str) -> Any:
        if self.ours:
            return wandb_ops.Artifact(name, "model")
        import wandb

        return wandb.Artifact(name, "model")

    @property
    def sdk_error(self) -> type[Exception]:
        import wandb

        return wandb.CommError

    @property
    def neutral(self) -> Any:
        """Ours, without any state, to look at what either side did."""
        return self.world.company.ours("ann", entity="crew")


def shown(value: Any, side: Side) -> Any:
    """Comparable: tags as SIDE, NaN as text, objects by their repr."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, np.generic):
        return shown(value.item(), side)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Path):
        return shown(str(value.relative_to(side.folder)) if value.is_absolute() else str(value), side)
    if isinstance(value, Enum):
        return shown(value.value, side)
    if isinstance(value, str):
        return str(value).replace(str(side.folder), "FOLDER").replace(side.tag, "SIDE")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {shown(key, side): shown(item, side) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(item, side) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(shown(item, side) for item in value)
    if callable(getattr(value, "model_dump", None)):
        return shown(value.model_dump(), side)
    return shown(repr(value), side)


def of(found: Any, *names: str) -> list[Any]:
    """Some attributes of an object."""
    return [getattr(found, name) for name in names]


def outcome(call: Callable[[Any], Any], side: Side, given: Any = None) -> Any:
    """What the call gives, or the error's kind where it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return shown(call(side if given is None else given), side)
    except ValueError:
        return "ValueError"
    except Exception as error:  # the SDK's have no base in common with ours
        return type(error).__name__


@dataclass
class Case:
    """How a member is called on both sides.

    `row`, `theirs`, `ours`: where it differs on purpose, the text of the document's row and both outcomes;
    None takes any outcome.
    """

    call: Callable[[Side], Any]
    row: str = ""
    theirs: Any = None
    ours: Any = None


def texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def drop(mapping: Any, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in dict(mapping).items() if key not in keys}


# -- Api ---------------------------------------------------------------------------------------------------


def create_run(s: Side) -> Any:
    made = s.api.create_run(run_id=f"{s.tag}-created", project="made", entity="crew")
    again = s.neutral.run(f"crew/made/{s.tag}-created")
    return of(made, "id", "project", "entity", "state"), again.state


def create_project(s: Side) -> Any:
    results = [s.api.create_project(f"{s.tag}-project", "crew") for _ in range(2)]
    return results, s.neutral.project(f"{s.tag}-project", "crew").name


def queue_of(s: Side, name: str) -> Any:
    found = s.neutral.run_queue("crew", f"{s.tag}-{name}")
    return of(
        found,
        "name",
        "type",
        "access",
        "prioritization_mode",
        "default_resource_config",
        "template_variables",
    )


def create_run_queue(s: Side) -> Any:
    made = s.api.create_run_queue(f"{s.tag}-created", "kubernetes", "crew", "V0", {"b": 1}, VARIABLES)
    return of(made, "name", "type", "entity"), queue_of(s, "created")


def upsert_run_queue(s: Side) -> Any:
    for number in range(2):
        made = s.api.upsert_run_queue(
            name=f"{s.tag}-upserted",
            resource_config={"b": number},
            resource_type="kubernetes",
            entity="crew",
            template_variables=VARIABLES,
            external_links={"docs": "https://docs.example"},
            prioritization_mode="V0",
        )
    return of(made, "name", "type", "entity"), queue_of(s, "upserted")


def from_path(s: Side) -> Any:
    report = s.world.report.rstrip("=")
    paths = ("work", "crew/work", "crew/work/a0", "crew/work/runs/a0", f"crew/work/sweeps/{s.world.sweep}")
    found = [s.api.from_path(path) for path in paths]
    other = s.api.from_path(f"crew/work/reports/Shown--{report}")
    return found, type(other).__name__, other.display_name


def registries(s: Side) -> Any:
    every = s.api.registries("Acme")
    return (
        [each.name for each in every],
        [each.name for each in s.api.registries("Acme", filter={"name": {"$regex": "model"}})],
        [each.name for each in s.api.registries("Acme").collections(filter={"name": "classifier"})],
        [each.name for each in s.api.registries("Acme").collections().versions(filter={"alias": "prod"})],
        [
            each.name
            for each in s.api.registries("Acme").versions(filter={"$or": [{"tag": "x"}, {"alias": "prod"}]})
        ],
    )


def create_registry(s: Side) -> Any:
    made = s.api.create_registry(f"{s.tag}-made", "organization", "Acme", "about", ["model"])
    try:
        return of(made, "name", "full_name", "description", "visibility", "allow_all_artifact_types"), list(
            made.artifact_types
        )
    finally:
        made.delete()


def new_automation(s: Side, name: str, action: str = "nothing") -> Any:
    api = s.api
    if s.ours:
        event = wandb_ops.AutomationEvent.run_state(api.project("work", "crew"), "failed")
        return api.create_automation(
            wandb_ops.NewAutomation(event, wandb_ops.AutomationAction.no_op()), name=f"{s.tag}-{name}"
        )
    from wandb.automations import DoNothing, OnRunState, RunEvent

    scope = api.project("work", "crew")
    return api.create_automation(
        OnRunState(scope=scope, filter=RunEvent.state == "failed") >> DoNothing(), name=f"{s.tag}-{name}"
    )


def automation_of(found: Any) -> Any:
    event = found.event.event_type
    return [
        *of(found, "id", "name", "description", "enabled"),
        getattr(event, "value", event),
        found.scope.id,
        getattr(found.action.action_type, "value", found.action.action_type),
    ]


def create_automation(s: Side) -> Any:
    made = new_automation(s, "created")
    found = s.neutral.automation(f"{s.tag}-created", entity="crew")
    s.neutral.delete_automation(found)
    return automation_of(made)[1:], automation_of(found)[1:]


def update_automation(s: Side) -> Any:
    made = new_automation(s, "updated")
    changed = s.api.update_automation(made, enabled=False, description="off")
    found = s.neutral.automation(f"{s.tag}-updated", entity="crew")
    s.neutral.delete_automation(found)
    return automation_of(changed)[1:], automation_of(found)[1:]


def delete_automation(s: Side) -> Any:
    made = new_automation(s, "deleted")
    done = s.api.delete_automation(made)
    return done, [each.name for each in s.neutral.automations("crew") if s.tag in each.name]


def sync_tensorboard(s: Side) -> Any:
    folder = s.folder / "logs"
    folder.mkdir()
    (folder / "events.out.tfevents.1.host").write_bytes(b"")
    return s.api.sync_tensorboard(str(folder), f"{s.tag}-board", "made", "crew")


def flush(s: Side) -> Any:
    before = s.api.run("crew/work/a0").name
    return s.api.flush(), s.api.run("crew/work/a0").name == before


def deprecated(call: Callable[[], Any]) -> Any:
    with pytest.warns(match="deprecated"):
        return call()


API_CASES = {
    "artifact": Case(lambda s: of(s.api.artifact("weights:best", type="model"), "id", "name", "aliases")),
    "artifact_collection": Case(
        lambda s: of(s.api.artifact_collection("model", "weights"), "id", "name", "type")
    ),
    "artifact_collection_exists": Case(
        lambda s: [s.api.artifact_collection_exists(name, "model") for name in ("weights", "crew/work/none")]
    ),
    "artifact_collections": Case(
        lambda s: [each.name for each in s.api.artifact_collections("crew/work", "model", per_page=1)]
    ),
    "artifact_exists": Case(
        lambda s: [s.api.artifact_exists(name) for name in ("weights:v1", "weights:v9", "none:v0")]
    ),
    "artifact_type": Case(lambda s: of(s.api.artifact_type("model", "crew/work"), "id", "name")),
    "artifact_types": Case(lambda s: [each.name for each in s.api.artifact_types("crew/work")]),
    "artifact_versions": Case(
        lambda s: [each.name for each in s.api.artifact_versions("model", "weights", 2)]
    ),
    "artifacts": Case(
        lambda s: [
            [each.name for each in s.api.artifacts("model", "weights", **more)]
            for more in ({}, {"per_page": 1}, {"tags": ["t1"]}, {"tags": ["all", "t2"]}, {"tags": "t0"})
        ]
    ),
    "automation": Case(lambda s: automation_of(s.api.automation("watch", entity="crew"))),
    "automations": Case(lambda s: [automation_of(each) for each in s.api.automations("crew", name="watch")]),
    "create_automation": Case(create_automation),
    "create_custom_chart": Case(
        lambda s: [
            s.api.create_custom_chart("crew", f"{s.tag}-{kind}", "Mine", "vega2", kind, spec)
            for kind, spec in (("private", {"mark": "bar"}), ("public", '{"mark": "line"}'))
        ]
    ),
    "create_project": Case(create_project),
    "create_registry": Case(create_registry),
    "create_run": Case(create_run),
    "create_run_queue": Case(create_run_queue),
    "create_team": Case(lambda s: of(s.api.create_team(f"{s.tag}-team"), "name")),
    "create_user": Case(
        lambda s: of(
            s.as_user("root").create_user(f"{s.tag}@example.org", admin=True), "username", "email", "admin"
        )
    ),
    "default_entity": Case(lambda s: s.as_user("ann").default_entity),
    "delete_automation": Case(delete_automation),
    "flush": Case(flush),
    "from_path": Case(from_path),
    "integrations": Case(lambda s: [each.id for each in s.api.integrations("crew", per_page=1)]),
    "job": Case(lambda s: of(s.api.job("crew/work/train:v0", path=str(s.folder / "job")), "name")),
    "list_jobs": Case(lambda s: s.api.list_jobs("crew", "work")),
    "organization": Case(
        lambda s: (
            of(s.api.organization("Acme"), "id", "name")
            + of(s.api.organization("Acme").org_entity, "id", "name", "entity_type")
        )
    ),
    "project": Case(lambda s: of(s.api.project("work", "crew"), "id", "name", "entity", "url")),
    "projects": Case(
        lambda s: [each.name for each in s.api.projects("crew", per_page=1) if each.name in {"work", "made"}]
    ),
    "queued_run": Case(
        lambda s: of(
            s.api.queued_run("crew", "work", "q", s.world.item, QUEUE_PROJECT), "id", "state", "queue_name"
        )
    ),
    "registries": Case(registries),
    "registry": Case(lambda s: of(s.api.registry("model", "Acme"), "id", "name", "description")),
    "reports": Case(
        lambda s: [[each.id for each in s.api.reports("crew/work", name)] for name in (None, "Shown", "none")]
    ),
    "run": Case(lambda s: [s.api.run(path) for path in ("crew/work/a0", "work/a0", "a0", "crew/work:a0")]),
    "run_queue": Case(lambda s: of(s.api.run_queue("crew", "q"), "id", "name", "type", "access")),
    "runs": Case(
        lambda s: [
            [run.id for run in s.api.runs("crew/work", **more)]
            for more in (
                {},
                {"filters": {"config.lr": {"$lt": 0.5}}},
                {"filters": {"$or": [{"display_name": "name 0"}, {"state": "failed"}]}},
                {"filters": {"display_name": {"$regex": "^name [01]"}}, "order": "-created_at"},
                {"filters": {"tags": {"$in": ["t2"]}}},
                {"order": "+summary_metrics.loss", "per_page": 2},
                {"order": "-config.lr.value", "include_sweeps": True},
                {"lazy": True},
            )
        ]
    ),
    "slack_integrations": Case(
        lambda s: [
            of(each, "id", "team_name", "channel_name") for each in s.api.slack_integrations(entity="crew")
        ]
    ),
    "sweep": Case(lambda s: of(s.api.sweep(f"crew/work/{s.world.sweep}"), "id", "config", "state")),
    "sync_tensorboard": Case(
        sync_tensorboard,
        "`sync_tensorboard(",
        theirs="ModuleNotFoundError",
        ours="<Run crew/made/SIDE-board (finished)>",
    ),
    "team": Case(lambda s: [each.username for each in s.api.team("crew").members]),
    "update_automation": Case(update_automation),
    "upsert_run_queue": Case(upsert_run_queue),
    "user": Case(lambda s: [s.as_user("root").user("ann").email, s.as_user("root").user("nobody at all")]),
    "user_agent": Case(lambda s: s.api.user_agent.split("/")[0], "`user_agent`", ours="wandb-ops"),
    "users": Case(lambda s: [each.username for each in s.as_user("root").users("ann")]),
    "viewer": Case(lambda s: of(s.as_user("ann").viewer, "username", "email", "admin", "entity")),
    "webhook_integrations": Case(
        lambda s: [of(each, "id", "name", "url_endpoint") for each in s.api.webhook_integrations("crew")]
    ),
}


# -- runs --------------------------------------------------------------------------------------------------


def saved(s: Side, save: str) -> Any:
    run = s.new_run(save, config={"a": 1, "b": {"c": 2}}, summary={"x": 1})
    run.config["key"] = 10
    run.summary["accuracy"] = 0.9
    run.name, run.tags = "renamed", ["x", "y"]
    getattr(run, save)()
    found = s.neutral.run(f"crew/made/{s.tag}-{save}")
    return found.config, dict(found.summary), found.name, sorted(found.tags)


def delete_run(s: Side) -> Any:
    run = s.new_run("deleted")
    run.delete()
    with pytest.raises(wandb_ops.NotFoundError):
        s.neutral.run(f"crew/made/{s.tag}-deleted")
    return "gone"


def created(s: Side) -> Any:
    kind = type(s.run)
    made = kind.create(s.api, run_id=f"{s.tag}-pending", project="made", entity="crew", state="pending")
    return made.id, made.state, s.neutral.run(f"crew/made/{s.tag}-pending").state


def log_artifact(s: Side) -> Any:
    version = s.new_version("relogged")
    run = s.new_run("relogs")
    run.log_artifact(version)
    return [each.name for each in s.neutral.run(f"crew/made/{s.tag}-relogs").logged_artifacts()]


def use_artifact(s: Side) -> Any:
    run = s.new_run("uses")
    used = run.use_artifact(s.weights)
    return used.name, [each.name for each in s.neutral.run(f"crew/made/{s.tag}-uses").used_artifacts()]


def update_state(s: Side) -> Any:
    run = s.new_run("state")
    return run.update_state("failed"), s.neutral.run(f"crew/made/{s.tag}-state").state


def upload_file(s: Side) -> Any:
    (s.folder / "up").mkdir()
    (s.folder / "up" / "mine.txt").write_text("mine\n")
    s.new_run("uploads").upload_file(str(s.folder / "up" / "mine.txt"), root=str(s.folder))
    return [of(each, "name", "size") for each in s.neutral.run(f"crew/made/{s.tag}-uploads").files()]


def delete_file(s: Side) -> Any:
    run = s.new_run("files")
    (s.folder / "gone.txt").write_text("x")
    run.upload_file(str(s.folder / "gone.txt"), root=str(s.folder))
    run.file("gone.txt").delete()
    return [each.name for each in s.neutral.run(f"crew/made/{s.tag}-files").files()]


def download_file(s: Side) -> Any:
    with s.run.file("a.txt").download(root=str(s.folder / "down")) as handle:
        content = handle.read()
    with pytest.raises((wandb_ops.UsageError, s.sdk_error)):
        s.run.file("a.txt").download(root=str(s.folder / "down"))
    s.run.file("a.txt").download(root=str(s.folder / "down"), exist_ok=True).close()
    return content, texts(s.folder / "down")


def summary_update(s: Side) -> Any:
    run = s.new_run("summary", summary={"x": 1, "deep": {"y": 2}})
    run.summary.update({"z": 3})
    run.summary["deep"]["y"] = 4
    run.summary.update()
    return s.neutral.run(f"crew/made/{s.tag}-summary").summary_metrics


def histories(s: Side) -> Any:
    runs = s.api.runs("crew/work", filters={"display_name": {"$in": ["name 0", "name 1"]}})
    frame = runs.histories(samples=10, keys=["loss"], format="pandas")
    return sorted(map(str, frame.to_dict("records")))


def upgraded(s: Side) -> Any:
    runs = s.api.runs("crew/work", lazy=True)
    first = runs[0]
    runs.upgrade_to_full()
    return first.config, [run.config for run in runs]


RUN_CASES = {
    "beta_scan_history": Case(lambda s: [row["loss"] for row in s.run.beta_scan_history(keys=["loss"])]),
    "console_logs": Case(lambda s: [of(each, "number", "content", "level") for each in s.run.console_logs()]),
    "create": Case(created),
    "delete": Case(delete_run),
    "display": Case(lambda s: s.run.display()),
    "download_history_exports": Case(
        lambda s: s.run.download_history_exports(s.folder / "exports"),
        "`download_history_exports(",
        theirs=None,
        ours="IncompleteRunHistoryError",
    ),
    "file": Case(lambda s: of(s.run.file("a.txt"), "name", "size", "md5", "mimetype")),
    "files": Case(
        lambda s: [
            [each.name for each in s.run.files(**more)]
            for more in ({}, {"names": ["a.txt"]}, {"pattern": "%.txt"}, {"per_page": 1})
        ]
    ),
    "history": Case(
        lambda s: [
            s.run.history(pandas=False),
            s.run.history(pandas=False, keys=["loss"], x_axis="_timestamp"),
            s.run.history(pandas=False, stream="events"),
            s.run.history().to_dict("records"),
        ]
    ),
    "load": Case(lambda s: [s.run.id, s.run.load(force=True)["displayName"]]),
    "load_full_data": Case(
        lambda s: [run.load_full_data() and run.config for run in s.api.runs("crew/work")]
    ),
    "log_artifact": Case(log_artifact),
    "logged_artifacts": Case(lambda s: [each.name for each in s.run.logged_artifacts(per_page=2)]),
    "save": Case(lambda s: saved(s, "save")),
    "scan_history": Case(
        lambda s: [
            list(s.run.scan_history(**more))
            for more in ({}, {"page_size": 2}, {"min_step": 1, "max_step": 3}, {"keys": ["loss"]})
        ]
    ),
    "stop": Case(lambda s: s.new_run("stopped").stop() and None),
    "to_html": Case(lambda s: page_of(s.run)),
    "update": Case(lambda s: saved(s, "update")),
    "update_state": Case(update_state),
    "upload_file": Case(upload_file),
    "use_artifact": Case(use_artifact),
    "used_artifacts": Case(lambda s: [each.name for each in s.api.run("crew/work/a1").used_artifacts()]),
    "wait_until_finished": Case(lambda s: (s.run.wait_until_finished(), s.run.state)),
}


# -- artifacts ---------------------------------------------------------------------------------------------


def built(s: Side, fill: Callable[[Any], Any]) -> Any:
    artifact = s.draft("built")
    (s.folder / "in").mkdir()
    (s.folder / "in" / "one.txt").write_text("1")
    (s.folder / "in" / "two.txt").write_text("2")
    fill(artifact)
    return artifact.digest, sorted(artifact.manifest.entries), artifact.size


def new_file(artifact: Any) -> None:
    with artifact.new_file("made.txt") as handle:
        handle.write("text")


def edited(s: Side) -> Any:
    version = s.new_version("edited")
    version.description, version.metadata = "new", {"m": 1}
    version.tags.append("tag")
    version.aliases.append("mine")
    version.save()
    found = s.neutral.artifact(f"crew/made/{s.tag}-edited:v0")
    return found.description, found.metadata, sorted(found.tags), sorted(found.aliases)


def deleted(s: Side) -> Any:
    version = s.new_version("deleted")
    version.delete(delete_aliases=True)
    return s.neutral.artifact_exists(f"crew/made/{s.tag}-deleted:v0")


def downloaded(s: Side) -> Any:
    where = s.weights.download(root=str(s.folder / "out"))
    part = s.weights.download(root=str(s.folder / "part"), path_prefix="deep")
    return str(where), str(part), texts(s.folder / "out"), texts(s.folder / "part")


def checked_out(s: Side) -> Any:
    (s.folder / "out").mkdir()
    (s.folder / "out" / "stale").write_text("x")
    return str(s.weights.checkout(root=str(s.folder / "out"))), texts(s.folder / "out")


def one_file(s: Side) -> Any:
    version = s.new_version("single")
    return Path(str(version.file(root=str(s.folder / "single")))).read_text()


def linked(s: Side) -> Any:
    version = s.new_version("linked")
    link = version.link(f"Acme-org/wandb-registry-model/{s.tag}-linked", aliases=["prod"])
    there = s.neutral.artifact(f"Acme-org/wandb-registry-model/{s.tag}-linked:prod")
    return link.qualified_name, link.is_link, there.source_qualified_name


def unlinked(s: Side) -> Any:
    version = s.new_version("unlinked")
    link = version.link(f"Acme-org/wandb-registry-model/{s.tag}-unlinked")
    link.unlink()
    return s.neutral.artifact_exists(f"Acme-org/wandb-registry-model/{s.tag}-unlinked:v0")


def verified(s: Side) -> Any:
    s.weights.download(root=str(s.folder / "out"))
    good = s.weights.verify(root=str(s.folder / "out"))
    (s.folder / "out" / "same.txt").write_text("other")
    with pytest.raises(ValueError, match=r"."):
        s.weights.verify(root=str(s.folder / "out"))
    return good


def removed(artifact: Any) -> None:
    new_file(artifact)
    artifact.remove("made.txt")


def from_draft(s: Side) -> Any:
    draft = s.weights.new_draft()
    return draft.is_draft(), sorted(draft.manifest.entries), draft.metadata


def entry_of(s: Side) -> Any:
    return s.weights.get_entry("deep/w.bin")


ARTIFACT_CASES = {
    "add_dir": Case(lambda s: built(s, lambda a: a.add_dir(str(s.folder / "in"), name="sub"))),
    "add_file": Case(
        lambda s: built(s, lambda a: a.add_file(str(s.folder / "in" / "one.txt"), name="n.txt"))
    ),
    "add_reference": Case(
        lambda s: built(s, lambda a: a.add_reference("s3://bucket/key", name="ref", checksum=False))
    ),
    "checkout": Case(checked_out),
    "delete": Case(deleted),
    "download": Case(downloaded),
    "file": Case(one_file),
    "files": Case(
        lambda s: [sorted(each.name for each in s.weights.files(names)) for names in (None, ["same.txt"])]
    ),
    "get_entry": Case(lambda s: of(entry_of(s), "path", "size", "digest")),
    "get_path": Case(lambda s: of(s.weights.get_path("same.txt"), "path", "size", "digest")),
    "is_draft": Case(lambda s: (s.weights.is_draft(), s.draft("new").is_draft())),
    "link": Case(linked),
    "logged_by": Case(lambda s: s.weights.logged_by()),
    "new_draft": Case(from_draft),
    "new_file": Case(lambda s: built(s, new_file)),
    "remove": Case(lambda s: built(s, removed)),
    "save": Case(edited),
    "unlink": Case(unlinked),
    "used_by": Case(lambda s: s.api.artifact("weights:v2").used_by()),
    "verify": Case(verified),
    "wait": Case(lambda s: s.weights.wait().name),
}


def collection_of(s: Side, name: str) -> Any:
    s.new_version(name)
    return s.api.artifact_collection("model", f"crew/made/{s.tag}-{name}")


def saved_collection(s: Side) -> Any:
    kind = collection_of(s, "collection")
    kind.description, kind.tags = "about", ["kept"]
    kind.save()
    found = s.neutral.artifact_collection("model", f"crew/made/{s.tag}-collection")
    return found.description, list(found.tags)


def changed_type(s: Side) -> Any:
    collection_of(s, "retyped").change_type("other")
    return s.neutral.artifact_collection("other", f"crew/made/{s.tag}-retyped").type


def deleted_collection(s: Side) -> Any:
    collection_of(s, "gone").delete()
    return s.neutral.artifact_collection_exists(f"crew/made/{s.tag}-gone", "model")


# -- accounts ----------------------------------------------------------------------------------------------


def new_team(s: Side, name: str) -> Any:
    return s.api.create_team(f"{s.tag}-{name}")


def invited(s: Side) -> Any:
    team = new_team(s, "invites")
    results = [team.invite("bob"), team.invite("new@example.org", admin=True), team.invite("bob")]
    return results, [of(each, "email", "pending") for each in s.neutral.team(f"{s.tag}-invites").members]


def service_account(s: Side) -> Any:
    made = new_team(s, "serves").create_service_account("robot")
    return of(made, "name", "account_type")


def member_deleted(s: Side) -> Any:
    team = new_team(s, "shrinks")
    team.invite("bob")
    team.load(force=True)
    done = team.members[-1].delete()
    return done, [each.username for each in s.neutral.team(f"{s.tag}-shrinks").members]


def key_made(s: Side) -> Any:
    user = s.as_user("cid").viewer
    key = user.generate_api_key(f"{s.tag} key")
    return len(key)


def registry_made(s: Side, name: str) -> Any:
    return s.api.create_registry(f"{s.tag}-{name}", "organization", "Acme")


@contextlib.contextmanager
def registry_of(s: Side, name: str) -> Iterator[Any]:
    made = registry_made(s, name)
    try:
        yield made
    finally:
        s.neutral.registry(made.name, "Acme").delete()


def roles(registry: Any) -> list[Any]:
    return [
        [
            getattr(each, "user", None) and each.user.username,
            getattr(each, "team", None) and each.team.name,
            str(getattr(each.role, "value", each.role)),
        ]
        for each in registry.members()
    ]


def members_case(change: Callable[[Side, Any], Any]) -> Callable[[Side], Any]:
    def call(s: Side) -> Any:
        with registry_of(s, "members") as registry:
            registry.add_members(s.api.team("crew"), s.as_user("root").user("bob"))
            returned = change(s, registry)
            return returned is registry, roles(s.neutral.registry(f"{s.tag}-members", "Acme"))

    return call


def registry_saved(s: Side) -> Any:
    with registry_of(s, "saved") as registry:
        registry.description = "new"
        registry.save()
        registry.load()
        return registry.description, s.neutral.registry(f"{s.tag}-saved", "Acme").description


def registry_deleted(s: Side) -> Any:
    registry_made(s, "deleted").delete()
    return [each.name for each in s.neutral.registries("Acme") if s.tag in each.name]


def registry_created(s: Side) -> Any:
    kind = type(s.api.registry("model", "Acme"))
    made = kind.create(s.api, "Acme", f"{s.tag}-created", "organization", "about")
    made.delete()
    return of(made, "name", "description", "visibility")


# -- launch and sweeps -------------------------------------------------------------------------------------


def queue_deleted(s: Side) -> Any:
    s.neutral.create_run_queue(f"{s.tag}-deleted", "kubernetes")
    s.api.run_queue("crew", f"{s.tag}-deleted").delete()
    with pytest.raises(wandb_ops.NotFoundError):
        _ = s.neutral.run_queue("crew", f"{s.tag}-deleted").id
    return "gone"


def item_of(s: Side, name: str, start: str | None = None) -> Any:
    s.neutral.create_run_queue(f"{s.tag}-{name}", "kubernetes")
    item = s.world.push(f"{s.tag}-{name}", start=start)
    return s.api.queued_run("crew", "work", f"{s.tag}-{name}", item, QUEUE_PROJECT)


def item_deleted(s: Side) -> Any:
    item_of(s, "items").delete()
    return [each.state for each in s.neutral.run_queue("crew", f"{s.tag}-items").items]


def called(s: Side) -> Any:
    s.neutral.create_run_queue(f"{s.tag}-calls", "kubernetes")
    job = s.api.job("crew/work/train:v0", path=str(s.folder / "job"))
    queued = job.call(
        {"lr": 0.1}, project="work", entity="crew", queue=f"{s.tag}-calls", resource="kubernetes",
        project_queue=QUEUE_PROJECT,
    )  # fmt: skip
    return of(queued, "state", "entity", "project", "queue_name")


def entrypoint_set(s: Side) -> Any:
    job = s.api.job("crew/work/train:v0", path=str(s.folder / "job"))
    return job.set_entrypoint(["python", "other.py"])


def sweep_of(s: Side) -> Any:
    return s.api.sweep(f"crew/work/{s.world.sweep}")


def own_sweep(s: Side) -> Any:
    made = s.world.ask(SWEEP, projectName="made", entityName="crew", config=json.dumps(SWEEP_CONFIG))
    return s.api.sweep(f"crew/made/{made['upsertSweep']['sweep']['name']}")


def report_runs(s: Side) -> Any:
    report = s.api.reports("crew/work")[0]
    return [run.id for run in report.runs(report.sections[0])]


def page_of(found: Any) -> Any:
    """What a notebook would show: the address, and whether a button opens it."""
    text = found.to_html(100, hidden=True)
    return (
        re.findall(r"https?://[^'\"]+", text),
        "height:100px" in text,
        "display:none" in text,
        "<button" in text,
    )


def enqueued(s: Side) -> Any:
    return len(own_sweep(s).enqueue_run({"lr": {"value": 0.5}}, display_name="mine"))


OTHER_CASES = {
    "Agent.display": Case(lambda s: sweep_of(s).agents()[0].display()),
    "Agent.runs": Case(lambda s: [run.id for run in sweep_of(s).agent(s.world.agent).runs()]),
    "Agent.to_html": Case(lambda s: sweep_of(s).agents()[0].to_html()),
    "ArtifactCollection.artifacts": Case(
        lambda s: [each.name for each in s.api.artifact_collection("model", "weights").artifacts()]
    ),
    "ArtifactCollection.change_type": Case(changed_type),
    "ArtifactCollection.delete": Case(deleted_collection),
    "ArtifactCollection.is_sequence": Case(
        lambda s: s.api.artifact_collection("model", "weights").is_sequence()
    ),
    "ArtifactCollection.save": Case(saved_collection),
    "ArtifactManifestEntry.download": Case(
        lambda s: (
            Path(str(entry_of(s).download(root=str(s.folder / "e")))).read_text(),
            texts(s.folder / "e"),
        )
    ),
    "ArtifactManifestEntry.parent_artifact": Case(lambda s: entry_of(s).parent_artifact().name),
    "ArtifactManifestEntry.ref_target": Case(lambda s: entry_of(s).ref_target()),
    "ArtifactManifestEntry.ref_url": Case(lambda s: entry_of(s).ref_url()),
    "ArtifactType.collection": Case(
        lambda s: s.api.artifact_type("model", "crew/work").collection("weights").id
    ),
    "ArtifactType.collections": Case(
        lambda s: [each.name for each in s.api.artifact_type("model", "crew/work").collections()]
    ),
    "ArtifactType.load": Case(lambda s: type(s.api.artifact_type("model", "crew/work").load()) is not None),
    "BetaReport.display": Case(lambda s: s.api.reports("crew/work")[0].display()),
    "BetaReport.runs": Case(report_runs, "`BetaReport.runs(", theirs=[], ours=["a2", "a1", "a0"]),
    "BetaReport.to_html": Case(lambda s: page_of(s.api.reports("crew/work")[0])),
    "File.delete": Case(delete_file),
    "File.display": Case(lambda s: s.run.file("a.txt").display()),
    "File.download": Case(download_file),
    "File.to_html": Case(lambda s: s.run.file("a.txt").to_html()),
    "HTTPSummary.get": Case(lambda s: [s.run.summary.get("loss"), s.run.summary.get("none", 5)]),
    "HTTPSummary.items": Case(lambda s: sorted((k, str(v)) for k, v in s.run.summary.items())),
    "HTTPSummary.keys": Case(lambda s: sorted(s.run.summary.keys())),
    "HTTPSummary.update": Case(summary_update),
    "Job.call": Case(called),
    "Job.set_entrypoint": Case(entrypoint_set),
    "Member.delete": Case(member_deleted),
    "Member.display": Case(lambda s: s.api.team("crew").members[0].display()),
    "Member.to_html": Case(lambda s: s.api.team("crew").members[0].to_html()),
    "Project.artifacts_types": Case(
        lambda s: [each.name for each in s.api.project("work", "crew").artifacts_types()]
    ),
    "Project.collections": Case(
        lambda s: [each.name for each in s.api.project("work", "crew").collections()]
    ),
    "Project.display": Case(lambda s: s.api.project("work", "crew").display()),
    "Project.sweeps": Case(lambda s: [each.id for each in s.api.project("work", "crew").sweeps()]),
    "Project.to_html": Case(lambda s: page_of(s.api.project("work", "crew"))),
    "QueuedRun.delete": Case(item_deleted),
    "QueuedRun.wait_until_finished": Case(lambda s: item_of(s, "finishes", "a0").wait_until_finished().id),
    "QueuedRun.wait_until_running": Case(lambda s: item_of(s, "runs", "a0").wait_until_running().id),
    "Registries.collections": Case(
        lambda s: [
            each.name
            for each in s.api.registries("Acme").collections()
            if s.tag not in each.name and "-" not in each.name
        ]
    ),
    "Registries.versions": Case(
        lambda s: [
            each.name
            for each in s.api.registries("Acme").versions({"alias": "prod"})
            if "classifier" in each.name
        ]
    ),
    "Registry.add_members": Case(members_case(lambda s, r: r.add_members(s.as_user("root").user("bob")))),
    "Registry.collections": Case(
        lambda s: [each.name for each in s.api.registry("model", "Acme").collections({"name": "classifier"})]
    ),
    "Registry.create": Case(registry_created),
    "Registry.delete": Case(registry_deleted),
    "Registry.load": Case(registry_saved),
    "Registry.members": Case(lambda s: roles(s.api.registry("model", "Acme"))),
    "Registry.remove_members": Case(members_case(lambda s, r: r.remove_members(s.api.team("crew")))),
    "Registry.save": Case(registry_saved),
    "Registry.team_members": Case(
        members_case(lambda s, r: r if [each.team.name for each in r.team_members()] == ["crew"] else None)
    ),
    "Registry.update_member": Case(members_case(lambda s, r: r.update_member(s.api.team("crew"), "admin"))),
    "Registry.user_members": Case(
        lambda s: [each.user.username for each in s.api.registry("model", "Acme").user_members()]
    ),
    "Registry.versions": Case(
        lambda s: [
            each.name for each in s.api.registry("model", "Acme").versions() if "classifier" in each.name
        ]
    ),
    "RunQueue.delete": Case(queue_deleted),
    "Runs.histories": Case(histories),
    "Runs.upgrade_to_full": Case(upgraded),
    "Sweep.agent": Case(lambda s: sweep_of(s).agent(s.world.agent).id),
    "Sweep.agents": Case(lambda s: [each.id for each in sweep_of(s).agents()]),
    "Sweep.best_run": Case(lambda s: sweep_of(s).best_run().id),
    "Sweep.display": Case(lambda s: sweep_of(s).display()),
    "Sweep.enqueue_run": Case(enqueued),
    "Sweep.get": Case(lambda s: type(sweep_of(s)).get(s.api, "crew", "work", s.world.sweep).id),
    "Sweep.load": Case(lambda s: (sweep_of(s).load(force=True), None)[1]),
    "Sweep.to_html": Case(lambda s: page_of(sweep_of(s))),
    "Team.create": Case(lambda s: type(s.api.team("crew")).create(s.api, f"{s.tag}-classy").name),
    "Team.create_service_account": Case(service_account),
    "Team.display": Case(lambda s: s.api.team("crew").display()),
    "Team.invite": Case(invited),
    "Team.load": Case(lambda s: s.api.team("crew").load(force=True)["name"]),
    "Team.to_html": Case(lambda s: s.api.team("crew").to_html()),
    "User.create": Case(
        lambda s: type(s.api.viewer).create(s.as_user("root"), f"{s.tag}2@example.org").email
    ),
    "User.display": Case(lambda s: s.api.viewer.display()),
    "User.generate_api_key": Case(key_made),
    "User.to_html": Case(lambda s: s.api.viewer.to_html()),
}


# -- lists and plain attributes ----------------------------------------------------------------------------

LISTS: dict[str, Callable[[Side], Any]] = {
    "AgentRuns": lambda s: sweep_of(s).agent(s.world.agent).runs(),
    "ArtifactCollections": lambda s: s.api.artifact_collections("crew/work", "model"),
    "ArtifactFiles": lambda s: s.weights.files(per_page=1),
    "ArtifactTypes": lambda s: s.api.artifact_types("crew/work"),
    "Artifacts": lambda s: s.api.artifacts("model", "weights", per_page=2),
    "Automations": lambda s: s.api.automations("crew", per_page=1),
    "ConsoleLogs": lambda s: s.run.console_logs(per_page=2),
    "Files": lambda s: s.run.files(per_page=1),
    "Integrations": lambda s: s.api.integrations("crew", per_page=1),
    "Projects": lambda s: s.as_user("root").projects("root"),
    "Registries": lambda s: s.api.registries("Acme", filter={"name": "model"}),
    "Reports": lambda s: s.fresh().reports("crew/work", per_page=1),
    "RunArtifacts": lambda s: s.run.logged_artifacts(per_page=2),
    "Runs": lambda s: s.api.runs("crew/work", per_page=2),
    "SlackIntegrations": lambda s: s.api.slack_integrations(entity="crew", per_page=50),
    "Sweeps": lambda s: s.api.project("work", "crew").sweeps(per_page=1),
    "WebhookIntegrations": lambda s: s.api.webhook_integrations("crew", per_page=50),
}
OBJECTS: dict[str, Callable[[Side], Any]] = {
    "Artifact": lambda s: s.weights,
    "ArtifactCollection": lambda s: s.api.artifact_collection("model", "weights"),
    "ArtifactFiles": lambda s: s.weights.files(),
    "ArtifactManifestEntry": entry_of,
    "ArtifactType": lambda s: s.api.artifact_type("model", "crew/work"),
    "BetaReport": lambda s: s.api.reports("crew/work")[0],
    "File": lambda s: s.run.file("a.txt"),
    "HistoryScan": lambda s: s.run.scan_history(max_step=3),
    "Job": lambda s: s.api.job("crew/work/train:v0", path=str(s.folder / "job")),
    "Project": lambda s: s.api.project("work", "crew"),
    "QueuedRun": lambda s: s.api.queued_run("crew", "work", "q", s.world.item, QUEUE_PROJECT),
    "Registry": lambda s: s.api.registry("model", "Acme"),
    "Run": lambda s: s.api.run("crew/work/a1"),
    "RunQueue": lambda s: s.api.run_queue("crew", "q"),
    "Sweep": sweep_of,
    "User": lambda s: s.api.viewer,
}
#: Attributes whose values cannot be compared as they are -> how.
READ: dict[str, Callable[[Any], Any]] = {
    "Artifact.collection": lambda found: found.collection.id,
    "Artifact.linked_artifacts": lambda found: [each.name for each in found.linked_artifacts],
    "Artifact.manifest": lambda found: found.manifest.to_manifest_json(),
    "Artifact.source_artifact": lambda found: found.source_artifact.id,
    "Artifact.source_collection": lambda found: found.source_collection.id,
    "Project.owner": lambda found: found.owner.username,
    "Registry.artifact_types": lambda found: list(found.artifact_types),
    "Run.json_config": lambda found: json.loads(found.json_config),
    "RunQueue.items": lambda found: [each.id for each in found.items],
    "User.teams": lambda found: found.teams[:2],
    "Run.summary": lambda found: found.summary._json_dict,
    "Run.sweep": lambda found: found.sweep.id,
}
#: Attributes that differ on purpose -> the text of the row.
DIFFERENT_ATTRIBUTES = {
    "RunQueue.external_links": "`RunQueue.template_variables`",
    "RunQueue.template_variables": "`RunQueue.template_variables`",
}

#: Compared in tests of their own.
ELSEWHERE = {
    "Artifact.add": "test_artifacts_agreement.py",
    "Artifact.get": "test_artifacts_agreement.py",
    "Artifact.get_added_local_path_name": "test_artifacts_agreement.py",
    "Artifact.finalize": "test_artifacts_agreement.py",
    "Artifact.json_encode": "test_artifacts_agreement.py",
    "DownloadHistoryResult.errors": "test_history_exports.py",
    "User.delete_api_key": "test_users.py",
    "User.user_api": "test_users.py",
}

CASES = {
    **{f"Api.{name}": case for name, case in API_CASES.items()},
    **{f"Run.{name}": case for name, case in RUN_CASES.items()},
    **{f"Artifact.{name}": case for name, case in ARTIFACT_CASES.items()},
    **OTHER_CASES,
}


@pytest.fixture(scope="module")
def kept() -> tuple[dict[str, Any], dict[str, Any]]:
    """The Apis of both sides, made once."""
    return {}, {}


@pytest.fixture
def sides(
    world: World,
    sdk_home: None,
    kept: tuple[dict[str, Any], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Side, Side]:
    """The SDK and ours; what they make has names of one length."""
    # Parts of the SDK make an Api of their own, from what the environment says.
    for variable, value in world.company.server.env_of(world.company.users["ann"]).items():
        monkeypatch.setenv(variable, value)
    made = []
    for ours, tag in ((False, "sdkside"), (True, "ourside")):
        (tmp_path / tag).mkdir()
        made.append(Side(ours, tag, world, tmp_path / tag, kept[ours]))
    return made[0], made[1]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_method_gives_the_same(sides: tuple[Side, Side], name: str) -> None:
    case = CASES[name]
    theirs, ours = (outcome(case.call, side) for side in sides)
    if not case.row:
        assert ours == theirs
        return
    assert theirs != ours
    assert case.theirs in (None, theirs)
    assert ours == case.ours
    assert case.row in DOCUMENT.read_text(encoding="utf-8")


def attributes_of(name: str) -> list[str]:
    theirs, _ = pair(name)
    public = [each for each in dir(theirs) if not each.startswith("_")]
    return [
        each
        for each in public
        if each not in INTERNAL | pydantics(theirs) and not callable(getattr(theirs, each, None))
    ]


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_every_attribute_is_the_same(sides: tuple[Side, Side], name: str) -> None:
    found = [OBJECTS[name](side) for side in sides]
    checked = 0
    for attribute in attributes_of(name):
        member = f"{name}.{attribute}"
        if member in ELSEWHERE or not hasattr(found[1], attribute):
            continue  # test_surface.py asks what is missing
        read = READ.get(member, operator.attrgetter(attribute))
        theirs, ours = (outcome(read, side, each) for each, side in zip(found, sides, strict=True))
        if member in DIFFERENT_ATTRIBUTES:
            assert ours != theirs, member
            assert DIFFERENT_ATTRIBUTES[member] in DOCUMENT.read_text(encoding="utf-8")
        else:
            assert ours == theirs, member
        checked += 1
    assert checked


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_is_walked_alike(sides: tuple[Side, Side], name: str) -> None:
    def walk(side: Side) -> Any:
        side.api.flush()  # the SDK hands out a list that was walked before
        found = LISTS[name](side)
        first = None
        with contextlib.suppress(StopIteration):
            first = found.next()
        side.api.flush()
        rest = list(LISTS[name](side))
        side.api.flush()
        again = LISTS[name](side)
        consumed = list(again)

        def key(each: Any) -> Any:
            return getattr(each, "id", None) or getattr(each, "name", None) or each.content

        return None if first is None else key(first), [key(each) for each in rest], len(consumed), again.more

    theirs, ours = (outcome(walk, side) for side in sides)
    assert ours == theirs
    assert isinstance(ours, list)


def test_nothing_of_the_sdk_has_no_case() -> None:
    without = []
    for name in PAIRS:
        theirs, mine = pair(name)
        for each in set(dir(theirs)) - INTERNAL - pydantics(theirs):
            if each.startswith("_") or not hasattr(mine, each):
                continue
            covered = (
                f"{name}.{each}" in ELSEWHERE
                or f"{name}.{each}" in CASES
                or (name in LISTS and each in {"next", "cursor", "more"})
                or (name in OBJECTS and not callable(getattr(theirs, each)))
            )
            if not covered:
                without.append(f"{name}.{each}")
    assert without == []
