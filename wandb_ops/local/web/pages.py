"""The web page: projects, runs and charts, as far as the holder of a key sees them.

The key is given once, at `/login` or as the query of the address that the server prints; a signed cookie
stands for it afterwards, until the key is deleted. The pages are rendered here; the charts are drawn in the
browser from JSON.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from wandb_ops.local import projects, queues
from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import loads
from wandb_ops.local.runs import files, runs
from wandb_ops.local.runs.runquery import RunQuery
from wandb_ops.local.service import FILES
from wandb_ops.local.sweeps import sweepconfig, sweeps
from wandb_ops.local.web import chartdata, parallel
from wandb_ops.local.web.access import account_of, entity_of
from wandb_ops.local.web.artifactpages import ArtifactPages
from wandb_ops.local.web.runpages import RunPages

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from wandb_ops.local.accounts.accounts import Account, Accounts
    from wandb_ops.local.service import Service

_HERE = Path(__file__).parent
_COOKIE = "wandb_ops_page"
_COOKIE_SECONDS = 30 * 24 * 3600
_RUNS_SHOWN = 200
_RUNS_CHARTED = 12
_FILES_SHOWN = 500
_ITEMS_SHOWN = 100
_FORM_BYTES = 4096
_IMAGES_SHOWN = 24
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Door:
    """Who may see the pages: a cookie bound to a key, so that the end of the key ends its sessions."""

    accounts: Accounts
    clock: Callable[[], float] = time.time

    def ticket(self, key: str) -> str | None:
        """A cookie's value, good for a month; None when that is no key."""
        return self.accounts.ticket(key, int(self.clock()) + _COOKIE_SECONDS)

    def admits(self, ticket: str | None) -> Account | None:
        """Whose cookie that is; None unless it is ours and still good."""
        return self.accounts.by_ticket(ticket, self.clock()) if ticket else None


def routes(service: Service, clock: Callable[[], float] = time.time) -> list[BaseRoute]:
    """The routes of the web page; they come after the API's own."""
    pages = Pages(service, Door(service.accounts, clock))
    return [
        Mount("/static", StaticFiles(directory=_HERE / "static")),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/", pages.guarded(pages.home)),
        Route("/{entity}", pages.guarded(pages.home)),
        Route("/{entity}/projects", pages.guarded(pages.home)),
        Route("/{entity}/launch", pages.guarded(pages.launch)),
        *ArtifactPages(service, pages.render).routes(pages.guarded),
        *RunPages(service, pages.render).routes(pages.guarded),
        Route("/{entity}/{project}", pages.guarded(pages.project)),
        Route("/{entity}/{project}/charts.json", pages.guarded(pages.charts)),
        Route("/{entity}/{project}/runs/{run}", pages.guarded(pages.run)),
        Route("/{entity}/{project}/sweeps/{sweep}", pages.guarded(pages.sweep)),
        Route("/{entity}/{project}/runs/{run}/files/{name:path}", pages.guarded(pages.file)),
    ]


