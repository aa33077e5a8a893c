"""Contents of artifacts: what is to be uploaded, what is stored already, parts put together, manifests.

A file is kept once per project and MD5, at ``artifacts/<project>/<random>``. Names are keys in tables and
never become paths here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import check_file_name, encode_id
from wandb_ops.local.runs.files import Upload

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from wandb_ops.local.artifacts.artifacts import Artifact

FULL, INCREMENTAL, PATCH = "FULL", "INCREMENTAL", "PATCH"
_DIGEST_HEADER = b"wandb-artifact-manifest-v1\n"
_PIECE = 1 << 20
MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored content; ``birth`` is the version that brought it."""

    pk: int
    project: int
    md5: str
    size: int
    blob: str
    birth: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One row of ``artifact_manifests``; ``blob`` is None until its content arrived."""

    pk: int
    artifact: int
    name: str
    type: str
    digest: str
    base: int | None
    size: int | None
    blob: str | None
    created_at: int

    @property
    def id(self) -> str:
        """The opaque id of the manifest."""
        return encode_id("ArtifactManifest", self.pk)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or reference of a version."""

    name: str
    digest: str
    size: int
    ref: str | None
    birth: str | None


_BLOB = "SELECT id, project, md5, size, blob, birth FROM artifact_blobs"
_MANIFEST = "SELECT id, artifact, name, type, digest, base, size, blob, created_at FROM artifact_manifests"


def check_md5(value: str) -> str:
    """An MD5 in base64, or :class:`Refused`."""
    try:
        good = len(base64.b64decode(value, validate=True)) == 16
    except ValueError:
        good = False
    if not good:
        raise Refused("md5 must be the base64 of an MD5")
    return value


# -- contents ----------------------------------------------------------------------------------------------


def find_blob(db: sqlite3.Connection, project: int, md5: str) -> Blob | None:
    """The project's content with that MD5, or None."""
    row = db.execute(f"{_BLOB} WHERE project=? AND md5=?", (project, md5)).fetchone()
    return Blob(*row) if row else None


def blob_by_pk(db: sqlite3.Connection, pk: int) -> Blob | None:
    """The content with that row number, or None."""
    row = db.execute(f"{_BLOB} WHERE id=?", (pk,)).fetchone()
    return Blob(*row) if row else None


def keep_blob(
    db: sqlite3.Connection, now: int, project: int, birth: int, md5: str, size: int, blob: str
) -> bool:
    """Note a content that arrived; False when the project has it already and ``blob`` is not needed."""
    done = db.execute(
        "INSERT OR IGNORE INTO artifact_blobs(project, md5, size, blob, birth, created_at)"
        " VALUES(?,?,?,?,?,?)",
        (project, md5, size, blob, birth, now),
    )
    return done.rowcount == 1


def declare(db: sqlite3.Connection, artifact: int, name: str, md5: str) -> int:
    """Note that the version will have this file; returns the number of the upload."""
    check_file_name(name)
    row = db.execute(
        "INSERT INTO artifact_uploads(artifact, name, md5) VALUES(?,?,?)"
        " ON CONFLICT(artifact, name) DO UPDATE SET md5=excluded.md5 RETURNING id",
        (artifact, name, check_md5(md5)),
    ).fetchone()
    return int(row[0])


def upload_of(db: sqlite3.Connection, pk: int) -> tuple[int, str, str]:
    """Version, name and MD5 of an upload; :class:`NotFound` when there is none."""
    row = db.execute("SELECT artifact, name, md5 FROM artifact_uploads WHERE id=?", (pk,)).fetchone()
    if row is None:
        raise NotFound("no such upload")
    return int(row[0]), str(row[1]), str(row[2])


def keep_part(db: sqlite3.Connection, upload: int, number: int, md5: str, size: int, blob: str) -> str | None:
    """Note a part that arrived; returns the blob that it replaces."""
    known = db.execute(
        "SELECT blob FROM artifact_parts WHERE upload=? AND number=?", (upload, number)
    ).fetchone()
    db.execute(
        "INSERT OR REPLACE INTO artifact_parts(upload, number, md5, size, blob) VALUES(?,?,?,?,?)",
        (upload, number, md5, size, blob),
    )
    return str(known[0]) if known else None


