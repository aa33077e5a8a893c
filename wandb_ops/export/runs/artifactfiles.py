"""The files of the versions that runs logged, below one folder per version.

A version never changes, so a version that was taken whole is known by its mark, a small JSON file beside its
folder that holds its digest and each file's size and MD5: it costs no request.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AuthenticationError, Error, ProtocolError
from wandb_ops.export.places.naming import safe_name
from wandb_ops.export.places.places import child
from wandb_ops.export.places.targets import explained, folder
from wandb_ops.export.places.tree import holds, place_in, put
from wandb_ops.export.request.project import NotTaken, Taken
from wandb_ops.export.rows.metadata import seal, unseal
from wandb_ops.export.runs.artifactlist import is_whole, source_of_node
from wandb_ops.protocol.manifest import manifest_digest
from wandb_ops.public.artifacts.artifacts import Artifact, source_path
from wandb_ops.public.artifacts.download import file_urls

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from wandb_ops.export.places.targets import Target
    from wandb_ops.export.runs.artifactlist import Node
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.protocol.manifest import Entry
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.export")

MARK = ".wandb-ops.json"
_WORKERS = 8  # files at once, of all versions; requests have a limit of their own
_AT_ONCE = 100  # files whose addresses are asked for together: they are good for a while only
REFERENCES = "references of artifacts to files elsewhere"


@dataclass(frozen=True, slots=True)
class VersionPlace:
    """Where the files of one version go.

    Attributes:
        to: The export's folder.
        shelf: Path below it of the collection's folder, every part a name that is safe.
        version: Folder of the version in it.
    """

    to: str | os.PathLike[str]
    shelf: str
    version: str

    @classmethod
    def of(cls, to: str | os.PathLike[str], below: str, node: Node) -> VersionPlace:
        """The place of a version, below the folder `below` of the export."""
        _, _, collection, version = source_of_node(node)
        kind = str((node.get("artifactType") or {}).get("name") or "")
        return cls(to, f"{below}/{safe_name(kind)}/{safe_name(collection)}", safe_name(version))

    @property
    def shown(self) -> str:
        """Path below the export's folder."""
        return f"{self.shelf}/{self.version}"

    @property
    def mark(self) -> Target:
        """The file that says what was taken."""
        return folder(child(self.to, self.shelf)).file(f"{self.version}{MARK}")

    def file(self, name: str) -> Target:
        """The place of one file of the version."""
        return place_in(folder(child(self.to, self.shown)), name)