class Pages:
    """The pages of one opened data folder."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door
        self._templates = Environment(
            loader=PackageLoader("wandb_ops.local.web"), autoescape=select_autoescape(), trim_blocks=True
        )
        self._templates.globals["look"] = _look()
        self._templates.filters.update(ago=self._ago, brief=brief, size=size, quote=_segment, counted=counted)

    def guarded(self, page: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """`page`, run in a thread, for those the door admits; others are sent to `/login`."""

        async def answer(request: Request) -> Response:
            account = await run_in_threadpool(self._door.admits, request.cookies.get(_COOKIE))
            if account is None:
                target = quote(request.url.path, safe="/")
                return RedirectResponse(f"/login?next={target}", 303)
            request.state.account = account
            try:
                response = await run_in_threadpool(page, request)
            except Refused as refusal:
                response = self.render("error.html", 404, message=str(refusal))
            response.headers.update(_HEADERS)
            return response

        return answer

    async def login(self, request: Request) -> Response:
        """Take the key, from the form or from the address, and set the cookie."""
        body = (await request.body())[:_FORM_BYTES] if request.method == "POST" else b""
        form = parse_qs(body.decode("utf-8", "replace"))
        key = form.get("key", [request.query_params.get("key", "")])[0].strip()
        target = request.query_params.get("next", "/")
        if not target.startswith("/") or target.startswith(("//", "/\\")):
            target = "/"  # never send anyone to another site
        ticket = await run_in_threadpool(self._door.ticket, key) if key else None
        if ticket is None:
            page = self.render("login.html", 401 if key else 200, wrong=bool(key), next=target)
            page.headers.update(_HEADERS)
            return page
        response = RedirectResponse(target, 303, headers=_HEADERS)
        response.set_cookie(_COOKIE, ticket, max_age=_COOKIE_SECONDS, httponly=True, samesite="lax")
        return response

    def home(self, request: Request) -> Response:
        """All projects of an entity, those with the latest news first."""
        entity = entity_of(request)
        with self._service.store.reading() as connection:
            rows = connection.execute(
                "SELECT p.name, count(r.id), coalesce(max(r.heartbeat_at), p.updated_at) AS news,"
                " sum(r.state IN ('running', 'preempting')), sum(r.state IN ('failed', 'crashed'))"
                " FROM projects p LEFT JOIN runs r ON r.project = p.id WHERE p.entity=? GROUP BY p.id"
                " ORDER BY news DESC",
                (entity,),
            ).fetchall()
        others = [each for each in account_of(request).entities if each != entity]
        return self.render("projects.html", entity=entity, others=others, projects=rows)

    def launch(self, request: Request) -> Response:
        """The account's launch queues."""
        entity = entity_of(request)
        with self._service.store.reading() as connection:
            rows = connection.execute(
                "SELECT q.name, c.resource, c.config, q.prioritization_mode, q.created_at,"
                " (SELECT count(*) FROM queue_items i WHERE i.queue = q.id), q.id"
                " FROM queues q JOIN projects p ON p.id = q.project"
                " LEFT JOIN resource_configs c ON c.id = q.config WHERE p.entity=? ORDER BY q.name",
                (entity,),
            ).fetchall()
            shown = [
                (
                    *row[:2],
                    json.dumps(loads(row[2] or "{}"), indent=2),
                    *row[3:6],
                    self._items(connection, row[6]),
                )
                for row in rows
            ]
        return self.render("launch.html", entity=entity, queues=shown)

    def _items(self, connection: sqlite3.Connection, queue: int) -> list[dict[str, Any]]:
        """The newest items of a queue, newest first, as the table shows them."""
        now, crash_after = self._service.store.now(), self._service.settings.crash_after
        shown = []
        for pk, priority, created, error in connection.execute(
            "SELECT id, priority, created_at, error FROM queue_items WHERE queue=? ORDER BY id DESC LIMIT ?",
            (queue, _ITEMS_SHOWN),
        ).fetchall():
            item = queues.item(connection, pk)
            spec = loads(item.run_spec)
            image = spec.get("docker") if isinstance(spec.get("docker"), dict) else {}
            shown.append(
                {
                    "number": pk,
                    "state": queues.state(connection, now, item, crash_after),
                    "error": json.loads(error).get("message") if error else None,
                    "job": spec.get("job") or spec.get("uri") or image.get("docker_image") or "",
                    "run": item.associated_run,
                    "project": str(spec.get("project") or ""),
                    "priority": priority,
                    "created": created,
                }
            )
        return shown

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
            images=_images(listed, summary),
            logged=logged,
            used=used,
        )

    def sweep(self, request: Request) -> Response:
        """A sweep: how far it is, and its newest runs with their parameters and the metric."""
        entity, name = entity_of(request), request.path_params["project"]
        with self._service.store.reading() as connection:
            project = projects.get(connection, entity, name)
            sweep = sweeps.find(connection, project.pk, request.path_params["sweep"])
            if sweep is None:
                raise Refused("there is no such sweep", 404)
            now, filters = self._service.store.now(), json.dumps({"sweep": sweep.name})
            query = RunQuery(filters, "-created_at", self._service.settings.crash_after)
            page, more = query.page(connection, project.pk, now, None, _RUNS_SHOWN)
            best = sweeps.best_loss(connection, sweep)
        metric = sweep.values.get("metric") or {}
        rows = []
        for run, _ in page:
            config = {
                key: item.get("value") for key, item in loads(run.config).items() if isinstance(item, dict)
            }
            value = sweeps.value_at(loads(run.summary), metric["name"]) if metric else None
            rows.append((run, self._state(run, now), chartdata.flatten(config), value))
        names = [parameter.name for parameter in sweepconfig.parameters(sweep.values)]
        trials = [[*(config.get(key) for key in names), value] for _, _, config, value in rows]
        goal = metric.get("goal", "minimize")
        return self.render(
            "sweep.html",
            chart=parallel.chart([*names, str(metric.get("name"))], trials, brief, goal) if metric else None,
            entity=entity,
            project=name,
            sweep=sweep,
            title=sweep.display_name or sweep.values.get("name") or sweep.name,
            method=sweep.values["method"],
            config=_indented(sweep.config),
            metric=metric.get("name"),
            goal=goal,
            best=best,
            expected=sweepconfig.expected_runs(sweep.values),
            parameters=names,
            runs=rows,
            more=more,
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
        """A run's file; only images are shown in the browser, all else is downloaded."""
        run, _ = self._run(request)
        with self._service.store.reading() as connection:
            found = files.find(connection, run.pk, request.path_params["name"])
        if found is None or found.blob is None:
            raise Refused("the run has no such file", 404)
        image = found.mimetype in _IMAGES
        return FileResponse(
            self._service.folder(FILES, run.pk) / found.blob,
            media_type=found.mimetype if image else "application/octet-stream",
            filename=found.name.rpartition("/")[2],
            content_disposition_type="inline" if image else "attachment",
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


def _project(request: Request) -> str:
    name: str = request.path_params["project"]
    return name


def _segment(text: str) -> str:
    return quote(text, safe="")


def _images(listed: list[files.RunFile], summary: dict[str, Any]) -> list[tuple[files.RunFile, str]]:
    """Image files with their captions: the key that last logged them, else the file's name."""
    keys = {
        name: key
        for key, value in chartdata.flatten(summary).items()
        if isinstance(value, dict)
        for name in (value.get("filenames") or [value.get("path")])
    }
    images = [file for file in listed if file.mimetype in _IMAGES][:_IMAGES_SHOWN]
    return [(file, keys.get(file.name, file.name.rpartition("/")[2])) for file in images]


def brief(value: Any) -> str:
    """A value as a table cell shows it: numbers to five digits, objects by their type."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, dict):
        return f"<{value.get('_type', 'object')}>"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 120 else text[:119] + "…"


def counted(count: int, word: str) -> str:
    """So many of something."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _indented(text: str) -> str:
    """JSON over several lines; other text, such as YAML, as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def size(count: int) -> str:
    """Bytes for people."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{count}\N{NO-BREAK SPACE}B"