def parts(db: sqlite3.Connection, upload: int) -> list[tuple[int, str, str]]:
    """Number, MD5 in hexadecimal, and blob of the parts that arrived, in order."""
    rows = db.execute(
        "SELECT number, md5, blob FROM artifact_parts WHERE upload=? ORDER BY number", (upload,)
    )
    return [(number, md5, blob) for number, md5, blob in rows]


def join_parts(folder: Path, blobs: Iterable[str]) -> Upload:
    """One content of several parts, not committed yet."""
    whole = Upload(folder)
    try:
        for blob in blobs:
            with (folder / blob).open("rb") as handle:
                while piece := handle.read(_PIECE):
                    whole.write(piece)
    except BaseException:
        whole.discard()
        raise
    return whole


def drop_parts(db: sqlite3.Connection, upload: int) -> None:
    """Forget the parts of an upload; their blobs are the caller's to remove."""
    db.execute("DELETE FROM artifact_parts WHERE upload=?", (upload,))


def attached(db: sqlite3.Connection, *, artifact: int = 0, sequence: int = 0) -> list[str]:
    """Blobs of the manifests and single parts of a version, or of all versions of a sequence."""
    rows = db.execute(
        "SELECT m.blob FROM artifact_manifests m JOIN artifacts a ON a.id=m.artifact"
        " WHERE m.blob IS NOT NULL AND (a.id=?1 OR a.sequence=?2) UNION ALL"
        " SELECT p.blob FROM artifact_parts p JOIN artifact_uploads u ON u.id=p.upload"
        " JOIN artifacts a ON a.id=u.artifact WHERE a.id=?1 OR a.sequence=?2",
        (artifact, sequence),
    )
    return [row[0] for row in rows]


def unreferenced(db: sqlite3.Connection, project: int) -> list[str]:
    """Remove contents that no version of the project has or is about to have; returns their blobs."""
    rows = db.execute(
        "DELETE FROM artifact_blobs WHERE project=?1 AND md5 NOT IN ("
        "  SELECT e.digest FROM artifact_entries e JOIN artifacts a ON a.id=e.artifact"
        "  JOIN artifact_collections c ON c.id=a.sequence WHERE c.project=?1 AND e.ref IS NULL"
        " ) AND md5 NOT IN ("
        "  SELECT u.md5 FROM artifact_uploads u JOIN artifacts a ON a.id=u.artifact"
        "  JOIN artifact_collections c ON c.id=a.sequence WHERE c.project=?1 AND a.state='PENDING'"
        " ) RETURNING blob",
        (project,),
    ).fetchall()
    return [row[0] for row in rows]


# -- manifests ---------------------------------------------------------------------------------------------


def make_manifest(
    db: sqlite3.Connection, now: int, artifact: int, name: str, kind: str, digest: str, base: int | None
) -> Manifest:
    """A manifest to be uploaded; the same name again is the same manifest with a new digest."""
    known = db.execute(
        f"{_MANIFEST} WHERE artifact=? AND name=? AND type=?", (artifact, name, kind)
    ).fetchone()
    if known is None:
        pk = db.execute(
            "INSERT INTO artifact_manifests(artifact, name, type, digest, base, created_at)"
            " VALUES(?,?,?,?,?,?) RETURNING id",
            (artifact, name, kind, digest, base, now),
        ).fetchone()[0]
        return manifest_by_pk(db, pk)
    return change_manifest(db, Manifest(*known), digest, base)


def change_manifest(db: sqlite3.Connection, manifest: Manifest, digest: str, base: int | None) -> Manifest:
    """Say what content the manifest will have."""
    db.execute(
        "UPDATE artifact_manifests SET digest=?, base=coalesce(?, base) WHERE id=?",
        (digest or manifest.digest, base, manifest.pk),
    )
    return manifest_by_pk(db, manifest.pk)


