"""The HTTP routes: GraphQL, file_stream, signed files, telemetry, and a health check.

Each answer is made in a worker thread; the event loop only moves bytes. Bodies are read up to a limit.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from wandb_ops.local.accounts import admin
from wandb_ops.local.accounts.auth import authenticate, known
from wandb_ops.local.artifacts import artifactroutes
from wandb_ops.local.errors import NotFound, Refused, storage_problem
from wandb_ops.local.graphql import run_request
from wandb_ops.local.history import exports, stream
from wandb_ops.local.names import check_file_name
from wandb_ops.local.receiving import receive
from wandb_ops.local.runs import files, runs
from wandb_ops.local.service import EXPORTS, FILES, Service

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from wandb_ops.local.accounts.accounts import Account

    Handler = Callable[[Service, Request], Awaitable[Response]]

_log = logging.getLogger("wandb_ops.local")

_TELEMETRY_LIMIT = 16 << 20
# What users stored is served as data: it may neither run scripts nor be guessed to be a page.
_STORED_HEADERS = {
    "Access-Control-Allow-Origin": "*",  # a signed URL is good on any page; no cookie opens one
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


def json_response(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON bytes."""
    return Response(body, status, headers, media_type="application/json")


def refusal(error: Refused) -> Response:
    """The answer outside of GraphQL to a request that cannot be done."""
    headers = {"WWW-Authenticate": 'Basic realm="wandb"'} if error.status == 401 else None
    message = {"error": str(error), "errors": [{"message": str(error)}]}
    return json_response(orjson.dumps(message), error.status, headers)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, unpacked when gzip; :class:`Refused` (413) beyond ``limit`` bytes packed or unpacked."""
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding not in {"", "identity", "gzip"}:
        raise Refused(f"content encoding {encoding!r} is not supported", 415)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise Refused("the body is too large", 413)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Refused("the body is too large", 413)
        chunks.append(chunk)
    body = b"".join(chunks)
    return await run_in_threadpool(stream.inflate, body, limit) if encoding == "gzip" else body


def _endpoint(service: Service, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A Starlette endpoint that turns refusals and accidents into JSON without details of this machine."""

    @functools.wraps(handler)
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(service, request)
        except Refused as error:
            return refusal(error)
        except ClientDisconnect:
            return refusal(Refused("the request was cut short"))
        except Exception as error:  # noqa: BLE001 - the last resort: no client ever sees a traceback
            if (problem := storage_problem(error)) is not None:
                _log.error("%s: %s", problem, error)
                return refusal(problem)
            reference = secrets.token_hex(4)
            _log.exception("internal error %s at %s %s", reference, request.method, request.url.path)
            return refusal(Refused(f"internal server error (reference {reference})", 500))

    return endpoint


async def _account(service: Service, request: Request) -> Account:
    """Who asks, known before a byte of the body is read; :class:`Refused` (401) when nobody does."""
    header = request.headers.get("authorization")
    account = known(service, header)
    return account if account is not None else await run_in_threadpool(authenticate, service, header)


async def _graphql(service: Service, request: Request) -> Response:
    account = await _account(service, request)
    body = await read_body(request, service.settings.max_body)
    base_url = f"{request.url.scheme}://{request.url.netloc}"
    return json_response(await run_in_threadpool(run_request, service, account, base_url, body))


async def _file_stream(service: Service, request: Request) -> Response:
    account = await _account(service, request)
    body = await read_body(request, service.settings.max_body)
    path = request.path_params
    place = (path["entity"], path["project"], path["run"])
    if not account.sees(place[0]):
        raise NotFound(f"run {'/'.join(place)} not found")

    def write(connection: sqlite3.Connection, content: stream.StreamRequest) -> tuple[runs.Run, bool]:
        return stream.apply(connection, service.store.now(), place, content), content.complete

    future = service.writer.submit(len(body), lambda: stream.parse(body), write)
    run, complete = await asyncio.wrap_future(future)
    if complete:
        await run_in_threadpool(_export, service, run)
    return json_response(stream.answer(run))


def _export(service: Service, run: runs.Run) -> None:
    """Write the Parquet files of a run that ended, where the settings want them."""
    threshold = service.settings.parquet_after_rows
    if threshold is not None and run.history_lines >= threshold and run.exported_lines < run.history_lines:
        exports.export(
            service.store,
            service.folder(EXPORTS, run.pk),
            run,
            rows_per_part=service.settings.parquet_rows_per_part,
        )


