"""Getting an artifact's files: at once, streamed, checked, and each put in place in one step.

Every name is checked before the first byte is asked for, so that a manifest with one bad name writes nothing.
"""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wandb_ops.errors import ChecksumMismatch, NotFoundError, ProtocolError, UsageError
from wandb_ops.protocol.documents.artifacts import FILE_URLS
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.manifest import md5_of_file
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.artifacts.entries import ARTIFACT_SCHEME, referenced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from wandb_ops.protocol.manifest import Entry
    from wandb_ops.public.artifacts.artifacts import Artifact

logger = logging.getLogger("wandb_ops.public")

_WORKERS = 16
_BATCH = 500  # files whose addresses are asked for at once: they are good for a while only
_DEEPEST = 8
_PIECE = 1 << 20


def download_entries(
    artifact: Artifact,
    entries: Sequence[Entry],
    root: Path,
    *,
    allow_missing_references: bool,
    depth: int = 0,
) -> list[Path]:
    """Save entries below `root`; what is there already with the right content stays. Returns the paths.

    Raises:
        UnsafePath: A name would leave `root`; nothing was written.
        ChecksumMismatch: What came is not what the manifest says.
        NotFoundError: A file, or what a reference leads to, is gone.
        UsageError: A reference leads where this client cannot go.
    """
    targets = [(entry, safe_path(root, entry.path)) for entry in entries]
    files = [(entry, path) for entry, path in targets if entry.ref is None]
    with ThreadPoolExecutor(_WORKERS, "wandb-ops-download") as pool:
        for start in range(0, len(files), _BATCH):
            missing = [
                item
                for item, there in zip(
                    files[start : start + _BATCH],
                    pool.map(lambda item: _is_there(*item), files[start : start + _BATCH]),
                    strict=True,
                )
                if not there
            ]
            urls = _urls(artifact, [entry for entry, _ in missing])
            futures = [
                pool.submit(_fetch, artifact, entry, path, urls[entry.path]) for entry, path in missing
            ]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
    gone = set()
    for entry, path in targets:
        if entry.ref is None:
            continue
        try:
            _fetch_reference(artifact, entry, path, depth)
        except (NotFoundError, UsageError) as error:
            if not allow_missing_references:
                raise
            logger.warning("%s: %s", artifact._where, error)
            gone.add(path)
    return [path for _, path in targets if path not in gone]


def _is_there(entry: Entry, path: Path) -> bool:
    if not entry.is_md5 or not path.is_file() or path.stat().st_size != entry.size:
        return False
    return md5_of_file(path) == entry.digest


def _urls(artifact: Artifact, entries: Sequence[Entry]) -> dict[str, str]:
    """Where each file's bytes are."""
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
            for entry in entries
        ],
    }
    data = execute(artifact._need_transport(), FILE_URLS, variables, where=artifact._where)
    found = (data.get("artifact") or {}).get("filesByManifestEntries")
    if found is None:
        raise NotFoundError("There is no such artifact any more", where=artifact._where)
    if (found.get("pageInfo") or {}).get("hasNextPage"):
        raise ProtocolError("The server gave only some of the files' addresses", where=artifact._where)
    urls = {edge["node"]["name"]: edge["node"]["directUrl"] for edge in found["edges"] if edge.get("node")}
    for entry in entries:
        if not urls.get(entry.path):
            raise NotFoundError(f"The server does not have the file {entry.path!r}", where=artifact._where)
    return urls


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


def _fetch_reference(artifact: Artifact, entry: Entry, path: Path, depth: int) -> None:
    ref = entry.ref or ""
    scheme = urlsplit(ref).scheme
    where = f"{artifact._where}/{entry.path}"
    if scheme == ARTIFACT_SCHEME:
        if depth >= _DEEPEST:
            raise UsageError(f"References lead on and on: {_DEEPEST} were followed", where=where)
        other, name = referenced(artifact, ref)
        target = replace(other.get_entry(name)._entry, path=entry.path)
        _fetch_elsewhere(other, target, name, path, depth + 1)
    elif scheme == "file":
        _copy(Path(unquote(urlsplit(ref).path)), entry, path, where)
    elif scheme in {"http", "https"}:
        transport = artifact._need_transport()
        _place(path, lambda sink: transport.download(ref, sink, where=where, expected_size=entry.size))
    else:
        raise UsageError(
            f"The reference leads to {scheme}://, where this client does not go",
            where=where,
            hint="Get it with the storage's own tools from entry.ref, or pass allow_missing_references=True.",
        )


def _fetch_elsewhere(other: Artifact, target: Entry, name: str, path: Path, depth: int) -> None:
    """Save the file `name` of another artifact at `path`."""
    if target.ref is not None:
        _fetch_reference(other, target, path, depth)
    elif not _is_there(target, path):
        source = replace(target, path=name)
        _fetch(other, source, path, _urls(other, [source])[name])


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
