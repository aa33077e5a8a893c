"""Storing an artifact: make the version, upload what the server lacks, commit. Any step may be repeated.

The client id of a version is made from its run, name and content. A task that was killed in between and runs
again finds the version it began, uploads what is missing and commits it: nothing is stored twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, GraphQLError, ProtocolError, StatusError
from wandb_ops.protocol.documents import artifactstorage as documents
from wandb_ops.protocol.documents.artifacts import ARTIFACT_STATE
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.manifest import Entry, manifest_digest, manifest_json, md5_of_bytes
from wandb_ops.protocol.storage import upload_header
from wandb_ops.redaction import terminal_safe
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from wandb_ops.transport.session import Transport

MULTIPART_THRESHOLD = 2 << 30
_PART_SIZE = 100 << 20
_MOST_PARTS = 1_000
_WORKERS = 8
_PART_WORKERS = 4  # each holds a part in memory
_BATCH = 500  # files whose upload URLs are asked for at once: they are good for a while only
_MANIFEST_NAME = "wandb_manifest.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file's bytes are.

    Attributes:
        path: A local file, or None.
        data: The bytes, when there is no file.
        stamp: Size and time of change when the digest was taken; another one means another content.
    """

    path: Path | None = None
    data: bytes = b""
    stamp: tuple[int, int] | None = None

    def check(self, where: str) -> None:
        """:class:`DataError` when the file is not what it was when its digest was taken."""
        if self.path is None:
            return
        try:
            found = self.path.stat()
        except OSError as error:
            raise DataError(f"The file {str(self.path)!r} cannot be read any more", where=where) from error
        if self.stamp is not None and (found.st_size, found.st_mtime_ns) != self.stamp:
            raise DataError(
                f"The file {str(self.path)!r} changed after it was added",
                where=where,
                hint="Add it again once it is complete.",
            )

    def read(self, start: int, size: int) -> bytes:
        """Some of the bytes."""
        if self.path is None:
            return self.data[start : start + size]
        with self.path.open("rb") as handle:
            handle.seek(start)
            return handle.read(size)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to be stored.

    Attributes:
        entries: By path, complete.
        sources: Bytes of the entries that may have to be uploaded; entries of earlier versions have none.
        multipart_threshold: Bytes from which a file is sent in parts.
        part_size: Bytes of a part; grows for files of very many parts.
        storage_region: Where the files are to be kept, as the server's administrators name it.
        history_step: Step of the run's history that it belongs to.
    """

    entity: str
    project: str
    run_id: str
    name: str
    type: str
    entries: Mapping[str, Entry]
    sources: Mapping[str, Source]
    description: str | None = None
    metadata: Mapping[str, Any] | None = None
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()
    ttl_seconds: int | None = None
    base_id: str | None = None
    storage_region: str | None = None
    history_step: int | None = None
    multipart_threshold: int = MULTIPART_THRESHOLD
    part_size: int = _PART_SIZE

    @property
    def where(self) -> str:
        """For errors."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def digest(self) -> str:
        """The digest of its content."""
        return manifest_digest(self.entries)

    @property
    def client_id(self) -> str:
        """What names this version, on this side: its place, its run and its content."""
        place = (self.entity, self.project, self.run_id, self.type, self.name)
        return client_id("artifact", *place, self.digest)

    @property
    def sequence_client_id(self) -> str:
        """What names its collection, on this side."""
        return client_id("sequence", self.entity, self.project, self.type, self.name)


@dataclass(frozen=True, slots=True)
class Stored:
    """The version on the server; `existed` when its content was there before."""

    id: str
    digest: str
    existed: bool


def client_id(*parts: str) -> str:
    """128 characters that name the same thing each time."""
    return hashlib.sha512("\0".join(parts).encode()).hexdigest()


def store(transport: Transport, version: NewVersion) -> Stored:
    """Store a version and commit it; one with the same content in the same collection is not made again.

    Raises:
        DataError: A file changed after its digest was taken.
        CommError: As `graphql.execute` and `Transport.upload`.
    """
    digest = version.digest
    for source in version.sources.values():
        source.check(version.where)
    made = _create(transport, version, digest)
    if made["state"] == "COMMITTED":
        return Stored(made["id"], made.get("digest") or digest, existed=True)
    artifact_id = str(made["id"])
    try:
        _fill(transport, version, artifact_id)
    except (GraphQLError, StatusError):
        # Whoever stores the same content at the same moment has the same version; what is committed takes
        # nothing more. So is a commit whose answer was lost: a server may refuse to do it twice.
        data = execute(transport, ARTIFACT_STATE, {"id": artifact_id}, where=version.where)
        if (data.get("artifact") or {}).get("state") != "COMMITTED":
            raise
    return Stored(artifact_id, digest, existed=False)