class ArtifactTaker:
    """Takes each version once, whichever runs name it.

    Args:
        transport: The connection.
        to: The export's folder.
        below: Path below it under which versions go.
        force: Fetch even what is there.
    """

    def __init__(self, transport: Transport, to: str | os.PathLike[str], below: str, *, force: bool) -> None:
        self._transport = transport
        self._to = to
        self._below = below
        self._force = force
        self._begun: set[str] = set()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="wandb-artifacts")
        self._lock = threading.Lock()

    def missing(self, listed: Listed) -> bool:
        """Whether a version that the run logged is not there; asks the server for no more than the list."""
        return any(self._force or not self._stands(node) for node in logged_of(listed))

    def take(self, listed: Listed) -> list[Taken | NotTaken]:
        """Bring the files of every version that the run logged. One that fails keeps no other back."""
        run_id = listed.ref.run_id
        outcomes: list[Taken | NotTaken] = []
        written = size = files = references = 0
        for node in logged_of(listed):
            with self._lock:
                if node["id"] in self._begun:
                    continue
                self._begun.add(node["id"])
            if not self._force and self._stands(node):
                continue
            try:
                brought = self._version(node)
            except AuthenticationError:
                raise
            except (Error, OSError) as error:
                outcomes.append(NotTaken.of(run_id, "artifacts", error))
                continue
            written, references = written + 1, references + brought.references
            files, size = files + brought.files, size + brought.bytes
        if written or not outcomes:
            action = "written" if written else "unchanged"
            outcomes.append(
                Taken(
                    run_id=run_id,
                    what="artifacts",
                    action=action,  # type: ignore[arg-type]  # one of two
                    artifacts=written,
                    files=files,
                    bytes=size,
                    left_out={REFERENCES: references} if references else {},
                )
            )
        return outcomes

    def _stands(self, node: Node) -> bool:
        """Whether the mark says that just this version is there, and its files are."""
        place = VersionPlace.of(self._to, self._below, node)
        mark = read_version_mark(place.mark)
        if mark is None or (mark.get("id"), mark.get("digest")) != (node["id"], node.get("digest")):
            return False
        return all(place.file(name).exists() for name in mark["files"])

    def _version(self, node: Node) -> _Brought:
        artifact = Artifact._of_node(self._transport, source_path(node), node)
        entries = {path: entry._entry for path, entry in artifact.manifest.entries.items()}
        if manifest_digest(entries) != artifact.digest:
            raise ProtocolError("The manifest is not that of the version's digest", where=artifact._where)
        place = VersionPlace.of(self._to, self._below, node)
        # Every name is looked at before the first byte is asked for.
        wanted = [(entry, place.file(path)) for path, entry in entries.items() if entry.ref is None]
        files = size = 0
        missing = [one for one in wanted if self._force or not holds(one[1], one[0].size, _md5(one[0]))]
        for start in range(0, len(missing), _AT_ONCE):
            part = missing[start : start + _AT_ONCE]
            urls = file_urls(artifact, [entry for entry, _ in part])
            fetched = [
                self._pool.submit(self._fetch, artifact, entry, target, urls[entry.path])
                for entry, target in part
            ]
            try:
                for (entry, _), future in zip(part, fetched, strict=True):
                    if future.result():
                        files, size = files + 1, size + (entry.size or 0)
            finally:
                for future in fetched:
                    future.cancel()
        references = {path: entry.ref for path, entry in entries.items() if entry.ref is not None}
        words = {
            "kind": "artifact",
            "id": node["id"],
            "name": "{}/{}/{}:{}".format(*source_of_node(node)),
            "digest": node.get("digest"),
            "files": {path: [e.size, _md5(e)] for path, e in entries.items() if e.ref is None},
            "references": references,
        }
        mark = place.mark
        put(mark, lambda out: out.write(seal(words) + b"\n"))
        return _Brought(files, size, len(references))

    def _fetch(self, artifact: Artifact, entry: Entry, target: Target, url: str) -> bool:
        where = f"{artifact._where}/{entry.path}"
        md5 = _md5(entry) or None
        return put(
            target,
            lambda out: self._transport.download(
                url, out, where=where, expected_size=entry.size, expected_md5_b64=md5
            ),
        )


@dataclass(frozen=True, slots=True)
class _Brought:
    files: int
    bytes: int
    references: int


def read_version_mark(mark: Target) -> dict[str, Any] | None:
    """What was taken of a version; None when nothing was, or the mark is damaged or foreign."""
    with explained(mark.uri, "read"):
        if not mark.exists():
            return None
        with mark.open() as file:
            words, sealed = unseal(file.read())
    whole = sealed and words.get("kind") == "artifact" and isinstance(words.get("files"), dict)
    return words if whole else None


def version_problems(to: str | os.PathLike[str], below: str, node: Node) -> Iterator[str] | None:
    """What is wrong with the files of a version, every byte of them read; None when it was never taken."""
    place = VersionPlace.of(to, below, node)
    mark = read_version_mark(place.mark)
    if mark is None or (mark.get("id"), mark.get("digest")) != (node["id"], node.get("digest")):
        return None
    return (
        f"{place.shown}/{name}: the bytes are not those that were logged"
        for name, (size, md5) in mark["files"].items()
        if (not place.file(name).exists()) or (md5 and not holds(place.file(name), size, md5))
    )


def logged_of(listed: Listed) -> list[Node]:
    """The versions that a run logged and that are whole."""
    if listed.book is None:
        return []
    return [node for node in listed.book.of(listed.ref.run_id).logged if is_whole(node)]


def _md5(entry: Entry) -> str:
    return entry.digest if entry.is_md5 else ""
