"""The web page: projects, runs and charts, as far as the holder of a key sees them.

The pages are rendered here; the charts are drawn in the browser from JSON. Further pages are in modules of
their own, by subject; `door` asks for the key.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from wandb_ops.local import projects, queues
from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import loads
from wandb_ops.local.runs import files, runs
from wandb_ops.local.runs.runquery import RunQuery
from wandb_ops.local.service import FILES
from wandb_ops.local.web import chartdata
from wandb_ops.local.web.access import account_of, entity_of
from wandb_ops.local.web.artifactpages import ArtifactPages
from wandb_ops.local.web.door import Door
from wandb_ops.local.web.launchpages import LaunchPages
from wandb_ops.local.web.runpages import RunPages
from wandb_ops.local.web.shown import brief, counted, images, in_place, segment, size
from wandb_ops.local.web.sweeppages import SweepPages

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from wandb_ops.local.service import Service

_HERE = Path(__file__).parent
_RUNS_SHOWN = 200
_RUNS_CHARTED = 12
_FILES_SHOWN = 500


def routes(service: Service, clock: Callable[[], float] = time.time) -> list[BaseRoute]:
    """The routes of the web page; they come after the API's own."""
    pages = Pages(service)
    door = Door(service.accounts, pages.render, clock)
    guarded = door.guarded
    others = (LaunchPages, ArtifactPages, RunPages, SweepPages)
    return [
        Mount("/static", StaticFiles(directory=_HERE / "static")),
        Route("/login", door.login, methods=["GET", "POST"]),
        Route("/", guarded(pages.home)),
        Route("/{entity}", guarded(pages.home)),
        Route("/{entity}/projects", guarded(pages.home)),
        *(route for kind in others for route in kind(service, pages.render).routes(guarded)),
        Route("/{entity}/{project}", guarded(pages.project)),
        Route("/{entity}/{project}/charts.json", guarded(pages.charts)),
        Route("/{entity}/{project}/runs/{run}", guarded(pages.run)),
        Route("/{entity}/{project}/runs/{run}/files/{name:path}", guarded(pages.file)),
    ]


class Pages:
    """The pages of one opened data folder."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._templates = Environment(
            loader=PackageLoader("wandb_ops.local.web"), autoescape=select_autoescape(), trim_blocks=True
        )
        self._templates.globals["look"] = _look()
        self._templates.filters.update(ago=self._ago, brief=brief, size=size, quote=segment, counted=counted)

    def home(self, request: Request) -> Response:
        """All projects of an entity, those with the latest news first."""
        entity = entity_of(request)
        with self._service.store.reading() as connection:
            # The project that only holds the queues is no project of anybody's, as on W&B's page.
            rows = connection.execute(
                "SELECT p.name, count(r.id), coalesce(max(r.heartbeat_at), p.updated_at) AS news,"
                " sum(r.state IN ('running', 'preempting')), sum(r.state IN ('failed', 'crashed'))"
                " FROM projects p LEFT JOIN runs r ON r.project = p.id WHERE p.entity=? GROUP BY p.id"
                " HAVING p.name<>? OR count(r.id)"
                " OR EXISTS(SELECT 1 FROM artifact_collections c WHERE c.project = p.id)"
                " ORDER BY news DESC",
                (entity, queues.PROJECT),
            ).fetchall()
        others = [each for each in account_of(request).entities if each != entity]
        return self.render("projects.html", entity=entity, others=others, projects=rows)

    def project(self, request: Request) -> Response:
        """A project's runs, newest first, and the charts of the newest."""
        entity, name = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as connection:
            project = projects.get(connection, entity, name)
            page, more = self._newest(connection, project.pk, _RUNS_SHOWN)
            now = self._service.store.now()
            rows = [(run, self._state(run, now), loads(run.summary)) for run in page]
        return self.render(
            "project.html",
            entity=entity,
            project=name,
            runs=rows,
            more=more,
            charted=_RUNS_CHARTED,
            metrics=chartdata.summary_columns([summary for _, _, summary in rows]),
        )

    def run(self, request: Request) -> Response:
        """One run: state, config, summary, files and charts."""
        run, entity = self._run(request)
        with self._service.store.reading() as connection:
            listed = files.page(connection, run.pk, names=[], pattern=None, after=0, first=_FILES_SHOWN)
            logged, used = (
                [
                    (version, home)
                    for version, _, _ in artifacts.of_run(connection, run.pk, direction)
                    if (home := artifacts.collection_by_pk(connection, version.sequence)) is not None
                    and account_of(request).sees(home.entity)
                ]
                for direction in (artifacts.OUTPUT, artifacts.INPUT)
            )
        wrapped = {key: item for key, item in loads(run.config).items() if not key.startswith("_")}
        config = {
            key: item.get("value", item) if isinstance(item, dict) else item for key, item in wrapped.items()
        }
        summary = {key: item for key, item in loads(run.summary).items() if not key.startswith("_")}
        return self.render(
            "run.html",
            entity=entity,
            run=run,
            state=self._state(run, self._service.store.now()),
            config=chartdata.flatten(config),
            summary=chartdata.flatten(summary),
            files=listed,
            images=images(listed),
            logged=logged,
            used=used,
        )

    def charts(self, request: Request) -> Response:
        """The data of the charts: of one run (`?run=`), or of the project's newest."""
        entity, name = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as connection:
            wanted = request.query_params.get("run")
            if wanted:
                chosen = [runs.get(connection, entity, name, wanted)]
            else:
                project = projects.get(connection, entity, name)
                chosen, _ = self._newest(connection, project.pk, _RUNS_CHARTED)
            series = [chartdata.series(connection, run) for run in chosen]
        return JSONResponse({"runs": series})

    def file(self, request: Request) -> Response:
        """A run's file; images, audio and video are shown in the browser, all else is downloaded."""
        run, _ = self._run(request)
        with self._service.store.reading() as connection:
            found = files.find(connection, run.pk, request.path_params["name"])
        if found is None or found.blob is None:
            raise Refused("the run has no such file", 404)
        kind = in_place(found.name)
        return FileResponse(
            self._service.folder(FILES, run.pk) / found.blob,
            media_type=kind or "application/octet-stream",
            filename=found.name.rpartition("/")[2],
            content_disposition_type="inline" if kind else "attachment",
        )

    def _run(self, request: Request) -> tuple[runs.Run, str]:
        entity = entity_of(request)
        with self._service.store.reading() as connection:
            return runs.get(
                connection, entity, request.path_params["project"], request.path_params["run"]
            ), entity

    def _newest(self, connection: Any, project: int, count: int) -> tuple[list[runs.Run], bool]:
        query = RunQuery(None, "-created_at", self._service.settings.crash_after)
        page, more = query.page(connection, project, self._service.store.now(), None, count)
        return [run for run, _ in page], more

    def _state(self, run: runs.Run, now: int) -> str:
        return run.state(now, self._service.settings.crash_after)

    def _ago(self, milliseconds: int) -> str:
        seconds = max(0, (self._service.store.now() - milliseconds) // 1000)
        for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
            if seconds >= length:
                return f"{seconds // length} {unit} ago"
        return f"{seconds} s ago"

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page of a template."""
        return HTMLResponse(self._templates.get_template(template).render(**values), status)


def _look() -> str:
    """What tells the scripts and the style of one version from another's, which a browser may have kept."""
    found = hashlib.sha256()
    for path in sorted((_HERE / "static").iterdir()):
        found.update(path.read_bytes())
    return found.hexdigest()[:8]