def _fill(transport: Transport, version: NewVersion, artifact_id: str) -> None:
    """Upload what the server lacks of a version that it knows, and commit it."""
    manifest = _manifest(transport, version, artifact_id, digest="", upload=False)
    births = _upload_files(transport, version, artifact_id, str(manifest["id"]))
    entries = {
        path: entry
        if entry.ref is not None or entry.birth_artifact_id
        else replace(entry, birth_artifact_id=births.get(path, artifact_id))
        for path, entry in version.entries.items()
    }
    content = json.dumps(manifest_json(entries), separators=(",", ":")).encode()
    file = _manifest(transport, version, artifact_id, digest=md5_of_bytes(content), upload=True)["file"]
    if not file.get("uploadUrl"):
        raise ProtocolError("CreateArtifactManifest: the answer has no upload URL", where=version.where)
    headers = {"Content-Type": "application/json", **_headers(file, version.where)}
    transport.upload(file["uploadUrl"], content, headers=headers, where=version.where)
    _commit(transport, version, artifact_id)


def _commit(transport: Transport, version: NewVersion, artifact_id: str) -> None:
    execute(transport, documents.COMMIT_ARTIFACT, {"artifactID": artifact_id}, where=version.where)


def _create(transport: Transport, version: NewVersion, digest: str) -> dict[str, Any]:
    given: dict[str, Any] = {
        "entityName": version.entity,
        "projectName": version.project,
        "runName": version.run_id,
        "artifactTypeName": version.type,
        "artifactCollectionName": version.name,
        "digest": digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "description": version.description,
        "metadata": json.dumps(version.metadata) if version.metadata else None,
        "aliases": [{"artifactCollectionName": version.name, "alias": alias} for alias in version.aliases],
        "tags": [{"tagName": tag} for tag in version.tags],
        "ttlDurationSeconds": version.ttl_seconds,
        "clientID": version.client_id,
        "sequenceClientID": version.sequence_client_id,
        "enableDigestDeduplication": True,
    }
    # Only when they are asked for: a server may be older than they are.
    given |= {"storageRegion": version.storage_region} if version.storage_region else {}
    given |= {"historyStep": version.history_step} if version.history_step is not None else {}
    data = execute(transport, documents.CREATE_ARTIFACT, {"input": given}, where=version.where)
    made = (data.get("createArtifact") or {}).get("artifact") or {}
    if not made.get("id"):
        raise ProtocolError("CreateArtifact: the answer has no artifact", where=version.where)
    result: dict[str, Any] = made
    return result


def _manifest(
    transport: Transport, version: NewVersion, artifact_id: str, *, digest: str, upload: bool
) -> dict[str, Any]:
    variables = {
        "artifactID": artifact_id,
        "baseArtifactID": version.base_id,
        "name": _MANIFEST_NAME,
        "digest": digest,
        "entityName": version.entity,
        "projectName": version.project,
        "runName": version.run_id,
        "manifestType": "FULL",
        "includeUpload": upload,
    }
    data = execute(transport, documents.CREATE_MANIFEST, variables, where=version.where)
    manifest: dict[str, Any] = (data.get("createArtifactManifest") or {}).get("artifactManifest") or {}
    if not manifest.get("id") or not manifest.get("file"):
        raise ProtocolError("CreateArtifactManifest: the answer has no manifest", where=version.where)
    return manifest


# -- files -------------------------------------------------------------------------------------------------


def _upload_files(
    transport: Transport, version: NewVersion, artifact_id: str, manifest_id: str
) -> dict[str, str]:
    """Upload what the server lacks; the version that each file's content came with, by path."""
    births: dict[str, str] = {}
    paths = [path for path in sorted(version.sources) if version.entries[path].ref is None]
    with (
        workers(_WORKERS, "wandb-ops-upload") as pool,
        workers(_PART_WORKERS, "wandb-ops-part") as part_pool,
    ):
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            parts = {path: _parts(version, path) for path in batch}
            nodes = _ask(transport, version, batch, parts, artifact_id, manifest_id)
            births.update(
                (path, str((node.get("artifact") or {}).get("id") or artifact_id))
                for path, node in zip(batch, nodes, strict=True)
            )
            jobs = [
                _Upload(transport, version, path, node, parts[path], artifact_id, part_pool)
                for path, node in zip(batch, nodes, strict=True)
            ]
            _run_all(pool, [job.run for job in jobs])
    return births