def _checked_path(service: Service, request: Request, area: str) -> tuple[int, str]:
    """The run and name of a signed URL; :class:`Refused` unless it is one of ours and good."""
    run, name = int(request.path_params["run"]), request.path_params["name"]
    query = request.query_params
    service.signer.check(
        request.method, area, run, name, query.get("expires", ""), query.get("signature", "")
    )
    return run, check_file_name(name)


async def _get_file(service: Service, request: Request) -> Response:
    run, name = _checked_path(service, request, FILES)
    path, file = await run_in_threadpool(_stored, service, run, name)
    headers = {**_STORED_HEADERS, **({"Content-MD5": file.md5} if file.md5 else {})}
    return FileResponse(path, headers=headers, media_type=file.mimetype)


def _stored(service: Service, run: int, name: str) -> tuple[Path, files.RunFile]:
    with service.store.reading() as connection:
        file = files.find(connection, run, name)
    if file is None or file.blob is None:
        raise NotFound("no such file")
    return service.folder(FILES, run) / file.blob, file


async def _file_options(_service: Service, _request: Request) -> Response:
    """What a browser asks before it uses a signed URL on another page's behalf."""
    headers = {"Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Headers": "*"}
    return Response(status_code=204, headers={**headers, "Access-Control-Allow-Origin": "*"})


async def _put_file(service: Service, request: Request) -> Response:
    run, name = _checked_path(service, request, FILES)
    upload = await receive(request, service.folder(FILES, run), service.settings.max_upload)
    try:
        if (wanted := request.headers.get("content-md5")) and wanted != upload.md5:
            raise Refused("the file does not have the MD5 of the Content-MD5 header")
        replaced = await run_in_threadpool(_keep, service, run, name, upload)
    except BaseException:
        upload.discard()
        raise
    if replaced:
        (service.folder(FILES, run) / replaced).unlink(missing_ok=True)
    return Response(status_code=200, headers={"ETag": f'"{upload.md5}"'})


def _keep(service: Service, run: int, name: str, upload: files.Upload) -> str | None:
    upload.commit()
    with service.store.writing() as connection:
        if runs.by_pk(connection, run) is None:
            raise NotFound("the run was deleted")
        return files.put(connection, service.store.now(), run, name, upload)


async def _get_export(service: Service, request: Request) -> Response:
    run, name = _checked_path(service, request, EXPORTS)
    path = service.folder(EXPORTS, run) / name
    if not path.is_file():
        raise NotFound("no such file")
    answer = FileResponse(path, headers=_STORED_HEADERS, media_type="application/vnd.apache.parquet")
    answer.chunk_size = 1 << 20  # each piece costs a change of threads
    return answer


async def _telemetry(_service: Service, request: Request) -> Response:
    """The SDK reports on itself; what it says is read and forgotten."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _TELEMETRY_LIMIT:
            raise Refused("the body is too large", 413)
    return Response(status_code=200)


async def _health(service: Service, _request: Request) -> Response:
    def ask() -> None:
        with service.store.reading() as connection:
            connection.execute("SELECT 1").fetchone()

    await run_in_threadpool(ask)
    return json_response(b'{"status":"ok"}')


def routes(service: Service) -> list[BaseRoute]:
    """Every route of the protocol. A caller may put routes of its own beside them."""

    def route(path: str, handler: Any, *methods: str) -> Route:
        return Route(path, _endpoint(service, handler), methods=list(methods))

    return [
        route("/graphql", _graphql, "POST"),
        route("/files/{entity}/{project}/{run}/file_stream", _file_stream, "POST"),
        route(f"/{FILES}/{{run:int}}/{{name:path}}", _get_file, "GET"),
        route(f"/{FILES}/{{run:int}}/{{name:path}}", _put_file, "PUT"),
        route(f"/{FILES}/{{run:int}}/{{name:path}}", _file_options, "OPTIONS"),
        route(f"/{EXPORTS}/{{run:int}}/{{name:path}}", _get_export, "GET"),
        *(route(path, handler, method) for path, handler, method in artifactroutes.ROUTES),
        *(route(path, handler, method) for path, handler, method in admin.ROUTES),
        route("/sdk/otel/v1/{signal}", _telemetry, "POST"),
        route("/healthz", _health, "GET"),
    ]
