"""The HTTP side of artifacts: contents and manifests up and down, and the two old download addresses."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from wandb_ops.local import projects
from wandb_ops.local.accounts.auth import authenticate
from wandb_ops.local.artifacts import artifactfiles, artifacts
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import check_file_name
from wandb_ops.local.receiving import receive
from wandb_ops.local.service import ARTIFACTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from wandb_ops.local.runs.files import Upload
    from wandb_ops.local.service import Service

    Handler = Callable[[Service, Request], Awaitable[Response]]

# Areas of signed URLs; the number in the URL is that of an upload, a content or a manifest.
UPLOADS, PARTS, BLOBS, MANIFESTS = (
    "artifact-uploads",
    "artifact-parts",
    "artifact-files",
    "artifact-manifests",
)
_HEADERS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
_MAX_MANIFEST = 1 << 30


def _signed(service: Service, request: Request, area: str) -> tuple[int, str]:
    pk, name = int(request.path_params["pk"]), request.path_params["name"]
    query = request.query_params
    service.signer.check(request.method, area, pk, name, query.get("expires", ""), query.get("signature", ""))
    return pk, check_file_name(name)


def _project_of(service: Service, artifact: int) -> int:
    with service.store.reading() as db:
        found = artifacts.by_pk(db, artifact)
    if found is None:
        raise NotFound("the artifact was deleted")
    return found.project_pk


def _check(upload: Upload, wanted: str, what: str) -> None:
    if upload.md5 != wanted:
        raise Refused(f"{what} does not have the MD5 that was announced")


async def _put_file(service: Service, request: Request) -> Response:
    pk, _ = _signed(service, request, UPLOADS)

    def announced() -> tuple[int, str]:
        with service.store.reading() as db:
            artifact, _, md5 = artifactfiles.upload_of(db, pk)
        return artifact, md5

    artifact, md5 = await run_in_threadpool(announced)
    project = await run_in_threadpool(_project_of, service, artifact)
    upload = await receive(request, service.folder(ARTIFACTS, project), service.settings.max_upload)
    await run_in_threadpool(store_content, service, project, artifact, upload, md5)
    return Response(status_code=200, headers={"ETag": f'"{md5}"'})


def store_content(service: Service, project: int, artifact: int, upload: Upload, md5: str) -> None:
    """Check and keep a content; nothing is left of one that is wrong or there already."""
    try:
        _check(upload, md5, "the file")
        upload.commit()
        with service.store.writing() as db:
            if artifacts.by_pk(db, artifact) is None:
                raise NotFound("the artifact was deleted")
            fresh = artifactfiles.keep_blob(
                db, service.store.now(), project, artifact, md5, upload.size, upload.blob
            )
    except BaseException:
        upload.discard()
        raise
    if not fresh:
        upload.discard()


async def _put_part(service: Service, request: Request) -> Response:
    pk, name = _signed(service, request, PARTS)
    number = int(name)

    def project_of() -> int:
        with service.store.reading() as db:
            artifact, _, _ = artifactfiles.upload_of(db, pk)
        return _project_of(service, artifact)

    folder = service.folder(ARTIFACTS, await run_in_threadpool(project_of))
    upload = await receive(request, folder, service.settings.max_upload)
    md5 = base64.b64decode(upload.md5).hex()

    def keep() -> None:
        try:
            upload.commit()
            with service.store.writing() as db:
                artifactfiles.upload_of(db, pk)
                replaced = artifactfiles.keep_part(db, pk, number, md5, upload.size, upload.blob)
        except BaseException:
            upload.discard()
            raise
        if replaced:
            upload.path.with_name(replaced).unlink(missing_ok=True)

    await run_in_threadpool(keep)
    return Response(status_code=200, headers={"ETag": f'"{md5}"'})


async def _put_manifest(service: Service, request: Request) -> Response:
    pk, _ = _signed(service, request, MANIFESTS)

    def announced() -> tuple[artifactfiles.Manifest, int]:
        with service.store.reading() as db:
            manifest = artifactfiles.manifest_by_pk(db, pk)
        return manifest, _project_of(service, manifest.artifact)

    manifest, project = await run_in_threadpool(announced)
    upload = await receive(request, service.folder(ARTIFACTS, project), _MAX_MANIFEST)

    def keep() -> None:
        try:
            _check(upload, manifest.digest, "the manifest")
            upload.commit()
            with service.store.writing() as db:
                found = artifacts.by_pk(db, manifest.artifact)
                if found is None or found.state != artifacts.PENDING:
                    raise Refused("the artifact is committed or gone; its manifest cannot change", 409)
                replaced = artifactfiles.keep_manifest(db, pk, upload.md5, upload.size, upload.blob)
        except BaseException:
            upload.discard()
            raise
        if replaced:
            upload.path.with_name(replaced).unlink(missing_ok=True)

    await run_in_threadpool(keep)
    return Response(status_code=200)


async def _get_manifest(service: Service, request: Request) -> Response:
    pk, _ = _signed(service, request, MANIFESTS)

    def stored() -> Any:
        with service.store.reading() as db:
            manifest = artifactfiles.manifest_by_pk(db, pk)
        if manifest.blob is None:
            raise NotFound("the manifest was not uploaded")
        return service.folder(ARTIFACTS, _project_of(service, manifest.artifact)) / manifest.blob

    return FileResponse(await run_in_threadpool(stored), headers=_HEADERS, media_type="application/json")


def _file_response(service: Service, blob: artifactfiles.Blob, name: str) -> FileResponse:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    path = service.folder(ARTIFACTS, blob.project) / blob.blob
    return FileResponse(path, headers={**_HEADERS, "Content-MD5": blob.md5}, media_type=kind)


async def _get_file(service: Service, request: Request) -> Response:
    pk, name = _signed(service, request, BLOBS)

    def stored() -> artifactfiles.Blob:
        with service.store.reading() as db:
            blob = artifactfiles.blob_by_pk(db, pk)
        if blob is None:
            raise NotFound("no such file")
        return blob

    return _file_response(service, await run_in_threadpool(stored), name)


def _md5_of_hex(value: str) -> str:
    try:
        return base64.b64encode(binascii.unhexlify(value)).decode()
    except (binascii.Error, ValueError):
        raise NotFound("no such file") from None


async def _by_digest(service: Service, request: Request) -> Response:
    """``/artifacts/{entity}/{digest}``: the address of files before each version had its own place."""
    account = await run_in_threadpool(authenticate, service, request.headers.get("authorization"))
    path = request.path_params

    def stored() -> artifactfiles.Blob:
        entity, md5 = account.check_entity(path["entity"]), _md5_of_hex(path["digest"])
        with service.store.reading() as db:
            row = db.execute(
                "SELECT b.id FROM artifact_blobs b JOIN projects p ON p.id=b.project"
                " WHERE p.entity=? AND b.md5=? LIMIT 1",
                (entity, md5),
            ).fetchone()
            blob = artifactfiles.blob_by_pk(db, row[0]) if row else None
        if blob is None:
            raise NotFound("no such file")
        return blob

    return _file_response(service, await run_in_threadpool(stored), path["digest"])


async def _by_place(service: Service, request: Request) -> Response:
    """``/artifactsV2/{region}/{entity}/{project}/{collection}/…/{digest}/{name}``."""
    account = await run_in_threadpool(authenticate, service, request.headers.get("authorization"))
    path = request.path_params

    def stored() -> artifactfiles.Blob:
        entity, md5 = account.check_entity(path["entity"]), _md5_of_hex(path["digest"])
        with service.store.reading() as db:
            project = projects.get(db, entity, path["project"])
            collection = artifacts.find_collection(db, project.pk, path["collection"])
            places = artifacts.memberships(db, collection=collection.pk) if collection else []
            for place in places:
                entry = artifactfiles.entry_at(db, place.artifact, md5)
                found = artifacts.by_pk(db, place.artifact)
                if entry is not None and entry.ref is None and found is not None:
                    blob = artifactfiles.find_blob(db, found.project_pk, md5)
                    if blob is not None:
                        return blob
        raise NotFound("no such file")

    return _file_response(service, await run_in_threadpool(stored), path["name"])


_V2 = "/artifactsV2/{region}/{entity}/{project}/{collection}"
ROUTES: tuple[tuple[str, Handler, str], ...] = (
    (f"/{UPLOADS}/{{pk:int}}/{{name:path}}", _put_file, "PUT"),
    (f"/{PARTS}/{{pk:int}}/{{name:path}}", _put_part, "PUT"),
    (f"/{MANIFESTS}/{{pk:int}}/{{name:path}}", _put_manifest, "PUT"),
    (f"/{MANIFESTS}/{{pk:int}}/{{name:path}}", _get_manifest, "GET"),
    (f"/{BLOBS}/{{pk:int}}/{{name:path}}", _get_file, "GET"),
    ("/artifacts/{entity}/{digest}", _by_digest, "GET"),
    (f"{_V2}/{{birth}}/{{digest}}/{{name}}", _by_place, "GET"),
    (f"{_V2}/{{artifact}}/{{birth}}/{{digest}}/{{name}}", _by_place, "GET"),
)
