"""What else a run has: media, console log, system metrics; and a project's reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wandb_ops.local import projects, views
from wandb_ops.local.history import lines
from wandb_ops.local.runs import runs
from wandb_ops.local.web import chartdata, mediadata
from wandb_ops.local.web.access import entity_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from wandb_ops.local.service import Service

_LINES_SHOWN = 2000
_REPORTS_SHOWN = 500
_REPORT = "runs"  # what W&B calls the type of view that a report is
# What the SDK puts before a line: "ERROR " for stderr, and a time. Colours are for terminals.
_STAMP = re.compile(r"(ERROR )?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z? ?")
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_NUMBER = re.compile(r"[0-9]{1,15}")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class RunPages:
    """These pages of one opened data folder; ``render`` makes a page of a template and its values."""

    def __init__(self, service: Service, render: Callable[..., Response]) -> None:
        self._service = service
        self._render = render

    def routes(self, guarded: Callable[[Callable[[Request], Response]], Any]) -> list[BaseRoute]:
        """The routes, each behind the door."""
        project, run = "/{entity}/{project}", "/{entity}/{project}/runs/{run}"
        return [
            Route(project + "/reports", guarded(self.reports)),
            Route(run + "/media.json", guarded(self.media)),
            Route(run + "/logs", guarded(self.logs)),
            Route(run + "/system", guarded(self.system)),
            Route(run + "/system.json", guarded(self.system_data)),
        ]

    def _run(self, request: Request) -> runs.Run:
        with self._service.store.reading() as db:
            place = request.path_params
            return runs.get(db, entity_of(request), place["project"], place["run"])

    def media(self, request: Request) -> Response:
        """The keys that hold no numbers; with ``?key=``, entries of one, spread over all its steps.

        ``from=N`` asks for those from the Nth on, ``from=-N`` for the last N.
        """
        run = self._run(request)
        key, wanted = request.query_params.get("key"), request.query_params.get("from", "")
        if key is None:
            return JSONResponse({"keys": mediadata.keys(self._service.store, run)})
        start = int(wanted) if _WHOLE.fullmatch(wanted) else None
        with self._service.store.reading() as db:
            return JSONResponse(mediadata.entries(db, run, key, start=start))

    def logs(self, request: Request) -> Response:
        """The console log, the last lines of it; ``?from=`` names another first line."""
        run = self._run(request)
        wanted = request.query_params.get("from", "")
        newest = max(0, run.log_lines - _LINES_SHOWN)
        start = min(int(wanted), newest) if _NUMBER.fullmatch(wanted) else newest
        stop = min(start + _LINES_SHOWN, run.log_lines)
        with self._service.store.reading() as db:
            texts = lines.between(db, run.pk, lines.LOG, start, stop)
        shown = [(start + at + 1, *_split(text)) for at, text in enumerate(texts)]
        earlier = max(0, start - _LINES_SHOWN) if start else None
        return self._render(
            "logs.html",
            entity=run.entity,
            run=run,
            lines=shown,
            earlier=earlier,
            later=stop if stop < run.log_lines else None,
        )

    def system(self, request: Request) -> Response:
        """The charts of the machine that the run ran on."""
        run = self._run(request)
        return self._render("system.html", entity=run.entity, run=run)

    def system_data(self, request: Request) -> Response:
        """The data of those charts."""
        run = self._run(request)
        with self._service.store.reading() as db:
            return JSONResponse({"runs": [chartdata.system_series(db, run)]})

    def reports(self, request: Request) -> Response:
        """A project's reports, newest first: what they are called and who wrote them."""
        entity, project = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as db:
            owner = projects.get(db, entity, project)
            rows = views.page(db, owner.pk, _REPORT, None, 0, _REPORTS_SHOWN)[::-1]
        return self._render("reports.html", entity=entity, project=project, rows=rows)


def _split(text: str) -> tuple[str, str, bool]:
    """Time, text and whether it went to stderr."""
    match = _STAMP.match(text)
    plain = _COLOUR.sub("", text[match.end() :] if match else text).rstrip("\r\n")
    return (match[2][11:] if match else "", plain, bool(match and match[1]))
