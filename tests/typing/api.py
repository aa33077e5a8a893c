"""User code of the public API, checked with mypy --strict and never run."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import wandb_ops as wandb
from wandb_ops.public import (
    Agent,
    ArtifactCollection,
    ArtifactManifestEntry,
    ArtifactType,
    Automation,
    BetaReport,
    ConsoleLogLine,
    DownloadHistoryResult,
    File,
    Job,
    Member,
    Organization,
    Project,
    QueuedRun,
    Registry,
    Run,
    RunQueue,
    Runs,
    SlackIntegration,
    Sweep,
    Team,
    TeamMember,
    User,
    UserMember,
    WebhookIntegration,
)


def read(api: wandb.Api) -> None:
    runs: Runs = api.runs(
        "team/project", filters={"config.lr": {"$gt": 0.1}}, order="-created_at", per_page=100
    )
    count: int = len(runs)
    first: Run = runs[0]
    some: list[Run] = runs[1:count]
    for run in some:
        name: str | None = run.name
        state: str = run.state
        config: dict[str, Any] = run.config
        loss = run.summary.get("loss", 0.0)
        plain: dict[str, Any] = run.summary._json_dict
        del name, state, config, loss, plain
    for row in first.scan_history(keys=["loss"], page_size=100):
        step: int = row["_step"]
        del step
    user: User | None = first.user
    tags: list[str] = first.tags
    viewer: User = api.viewer
    entity: str | None = api.default_entity
    projects: list[Project] = list(api.projects("team"))
    del user, tags, viewer, entity, projects


def write(api: wandb.Api) -> Run:
    run = api.create_run(project="project", run_id="id")
    run.name = "name"
    run.tags = ["a", "b"]
    run.config["key"] = 10
    run.summary["histogram"] = wandb.Histogram([1, 2, 3])
    run.summary.update({"accuracy": 0.9})
    run.update()
    run.upload_file("model.bin")
    file: File = run.file("model.bin")
    with file.download(replace=True) as handle:
        text: str = handle.read()
    for each in run.files(pattern="%.json"):
        size: int = each.size
        del size
    del text
    run.wait_until_finished(timeout=60.0)
    return run


def sweeps(api: wandb.Api, run: Run) -> QueuedRun:
    sweep: Sweep = api.sweep("team/project/id")
    ranked: list[Run] = sorted(sweep.runs, key=lambda each: each.summary.get("val_acc", 0), reverse=True)
    best: Run | None = sweep.best_run()
    agents: list[Agent] = sweep.agents()
    every: list[Sweep] = list(api.project("project", "team").sweeps(filters={"state": "finished"}))
    own: Sweep | None = run.sweep
    report: BetaReport = api.reports("team/project")[0]
    shown: Runs = report.runs(report.sections[0])
    lines: list[ConsoleLogLine] = run.console_logs(last=10)[:]
    rows: list[dict[str, Any]] = shown.histories(samples=100, keys=["loss"])
    count: int = len(shown.histories(format="pandas"))
    job: Job = api.job("team/project/job:latest")
    del ranked, best, agents, every, own, lines, rows, count
    return job.call({"lr": 0.1}, queue="queue")


def artifacts(api: wandb.Api, run: Run) -> str:
    made = wandb.Artifact("rows", type="dataset", metadata={"rows": 3})
    made.add_dir("data")
    entry: ArtifactManifestEntry = made.add_file("model.bin", name="models/model.bin")
    with made.new_file("notes.txt") as handle:
        handle.write("text")
    logged: wandb.Artifact = run.log_artifact(made, aliases=["best"], tags=["blue"]).wait()
    found: wandb.Artifact = api.artifact("team/project/rows:latest", type="dataset")
    found.aliases.append("prod")
    found.metadata["checked"] = True
    found.ttl = timedelta(days=30)
    found.save()
    folder: str = found.download(root="down", path_prefix="models/")
    versions: list[wandb.Artifact] = api.artifacts("dataset", "rows", tags=["blue"])[:2]
    collection: ArtifactCollection = api.artifact_collection("dataset", "rows")
    users: list[Run] = found.used_by()
    exists: bool = api.artifact_exists("rows:v0")
    size: int | None = entry.size
    del logged, versions, collection, users, exists, size
    for each in run.used_artifacts():
        run.use_artifact(each)
    return folder


def launch(api: wandb.Api) -> None:
    queue: RunQueue = api.upsert_run_queue("queue", {"image": "x"}, "kubernetes", prioritization_mode="V0")
    config: dict[str, Any] = queue.default_resource_config
    item: QueuedRun = queue.items[0]
    run: Run = item.wait_until_finished()
    del config, run


def handle(api: wandb.Api) -> str | None:
    try:
        return api.run("team/project/id").name
    except wandb.RateLimited as error:
        seconds: float | None = error.retry_after
        return str(seconds)
    except wandb.NotFoundError as error:
        return error.hint
    except wandb.Error as error:
        return error.where


def travel(api: wandb.Api) -> wandb.Api:
    copy: wandb.Api = pickle.loads(pickle.dumps(api))
    return copy


def exports(run: Run) -> list[Path]:
    result: DownloadHistoryResult = run.download_history_exports("folder")
    live: bool = result.contains_live_data
    failures: dict[Path, str] | None = result.errors
    try:
        run.download_history_exports(Path("folder"), require_complete_history=True)
    except wandb.IncompleteRunHistoryError as error:
        missing: int = error.expected - error.received
        del missing
    text: str = run.json_config
    shown: bool = run.display(height=100)
    del live, failures, text, shown
    return result.paths


def light(api: wandb.Api) -> list[dict[str, Any]]:
    runs: Runs = api.runs("team/project", lazy=True)
    first: Run = runs.next()
    runs.upgrade_to_full()
    place: str | None = runs.cursor
    rest: Runs = api.runs("team/project", start=place)
    more: bool = rest.more
    pending: Run = Run.create(api, project="project", state="pending")
    del first, more, pending
    return [run.config for run in runs]


def accounts(api: wandb.Api) -> str:
    team: Team = api.create_team("team")
    invited: bool = team.invite("ann@example.org", admin=True)
    robot: Member = team.create_service_account("robot")
    key: str | None = robot.api_key
    members: list[Member] = team.members
    user: User = api.create_user("ann@example.org", admin=False)
    found: User | None = api.user("ann")
    several: list[User] = api.users("ann")
    organization: Organization = api.organization()
    entity: str = organization.org_entity.name
    del invited, key, members, found, several, entity
    return user.generate_api_key("laptop")


def registries(api: wandb.Api, user: User, team: Team) -> None:
    registry: Registry = api.create_registry("model", "organization", artifact_types=["model"])
    chained: Registry = registry.add_members(user, team, "VXNlcjox").update_member(team, role="admin")
    users: list[UserMember] = chained.user_members()
    teams: list[TeamMember] = registry.team_members()
    every: list[UserMember | TeamMember] = registry.members()
    role: str = users[0].role
    name: str | None = users[0].user.username
    registry.remove_members(*every)
    registry.description = "about"
    registry.visibility = "organization"
    registry.save()
    collections: list[ArtifactCollection] = list(registry.collections(filter={"name": "mine"}))
    versions: list[wandb.Artifact] = list(api.registries().collections().versions(filter={"alias": "best"}))
    listed: list[Registry] = api.registries(filter={"name": {"$regex": "model"}}, order="-name")[:3]
    types: list[ArtifactType] = list(api.artifact_types("team/project"))
    del teams, role, name, collections, versions, listed, types
    registry.delete()


def automations(api: wandb.Api, project: Project) -> Automation:
    hook: WebhookIntegration = api.webhook_integrations("team")[0]
    slack: SlackIntegration = api.slack_integrations(entity="team")[0]
    event = wandb.AutomationEvent.run_metric(project, "loss", ">", 1, agg="avg", window=5)
    made: Automation = api.create_automation(
        wandb.NewAutomation(event, wandb.AutomationAction.webhook(hook, {"a": 1})), name="watch"
    )
    changed: Automation = api.update_automation(
        made, enabled=False, action=wandb.AutomationAction.notification(slack, title="t", severity="WARN")
    )
    every: list[Automation] = list(api.automations("team"))
    one: Automation = api.automation("watch", entity="team")
    gone: bool = api.delete_automation(one)
    del every, gone
    return changed


def charts(api: wandb.Api) -> str:
    return api.create_custom_chart("team", "bars", "Bars", "vega2", "private", {"mark": "bar"})


def paths(api: wandb.Api) -> None:
    found: Project | Run | Sweep | BetaReport = api.from_path("team/project/run")
    board: Run = api.sync_tensorboard("logs", run_id="id")
    jobs: list[dict[str, Any]] = api.list_jobs("team", "project")
    del found, board, jobs
    api.create_project("project", "team")
    api.flush()


def words(api: wandb.Api) -> str:
    try:
        api.run("team/project/id")
    except wandb.UsageTypeError as error:
        kind: TypeError | ValueError = error
        return str(kind)
    except wandb.ProtocolError as error:
        again: bool = error.retryable
        return str(again)
    return ""
