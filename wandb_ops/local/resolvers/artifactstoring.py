"""How a version comes to be: made, filled, committed, and used by runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.artifacts import artifactfiles, artifacts, artifactwrites
from wandb_ops.local.artifacts.artifactroutes import PARTS, UPLOADS, store_content
from wandb_ops.local.artifacts.artifacts import PENDING, Artifact
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import decode_number, encode_id
from wandb_ops.local.resolvers import artifactaccess
from wandb_ops.local.resolvers.artifactcontents import ArtifactFile
from wandb_ops.local.resolvers.context import Args, Context, Resolver, connection, number_cursor, required
from wandb_ops.local.runs import runs
from wandb_ops.local.runs.files import Upload
from wandb_ops.local.service import ARTIFACTS

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.service import Service

_MANIFEST_NAME = "wandb_manifest.json"
_CHUNK = 500


def project_name(given: Args) -> str:
    """The project that a mutation names, else the default one."""
    return given.get("projectName") or runs.DEFAULT_PROJECT


def _run_of(db: sqlite3.Connection, entity: str, given: Args) -> int | None:
    if not given.get("runName"):
        return None
    return runs.get(db, entity, project_name(given), given["runName"]).pk


def _create(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity = context.check_entity(given.get("entityName"))
    with context.service.store.writing() as db:
        project, _ = projects.upsert(db, context.now(), entity, project_name(given))
        run = _run_of(db, entity, given)
        artifact = artifactwrites.create(db, context.now(), project, run, given)
    return {"artifact": artifact}


def _pending(context: Context, db: sqlite3.Connection, value: str) -> Artifact:
    artifact = artifactaccess.writable(context, db, value)
    if artifact.state != PENDING:
        raise Refused("the artifact is committed and cannot change")
    return artifact


def _base(context: Context, db: sqlite3.Connection, given: Args) -> int | None:
    base = given.get("baseArtifactID")
    return artifactaccess.writable(context, db, base).pk if base else None


def _create_manifest(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        artifact = _pending(context, db, required(given, "artifactID"))
        manifest = artifactfiles.make_manifest(
            db,
            context.now(),
            artifact.pk,
            given.get("name") or _MANIFEST_NAME,
            given.get("type") or artifactfiles.FULL,
            given.get("digest") or "",
            _base(context, db, given),
        )
    return {"artifactManifest": manifest}


def _update_manifest(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        pk = decode_number("ArtifactManifest", required(given, "artifactManifestID"))
        manifest = artifactfiles.manifest_by_pk(db, pk)
        owner = artifacts.by_pk(db, manifest.artifact)
        if owner is None or not context.sees_project(db, owner.project_pk):
            raise NotFound("artifact manifest not found")
        _pending(context, db, owner.id)
        manifest = artifactfiles.change_manifest(
            db, manifest, given.get("digest") or "", _base(context, db, given)
        )
    return {"artifactManifest": manifest}


def _create_files(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    nodes: list[tuple[ArtifactFile, str]] = []
    specs = args["input"]["artifactFiles"]
    for start in range(0, len(specs), _CHUNK):  # other writers get their turn in between
        with context.service.store.writing() as db:
            for spec in specs[start : start + _CHUNK]:
                nodes.append((_declared(db, context, spec), number_cursor(len(nodes) + 1)))
    return {"files": connection(nodes, False, totalCount=len(nodes))}


def _declared(db: sqlite3.Connection, context: Context, spec: Args) -> ArtifactFile:
    """Where to put a file; nowhere when its content is there."""
    artifact = _pending(context, db, spec["artifactID"])
    pk = artifactfiles.declare(db, artifact.pk, spec["name"], spec["md5"])
    stored = artifactfiles.find_blob(db, artifact.project_pk, spec["md5"])
    fields: dict[str, Any] = {
        "id": encode_id("ArtifactUpload", pk),
        "name": spec["name"],
        "displayName": spec["name"],
        "directUrl": "",
        "uploadUrl": None,
        "uploadHeaders": [],
        "sizeBytes": stored.size if stored else 0,
        "md5": spec["md5"],
        "digest": spec["md5"],
        "storagePath": f"artifacts/{artifact.pk}/{spec['name']}",
        "artifact": (artifacts.by_pk(db, stored.birth) if stored else None) or artifact,
    }
    if stored is not None:
        return ArtifactFile(fields)

    def url(area: str, name: str) -> str:
        return context.base_url + context.service.signer.path("PUT", area, pk, name)

    wanted = spec.get("uploadPartsInput")
    if wanted:
        if len(wanted) > artifactfiles.MAX_PARTS:
            raise Refused(f"a file may have {artifactfiles.MAX_PARTS} parts at most")
        numbers = [part["partNumber"] for part in wanted]
        fields["uploadMultipartUrls"] = {
            "uploadID": encode_id("ArtifactUpload", pk),
            "uploadUrlParts": [
                {"partNumber": number, "uploadUrl": url(PARTS, str(number))} for number in numbers
            ],
        }
    fields["uploadUrl"] = url(UPLOADS, spec["name"])
    fields["uploadHeaders"] = [f"Content-MD5:{spec['md5']}"]
    return ArtifactFile(fields)


def _complete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    service = context.service
    pk = decode_number("ArtifactUpload", required(given, "uploadID"))
    with service.store.reading() as db:
        artifact = artifactaccess.writable(context, db, required(given, "artifactID"))
        artifact_pk, _, md5 = artifactfiles.upload_of(db, pk)
        there = artifactfiles.parts(db, pk)
        known = artifactfiles.find_blob(db, artifact.project_pk, md5)
    if artifact.pk != artifact_pk:
        raise NotFound("no such upload")
    wanted = sorted(
        (part["partNumber"], part["hexMD5"].lower()) for part in given.get("completedParts") or ()
    )
    if known is None:
        if not wanted or wanted != [(number, digest) for number, digest, _ in there]:
            raise Refused("the parts that arrived are not the parts that are named")
        folder = service.folder(ARTIFACTS, artifact.project_pk)
        whole = artifactfiles.join_parts(folder, [blob for _, _, blob in there])
        store_content(service, artifact.project_pk, artifact.pk, whole, md5)
    with service.store.writing() as db:
        artifactfiles.drop_parts(db, pk)
    remove_blobs(service, artifact.project_pk, [blob for _, _, blob in there])
    return {"digest": md5}


def remove_blobs(service: Service, project: int, blobs: list[str]) -> None:
    """Remove contents of a project's artifacts from the disk."""
    for blob in blobs:
        (service.folder(ARTIFACTS, project) / blob).unlink(missing_ok=True)


