"""Getting an artifact's files: at once, streamed, checked, and each put in place in one step.

Every name is checked before the first byte is asked for, so that a manifest with one bad name writes nothing.
"""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wandb_ops.errors import ChecksumMismatch, Error, NotFoundError, ProtocolError, UsageError
from wandb_ops.protocol.documents.artifacts import FILE_URLS
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.manifest import md5_of_file
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.artifacts.addresses import ARTIFACT_SCHEME, local_path, referenced
from wandb_ops.public.artifacts.objectstores import STORES, fetch_object
from wandb_ops.redaction import safe_url
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from typing import BinaryIO

    from wandb_ops.protocol.manifest import Entry
    from wandb_ops.public.artifacts.artifacts import Artifact

logger = logging.getLogger("wandb_ops.public")

_WORKERS = 16
_BATCH = 500  # files whose addresses are asked for at once: they are good for a while only
_DEEPEST = 8
_PIECE = 1 << 20
_PART = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Job:
    """An entry, as it is named in its artifact, and where it is to lie."""

    entry: Entry
    path: Path


def download_entries(
    artifact: Artifact,
    entries: Sequence[Entry],
    root: Path,
    *,
    allow_missing_references: bool,
) -> list[Path]:
    """Save entries below `root`; what is there already with the right content stays. Returns the paths.

    Raises:
        UnsafePath: A name would leave `root`; nothing was written.
        ChecksumMismatch: What came is not what the manifest says.
        NotFoundError: A file, or what a reference leads to, is gone.
        UsageError: A reference leads where this client cannot go.
    """
    jobs = [_Job(entry, safe_path(root, entry.path)) for entry in entries]
    gone: set[Path] = set()
    with workers(_WORKERS, "wandb-ops-download") as pool:
        _Download(artifact, pool, gone if allow_missing_references else None).run(jobs)
    return [job.path for job in jobs if job.path not in gone]


@dataclass(frozen=True, slots=True)
class _Download:
    """Saves entries of one artifact; `gone` takes what is missing, or is None when that is an error."""

    artifact: Artifact
    pool: ThreadPoolExecutor
    gone: set[Path] | None
    depth: int = 0

    def run(self, jobs: Sequence[_Job]) -> None:
        files = [job for job in jobs if job.entry.ref is None]
        for start in range(0, len(files), _BATCH):
            self._files(files[start : start + _BATCH])
        elsewhere: dict[str, list[_Job]] = {}
        outside = []
        for job in jobs:
            address = urlsplit(job.entry.ref or "")
            if address.scheme == ARTIFACT_SCHEME:
                elsewhere.setdefault(address.netloc, []).append(job)
            elif job.entry.ref is not None:
                outside.append(job)
        self._all([partial(self._outside, job) for job in outside])
        for group in elsewhere.values():
            self._artifact(group)

    def _all(self, calls: Sequence[Callable[[], None]]) -> None:
        """All of them at once; the first failure ends those that did not begin yet."""
        futures = [self.pool.submit(call) for call in calls]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _files(self, jobs: Sequence[_Job]) -> None:
        there = self.pool.map(lambda job: _is_there(job.entry, job.path), jobs)
        missing = [job for job, found in zip(jobs, there, strict=True) if not found]
        urls = _urls(self.artifact, [job.entry for job in missing])
        calls = []
        for job in missing:
            url = urls.get(job.entry.path)
            if url:
                calls.append(partial(_fetch, self.artifact, job.entry, job.path, url))
                continue
            lost = _lost(self.artifact, job.entry)
            if not self.depth:
                raise lost
            self._missing(job, lost)
        self._all(calls)

    def _missing(self, job: _Job, error: Error) -> None:
        """What a reference leads to is not there."""
        if self.gone is None:
            raise error
        logger.warning("%s: %s", self.artifact._where, error)
        self.gone.add(job.path)

    def _outside(self, job: _Job) -> None:
        try:
            _fetch_reference(self.artifact, job.entry, job.path)
        except (NotFoundError, UsageError) as error:
            self._missing(job, error)

    def _artifact(self, jobs: Sequence[_Job]) -> None:
        """References into one other artifact: it is looked up once."""
        if self.depth >= _DEEPEST:
            raise UsageError(
                f"References lead on and on: {_DEEPEST} were followed",
                where=f"{self.artifact._where}/{jobs[0].entry.path}",
            )
        found: list[_Job] = []
        other: Artifact | None = None
        for job in jobs:
            try:
                if other is None:
                    other, name = referenced(self.artifact, job.entry.ref or "")
                else:
                    name = urlsplit(job.entry.ref or "").path.lstrip("/")
                found.append(_Job(other.get_entry(name)._entry, job.path))
            except (NotFoundError, UsageError) as error:
                self._missing(job, error)
        if other is not None:
            _Download(other, self.pool, self.gone, self.depth + 1).run(found)