def manifest_by_pk(db: sqlite3.Connection, pk: int) -> Manifest:
    """The manifest with that row number, or :class:`NotFound`."""
    row = db.execute(f"{_MANIFEST} WHERE id=?", (pk,)).fetchone()
    if row is None:
        raise NotFound("artifact manifest not found")
    return Manifest(*row)


def keep_manifest(db: sqlite3.Connection, pk: int, md5: str, size: int, blob: str) -> str | None:
    """Note a manifest's content; returns the blob that it replaces."""
    known = manifest_by_pk(db, pk)
    db.execute("UPDATE artifact_manifests SET digest=?, size=?, blob=? WHERE id=?", (md5, size, blob, pk))
    return known.blob


def current_manifest(db: sqlite3.Connection, artifact: int) -> Manifest | None:
    """The newest manifest whose content is there."""
    row = db.execute(
        f"{_MANIFEST} WHERE artifact=? AND blob IS NOT NULL ORDER BY id DESC LIMIT 1", (artifact,)
    ).fetchone()
    return Manifest(*row) if row else None


def read_manifest(content: bytes) -> dict[str, Any]:
    """A manifest's JSON, checked for shape."""
    try:
        manifest = json.loads(content)
        entries = manifest["contents"]
        good = all(isinstance(entry["digest"], str) for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise Refused("the manifest is not one: version, storagePolicy and contents with digests are wanted")
    result: dict[str, Any] = manifest
    return result


def digest_of(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of a version with these entries."""
    found = hashlib.md5(_DIGEST_HEADER, usedforsecurity=False)
    for name in sorted(entries):
        found.update(f"{name}:{entries[name]['digest']}\n".encode())
    return found.hexdigest()


def keep_entries(
    db: sqlite3.Connection, artifact: Artifact, contents: Mapping[str, Mapping[str, Any]]
) -> None:
    """Take what a manifest names as the version's files; :class:`Refused` when one was not uploaded."""
    total = stored = 0
    for name, entry in contents.items():
        check_file_name(name)
        ref = entry.get("ref")
        size = int(entry.get("size") or 0)
        if ref is None:
            blob = find_blob(db, artifact.project_pk, entry["digest"])
            if blob is None:
                raise Refused(f"the file {name} was not uploaded")
            size = blob.size
            stored += size
        total += size
        db.execute(
            "INSERT INTO artifact_entries(artifact, name, digest, size, ref, birth) VALUES(?,?,?,?,?,?)",
            (artifact.pk, name, entry["digest"], size, ref, entry.get("birthArtifactID")),
        )
    db.execute(
        "UPDATE artifacts SET size=?, storage_bytes=?, file_count=? WHERE id=?",
        (total, stored, len(contents), artifact.pk),
    )


def entries(
    db: sqlite3.Connection, artifact: int, *, names: list[str] | None, after: str, first: int
) -> list[Entry]:
    """Up to ``first`` entries of a version by name, behind the name ``after``."""
    rows = db.execute(
        "SELECT name, digest, size, ref, birth FROM artifact_entries"
        " WHERE artifact=? AND name>? AND (? IS NULL OR name IN (SELECT value FROM json_each(?)))"
        " ORDER BY name LIMIT ?",
        (artifact, after, *[json.dumps(names) if names else None] * 2, first),
    )
    return [Entry(*row) for row in rows]


def count_entries(db: sqlite3.Connection, artifact: int) -> int:
    """How many entries the version has."""
    query = "SELECT count(*) FROM artifact_entries WHERE artifact=?"
    return int(db.execute(query, (artifact,)).fetchone()[0])


def entry_at(db: sqlite3.Connection, artifact: int, digest: str) -> Entry | None:
    """An entry of the version with that digest."""
    row = db.execute(
        "SELECT name, digest, size, ref, birth FROM artifact_entries WHERE artifact=? AND digest=? LIMIT 1",
        (artifact, digest),
    ).fetchone()
    return Entry(*row) if row else None
