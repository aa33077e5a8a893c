"""Sweeps and their agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import dumps, loads_object
from wandb_ops.local.projects import Project, by_pk
from wandb_ops.local.resolvers.context import (
    Args,
    Context,
    Resolver,
    connection,
    cursor_number,
    field,
    number_cursor,
    page_size,
    reading,
    required,
)
from wandb_ops.local.runs.filters import compile_filter
from wandb_ops.local.runs.runquery import RunQuery
from wandb_ops.local.runs.runs import DEFAULT_PROJECT
from wandb_ops.local.sweeps import agents, sweepconfig, sweeps, trials
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.sweeps.agents import Agent
    from wandb_ops.local.sweeps.sweeps import Sweep

_ADOPTED = 1000


def _by_id(db: sqlite3.Connection, context: Context, value: str) -> Sweep:
    """The sweep with that id; one that the account does not see is as one that does not exist."""
    sweep = sweeps.by_id(db, value)
    if not context.sees(sweep.entity):
        raise NotFound(f"sweep {sweep.entity}/{sweep.project}/{sweep.name} not found")
    return sweep


def _upsert(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        if given.get("id"):
            known = _by_id(db, context, given["id"])
            sweep, warnings = sweeps.change(db, context.now(), known, given)
        else:
            owner = context.check_entity(given.get("entityName"))
            project = given.get("projectName") or DEFAULT_PROJECT
            sweep, warnings = sweeps.create(db, context.now(), owner, project, given, user=context.account.pk)
        if given.get("priorRunsFilters"):
            query = _query(context, given["priorRunsFilters"], None)
            prior, _ = query.page(db, sweep.project_pk, context.now(), None, _ADOPTED)
            sweeps.adopt(db, sweep, [run.name for run, _cursor in prior])
    return {"sweep": sweep, "configValidationWarnings": warnings}


def _enqueue(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    config = loads_object(given.get("config"), "config")
    with context.service.store.writing() as db:
        sweep = _by_id(db, context, required(given, "id"))
        run = trials.enqueue(
            db, context.now(), sweep, config, given.get("displayName"), user=context.account.pk
        )
    return {"id": run, "runQueueItemId": None}


def _create_agent(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    owner = context.check_entity(given.get("entityName"))
    name = required(given, "sweep")
    with context.service.store.writing() as db:
        row = db.execute(
            "SELECT id FROM projects WHERE entity=? AND name=?",
            (owner, given.get("projectName") or DEFAULT_PROJECT),
        ).fetchone()
        sweep = sweeps.find(db, row[0], name) if row else None
        if sweep is None:
            raise NotFound(f"sweep {name!r} not found")
        return {"agent": agents.create(db, context.now(), sweep, given.get("host") or "")}


def _heartbeat(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    working = {name for name, busy in loads_object(given.get("runState"), "runState").items() if busy}
    with context.service.store.writing() as db:
        agent = agents.by_id(db, required(given, "id"))
        if not context.sees(sweeps.by_pk(db, agent.sweep).entity):
            raise NotFound("sweep agent not found")
        commands = agents.heartbeat(db, context.now(), agent, working, context.service.settings.crash_after)
    return {"agent": agent, "commands": dumps(commands)}


def _sweep(project: Project, context: Context, args: Args) -> Sweep | None:
    with context.service.store.reading() as db:
        return sweeps.find(db, project.pk, required(args, "sweepName"))


def _document(sweep: Sweep) -> dict[str, Any]:
    """What a filter sees of a sweep."""
    return {
        "name": sweep.name,
        "displayName": sweep.display_name or sweep.values.get("name"),
        "description": sweep.description,
        "state": sweep.state.lower(),
        "method": sweep.values.get("method"),
        "createdAt": sweep.created_at,
        "updatedAt": sweep.updated_at,
        "config": sweep.values,
    }


def _sweeps(project: Project, context: Context, args: Args) -> dict[str, Any]:
    first, before = page_size(args, 50), cursor_number(args.get("after"), 2**62)
    predicate = compile_filter(loads_object(args.get("filters"), "filters"))
    with context.service.store.reading() as db:
        every = [each for each in sweeps.of_project(db, project.pk) if predicate(_document(each))]
    found = [each for each in every if each.pk < before]
    return connection([(each, number_cursor(each.pk)) for each in found[:first]], len(found) > first)


def _total(project: Project, context: Context, _args: Args) -> int:
    with context.service.store.reading() as db:
        return int(db.execute("SELECT count(*) FROM sweeps WHERE project=?", (project.pk,)).fetchone()[0])


def _query(context: Context, filters: str, order: str | None) -> RunQuery:
    return RunQuery(
        filters=filters,
        order=order,
        crash_after=context.service.settings.crash_after,
    )


def _runs_where(context: Context, project: int, filters: dict[str, Any], args: Args) -> dict[str, Any]:
    query = _query(context, dumps(filters), args.get("order"))
    with context.service.store.reading() as db:
        nodes, more = query.page(db, project, context.now(), args.get("after"), page_size(args, 1000))
    answer: dict[str, Any] = connection(nodes, more)
    return answer


def _runs(sweep: Sweep, context: Context, args: Args) -> dict[str, Any]:
    # totalCount is counted when asked for: the connection carries the question.
    found = _runs_where(context, sweep.project_pk, {"sweep": sweep.name}, args)
    with context.service.store.reading() as db:
        project = by_pk(db, sweep.project_pk)
    question = _query(context, dumps({"sweep": sweep.name}), None)
    return {**found, "totalCount": (project, question)}


def _agent_runs(agent: Agent, context: Context, args: Args) -> dict[str, Any]:
    if args.get("before") or args.get("last"):
        raise Refused("the runs of an agent are listed with first and after")
    with context.service.store.reading() as db:
        sweep, names = sweeps.by_pk(db, agent.sweep), trials.begun(db, agent.sweep, agent.pk)
        project = by_pk(db, sweep.project_pk)
    filters = {"name": {"$in": names}}
    found = _runs_where(context, sweep.project_pk, filters, args)
    return {**found, "totalCount": (project, _query(context, dumps(filters), None))}


def _agents(sweep: Sweep, context: Context, _args: Args) -> dict[str, Any]:
    with context.service.store.reading() as db:
        return {"edges": [{"node": agent} for agent in agents.of_sweep(db, sweep)]}


def _agent(sweep: Sweep, context: Context, args: Args) -> Agent | None:
    wanted = required(args, "agentName")
    with context.service.store.reading() as db:
        every = agents.of_sweep(db, sweep)
    return next((agent for agent in every if wanted in (agent.name, agent.id)), None)


def _agent_state(agent: Agent, context: Context, _args: Args) -> str:
    silent = context.now() - agent.heartbeat_at > context.service.settings.crash_after * 1000
    return "CRASHED" if agent.state == "RUNNING" and silent else agent.state


RESOLVERS: dict[str, Resolver] = {
    "Mutation.upsertSweep": _upsert,
    "Mutation.enqueueSweepRun": _enqueue,
    "Mutation.createAgent": _create_agent,
    "Mutation.agentHeartbeat": _heartbeat,
    "Project.sweep": _sweep,
    "Project.sweeps": _sweeps,
    "Project.totalSweeps": _total,
    "Sweep.id": field(lambda sweep: sweep.id),
    "Sweep.name": field(lambda sweep: sweep.name),
    "Sweep.displayName": field(lambda sweep: sweep.display_name),
    "Sweep.description": field(lambda sweep: sweep.description),
    "Sweep.method": field(lambda sweep: sweep.values["method"]),
    "Sweep.state": field(lambda sweep: sweep.state),
    "Sweep.config": field(lambda sweep: sweep.config),
    "Sweep.controller": field(lambda sweep: sweep.controller),
    "Sweep.controllerRunName": field(lambda _sweep: None),
    "Sweep.scheduler": field(lambda sweep: sweep.scheduler),
    "Sweep.earlyStopJobRunning": field(lambda _sweep: False),
    "Sweep.project": reading(lambda db, sweep, _args: by_pk(db, sweep.project_pk)),
    "Sweep.createdAt": field(lambda sweep: iso(sweep.created_at)),
    "Sweep.updatedAt": field(lambda sweep: iso(sweep.updated_at)),
    "Sweep.heartbeatAt": field(lambda sweep: iso(sweep.heartbeat_at) if sweep.heartbeat_at else None),
    "Sweep.bestLoss": reading(lambda db, sweep, _args: sweeps.best_loss(db, sweep)),
    "Sweep.runCount": reading(lambda db, sweep, _args: sweeps.run_count(db, sweep)),
    "Sweep.runCountExpected": field(lambda sweep: sweepconfig.expected_runs(sweep.values)),
    "Sweep.runs": _runs,
    "Sweep.agents": _agents,
    "Sweep.agent": _agent,
    "Agent.id": field(lambda agent: agent.id),
    "Agent.name": field(lambda agent: agent.name),
    "Agent.host": field(lambda agent: agent.host),
    "Agent.state": _agent_state,
    "Agent.totalRuns": reading(lambda db, agent, _args: len(trials.begun(db, agent.sweep, agent.pk))),
    "Agent.createdAt": field(lambda agent: iso(agent.created_at)),
    "Agent.heartbeatAt": field(lambda agent: iso(agent.heartbeat_at)),
    "Agent.runs": _agent_runs,
}