def _commit(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    service = context.service
    with service.store.reading() as db:
        artifact = artifactaccess.writable(context, db, required(args["input"], "artifactID"))
        manifest = artifactfiles.current_manifest(db, artifact.pk)
        if artifact.state != PENDING:
            return {"artifact": artifact}
        if manifest is None or manifest.blob is None:
            raise Refused("the artifact's manifest was not uploaded")
        whole = _contents(db, service, artifact, manifest)
    digest = artifactfiles.digest_of(whole["contents"])
    if manifest.type == artifactfiles.FULL:
        if artifact.algorithm == "MANIFEST_MD5" and digest != artifact.digest:
            raise Refused("the artifact's digest is not that of its manifest")
        digest = artifact.digest
    merged = None
    if manifest.type == artifactfiles.INCREMENTAL:
        merged = Upload(service.folder(ARTIFACTS, artifact.project_pk))
        merged.write(json.dumps(whole).encode())
        merged.commit()
    try:
        with service.store.writing() as db:
            artifact = artifacts.get(db, artifact.id)
            if artifact.state != PENDING:
                return {"artifact": artifact}
            artifactfiles.keep_entries(db, artifact, whole["contents"])
            if merged is not None:
                artifactfiles.keep_manifest(db, manifest.pk, merged.md5, merged.size, merged.blob)
            artifact = artifactwrites.committed(db, context.now(), artifact, digest)
        if merged is not None:
            remove_blobs(service, artifact.project_pk, [manifest.blob])
    except BaseException:
        if merged is not None:
            merged.discard()
        raise
    return {"artifact": artifact}


def _contents(
    db: sqlite3.Connection, service: Service, artifact: Artifact, manifest: artifactfiles.Manifest
) -> dict[str, Any]:
    """What the version consists of: the manifest, put onto its base when it is incremental."""
    folder = service.folder(ARTIFACTS, artifact.project_pk)
    found = artifactfiles.read_manifest((folder / str(manifest.blob)).read_bytes())
    if manifest.type == artifactfiles.PATCH:
        raise Refused("artifacts written by several runs at once are not supported by this server")
    if manifest.type == artifactfiles.INCREMENTAL and manifest.base is not None:
        before = artifactfiles.current_manifest(db, manifest.base)
        if before is None or before.blob is None:
            raise Refused("the base artifact has no manifest")
        base = artifacts.by_pk(db, manifest.base)
        if base is None or base.project_pk != artifact.project_pk:
            raise Refused("the base artifact is in another project")
        below = artifactfiles.read_manifest((folder / before.blob).read_bytes())
        found["contents"] = {**below["contents"], **found["contents"]}
    return found


def _use(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity = context.check_entity(given.get("entityName"))
    with context.service.store.writing() as db:
        artifact = artifactaccess.readable(context, db, required(given, "artifactID"))
        run = _run_of(db, entity, given)
        if run is None:
            raise Refused("runName is required")
        artifactwrites.link_run(db, context.now(), run, artifact.pk, artifacts.INPUT, given.get("usedAs"))
    return {"artifact": artifact}


RESOLVERS: dict[str, Resolver] = {
    "Mutation.createArtifact": _create,
    "Mutation.createArtifactManifest": _create_manifest,
    "Mutation.updateArtifactManifest": _update_manifest,
    "Mutation.createArtifactFiles": _create_files,
    "Mutation.completeMultipartUploadArtifact": _complete,
    "Mutation.commitArtifact": _commit,
    "Mutation.useArtifact": _use,
}