def _is_there(entry: Entry, path: Path) -> bool:
    if not entry.is_md5 or not path.is_file() or path.stat().st_size != entry.size:
        return False
    return md5_of_file(path) == entry.digest


def file_urls(artifact: Artifact, entries: Sequence[Entry]) -> dict[str, str]:
    """Where the bytes of each of these files are: signed addresses, by path, good for a while.

    Raises:
        NotFoundError: The artifact, or one of the files, is gone.
    """
    urls = _urls(artifact, entries)
    for entry in entries:
        if not urls.get(entry.path):
            raise _lost(artifact, entry)
    return urls


def _lost(artifact: Artifact, entry: Entry) -> NotFoundError:
    return NotFoundError(f"The server does not have the file {entry.path!r}", where=artifact._where)


def _urls(artifact: Artifact, entries: Sequence[Entry]) -> dict[str, str]:
    """As `file_urls`, of those that the server has."""
    if not entries:
        return {}
    variables = {
        "id": artifact.id,
        "storageLayout": artifact._layout,
        "manifestVersion": "1",
        "entries": [
            {
                "name": entry.path,
                "digest": entry.digest,
                "birthArtifactID": entry.birth_artifact_id,
                "size": entry.size,
            }
            for entry in {entry.path: entry for entry in entries}.values()  # several may refer to one
        ],
    }
    data = execute(artifact._need_transport(), FILE_URLS, variables, where=artifact._where)
    found = (data.get("artifact") or {}).get("filesByManifestEntries")
    if found is None:
        raise NotFoundError("There is no such artifact any more", where=artifact._where)
    if (found.get("pageInfo") or {}).get("hasNextPage"):
        raise ProtocolError("The server gave only some of the files' addresses", where=artifact._where)
    return {edge["node"]["name"]: edge["node"]["directUrl"] for edge in found["edges"] if edge.get("node")}


def is_part(path: Path) -> bool:
    """Whether this is a file that a download is, or was, still writing."""
    return _PART.fullmatch(path.name) is not None


def _place(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place and move it there whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as sink:
            write(sink)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _fetch(artifact: Artifact, entry: Entry, path: Path, url: str) -> None:
    transport = artifact._need_transport()
    _place(
        path,
        lambda sink: transport.download(
            url,
            sink,
            where=f"{artifact._where}/{entry.path}",
            expected_size=entry.size,
            expected_md5_b64=entry.digest if entry.is_md5 else None,
        ),
    )


# -- references --------------------------------------------------------------------------------------------


def _fetch_reference(artifact: Artifact, entry: Entry, path: Path) -> None:
    """Save what a reference to something outside of W&B leads to. W&B's key goes to no other origin."""
    ref = entry.ref or ""
    scheme = urlsplit(ref).scheme
    where = f"{artifact._where}/{entry.path}"
    if scheme == "file":
        _copy(local_path(ref), entry, path, where)
    elif scheme in {"http", "https"}:
        transport = artifact._need_transport()
        tag = entry.digest if entry.extra.get("etag") else None

        def check(headers: Mapping[str, str]) -> None:
            now = headers.get("ETag", "").strip('"')
            if tag is not None and now != tag:
                raise ChecksumMismatch(
                    f"The reference leads to {safe_url(ref)}, which is not what it was: its tag is {now!r},"
                    f" not {tag!r}",
                    where=where,
                )

        _place(
            path,
            lambda sink: transport.download(ref, sink, where=where, expected_size=entry.size, check=check),
        )
    elif scheme in STORES:
        _place(path, lambda sink: fetch_object(entry, sink, where))
    else:
        raise UsageError(
            f"The reference leads to {scheme}://, where this client does not go",
            where=where,
            hint="Get it with the storage's own tools from entry.ref, or pass allow_missing_references=True.",
        )


def _copy(source: Path, entry: Entry, path: Path, where: str) -> None:
    """Copy what a `file://` reference leads to, if it is still what it was."""
    if not source.is_file():
        raise NotFoundError(f"The reference leads to {str(source)!r}, which is not there", where=where)
    if md5_of_file(source) != entry.digest:
        raise ChecksumMismatch(
            f"The reference leads to {str(source)!r}, which is not what it was", where=where
        )

    def write(sink: BinaryIO) -> None:
        with source.open("rb") as handle:
            while piece := handle.read(_PIECE):
                sink.write(piece)

    _place(path, write)