def _run_all(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], None]]) -> None:
    """All of them; the first failure ends those that did not begin yet."""
    futures = [pool.submit(call) for call in calls]
    try:
        for future in futures:
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    start: int
    size: int
    md5: str  # hexadecimal


def _parts(version: NewVersion, path: str) -> list[_Part]:
    """The parts of a file that is sent in parts; none for a smaller one."""
    size, source = version.entries[path].size or 0, version.sources[path]
    if size < version.multipart_threshold:
        return []
    length = max(version.part_size, -(-size // _MOST_PARTS))
    return list(_cut(source, size, length))


def _cut(source: Source, size: int, length: int) -> Iterator[_Part]:
    for number, start in enumerate(range(0, size, length), 1):
        data = source.read(start, length)
        yield _Part(number, start, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())


def _ask(
    transport: Transport,
    version: NewVersion,
    batch: Sequence[str],
    parts: Mapping[str, Sequence[_Part]],
    artifact_id: str,
    manifest_id: str,
) -> list[dict[str, Any]]:
    """Where each file is to be put."""
    specs = [
        {
            "artifactID": artifact_id,
            "artifactManifestID": manifest_id,
            "name": path,
            "md5": version.entries[path].digest,
            "uploadPartsInput": [{"partNumber": part.number, "hexMD5": part.md5} for part in parts[path]]
            or None,
        }
        for path in batch
    ]
    given = {"artifactFiles": specs, "storageLayout": "V2"}
    data = execute(transport, documents.CREATE_FILES, {"input": given}, where=version.where)
    edges = ((data.get("createArtifactFiles") or {}).get("files") or {}).get("edges") or ()
    nodes = [edge["node"] for edge in edges if edge and edge.get("node")]
    if len(nodes) != len(batch):
        raise ProtocolError(
            f"CreateArtifactFiles: {len(batch)} files were named and {len(nodes)} answered",
            where=version.where,
        )
    return nodes


@dataclass(frozen=True, slots=True)
class _Upload:
    transport: Transport
    version: NewVersion
    path: str
    node: Mapping[str, Any]
    parts: Sequence[_Part]
    artifact_id: str
    part_pool: ThreadPoolExecutor

    @property
    def where(self) -> str:
        return f"{self.version.where}/{terminal_safe(self.path)}"

    def run(self) -> None:
        multipart = self.node.get("uploadMultipartUrls")
        if multipart and self.parts:
            self._send_parts(multipart)
        elif url := self.node.get("uploadUrl"):
            source = self.version.sources[self.path]
            source.check(self.where)
            headers = _headers(self.node, self.where)
            data = source.path if source.path is not None else source.data
            self.transport.upload(url, data, headers=headers, where=self.where)

    def _send_parts(self, multipart: Mapping[str, Any]) -> None:
        urls = {int(part["partNumber"]): part["uploadUrl"] for part in multipart["uploadUrlParts"]}
        if sorted(urls) != [part.number for part in self.parts]:
            raise ProtocolError(
                "CreateArtifactFiles: the parts answered are not those named", where=self.where
            )
        _run_all(self.part_pool, [self._sender(part, urls[part.number]) for part in self.parts])
        variables = {
            "completeMultipartAction": "Complete",
            "completedParts": [{"partNumber": part.number, "hexMD5": part.md5} for part in self.parts],
            "artifactID": self.artifact_id,
            "storagePath": self.node.get("storagePath") or "",
            "uploadID": multipart["uploadID"],
        }
        execute(self.transport, documents.COMPLETE_MULTIPART, variables, where=self.where)

    def _sender(self, part: _Part, url: str) -> Callable[[], None]:
        def send() -> None:
            source = self.version.sources[self.path]
            source.check(self.where)
            data = source.read(part.start, part.size)
            headers = {"Content-MD5": md5_of_bytes(data)}
            self.transport.upload(url, data, headers=headers, where=self.where)

        return send


def _headers(node: Mapping[str, Any], where: str) -> dict[str, str]:
    return dict(upload_header(line, where) for line in node.get("uploadHeaders") or ())


__all__ = ["MULTIPART_THRESHOLD", "NewVersion", "Source", "Stored", "client_id", "store"]
