"""What the server stored besides runs, read past every client: versions of artifacts, and queue items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects, queues
from wandb_ops.local.artifacts import artifactfiles, artifacts
from wandb_ops.local.jsontext import loads
from wandb_ops.local.runs import runs
from wandb_ops.local.service import ARTIFACTS

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.artifacts.artifacts import Artifact
    from wandb_ops.local.service import Service


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A committed version of an artifact as it lies in the data folder at one moment.

    Attributes:
        name: ``collection:v3``.
        files: Contents by path; references are not among them.
        references: Addresses by path.
        logged_by: The run that made it, None when that was deleted.
        used_by: The runs that used it, in that order.
    """

    entity: str
    project: str
    name: str
    type: str
    description: str | None
    metadata: dict[str, Any]
    aliases: list[str]
    tags: list[str]
    digest: str
    files: dict[str, bytes]
    references: dict[str, str]
    logged_by: str | None
    used_by: list[str]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item of a launch queue as it lies in the database at one moment.

    Attributes:
        state: ``PENDING``, ``LEASED``, ``CLAIMED``, ``FAILED``, or how its run ended.
        spec: What was pushed.
        run: The run that it became, once an agent said so.
    """

    id: str
    queue: str
    state: str
    spec: dict[str, Any]
    run: str | None


def read_artifact(service: Service, entity: str, project: str, name: str) -> StoredArtifact:
    """A version by ``collection:alias``; ``LookupError`` when there is none."""
    with service.store.reading() as db:
        owner = projects.find(db, entity, project)
        place = artifacts.membership_named(db, owner.pk, name) if owner else None
        found = artifacts.by_pk(db, place.artifact) if place else None
        if place is None or found is None:
            raise LookupError(f"no artifact {entity}/{project}/{name}")
        collection = artifacts.collection_by_pk(db, place.collection)
        assert collection is not None
        entries = artifactfiles.entries(db, found.pk, names=None, after="", first=-1)
        blobs = {
            entry.name: blob
            for entry in entries
            if entry.ref is None
            and (blob := artifactfiles.find_blob(db, found.project_pk, entry.digest)) is not None
        }
        aliases = [alias.alias for alias in artifacts.aliases(db, membership=place.pk)]
        logged, used = _runs(db, found)
    folder = service.folder(ARTIFACTS, found.project_pk)
    return StoredArtifact(
        entity=entity,
        project=project,
        name=f"{collection.name}:v{place.version_index}",
        type=collection.type,
        description=found.description,
        metadata=loads(found.metadata) if found.metadata else {},
        aliases=aliases,
        tags=found.tag_list,
        digest=found.digest,
        files={path: (folder / blob.blob).read_bytes() for path, blob in blobs.items()},
        references={entry.name: entry.ref for entry in entries if entry.ref is not None},
        logged_by=logged,
        used_by=used,
    )


def _runs(db: sqlite3.Connection, artifact: Artifact) -> tuple[str | None, list[str]]:
    logged = runs.by_pk(db, artifact.run) if artifact.run is not None else None
    used = [runs.by_pk(db, pk) for pk, _ in artifacts.used_by(db, artifact.pk)]
    return logged.name if logged else None, [run.name for run in used if run is not None]


def read_queue(service: Service, entity: str, project: str, name: str) -> list[StoredItem]:
    """The items of a queue, oldest first; ``LookupError`` when there is no such queue."""
    now, crash_after = service.store.now(), service.settings.crash_after
    with service.store.reading() as db:
        owner = projects.find(db, entity, project)
        queue = queues.find(db, owner.pk, name) if owner else None
        if queue is None:
            raise LookupError(f"no queue {name!r} in {entity}/{project}")
        return [
            StoredItem(
                id=item.id,
                queue=queue.name,
                state=queues.state(db, now, item, crash_after),
                spec=loads(item.run_spec),
                run=item.associated_run,
            )
            for item in queues.items(db, queue.pk, -1)
        ]
