"""The pages of sweeps: a project's, and one with its runs and what they tried."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from wandb_ops.local import projects
from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import loads
from wandb_ops.local.runs.runquery import RunQuery
from wandb_ops.local.sweeps import sweepconfig, sweeps
from wandb_ops.local.web import chartdata, parallel
from wandb_ops.local.web.access import entity_of
from wandb_ops.local.web.shown import brief, indented

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from wandb_ops.local.service import Service

_RUNS_SHOWN = 200


class SweepPages:
    """These pages of one opened data folder; ``render`` makes a page of a template and its values."""

    def __init__(self, service: Service, render: Callable[..., Response]) -> None:
        self._service = service
        self._render = render

    def routes(self, guarded: Callable[[Callable[[Request], Response]], Any]) -> list[BaseRoute]:
        """The routes, each behind the door."""
        top = "/{entity}/{project}/sweeps"
        return [Route(top, guarded(self.sweeps)), Route(top + "/{sweep}", guarded(self.sweep))]

    def sweeps(self, request: Request) -> Response:
        """A project's sweeps, newest first."""
        entity, project = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as db:
            found = sweeps.of_project(db, projects.get(db, entity, project).pk)
            rows = [
                (
                    sweep,
                    sweep.display_name or sweep.values.get("name") or sweep.name,
                    sweeps.run_count(db, sweep),
                    sweepconfig.expected_runs(sweep.values),
                    sweeps.best_loss(db, sweep),
                )
                for sweep in found
            ]
        return self._render("sweeps.html", entity=entity, project=project, rows=rows)

    def sweep(self, request: Request) -> Response:
        """A sweep: how far it is, and its newest runs with their parameters and the metric."""
        entity, name = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as connection:
            project = projects.get(connection, entity, name)
            sweep = sweeps.find(connection, project.pk, request.path_params["sweep"])
            if sweep is None:
                raise Refused("there is no such sweep", 404)
            now, crash_after = self._service.store.now(), self._service.settings.crash_after
            query = RunQuery(json.dumps({"sweep": sweep.name}), "-created_at", crash_after)
            page, more = query.page(connection, project.pk, now, None, _RUNS_SHOWN)
            best = sweeps.best_loss(connection, sweep)
        metric = sweep.values.get("metric") or {}
        rows = []
        for run, _ in page:
            config = {
                key: item.get("value") for key, item in loads(run.config).items() if isinstance(item, dict)
            }
            value = sweeps.value_at(loads(run.summary), metric["name"]) if metric else None
            rows.append((run, run.state(now, crash_after), chartdata.flatten(config), value))
        names = [parameter.name for parameter in sweepconfig.parameters(sweep.values)]
        trials = [[*(config.get(key) for key in names), value] for _, _, config, value in rows]
        goal = metric.get("goal", "minimize")
        return self._render(
            "sweep.html",
            chart=parallel.chart([*names, str(metric.get("name"))], trials, brief, goal) if metric else None,
            entity=entity,
            project=name,
            sweep=sweep,
            title=sweep.display_name or sweep.values.get("name") or sweep.name,
            method=sweep.values["method"],
            config=indented(sweep.config),
            metric=metric.get("name"),
            goal=goal,
            best=best,
            expected=sweepconfig.expected_runs(sweep.values),
            parameters=names,
            runs=rows,
            more=more,
        )
