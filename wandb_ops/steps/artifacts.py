"""Artifacts in pipelines: folders become versions, versions become folders, aliases move.

A version is named by its content: the same files logged twice are one version, whoever logs them.
"""

from __future__ import annotations

import math
import os
import time
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import NotFoundError, UsageError, VerificationFailed
from wandb_ops.steps.results import ArtifactResult, DownloadResult
from wandb_ops.steps.runs import create_run, finish_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wandb_ops.public.api import Api
    from wandb_ops.public.artifacts.artifacts import Artifact

Content = str | os.PathLike[str] | dict[str, str] | None
OnStrangers = Literal["error", "keep", "delete"]

_REGISTRY = "wandb-registry-"
_DEAD_AFTER = 3600.0  # seconds without a byte


def log_artifact(
    api: Api,
    *,
    run: str,
    name: str,
    type: str,
    content: Content = None,
    references: Mapping[str, str] | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    aliases: Iterable[str] = (),
    tags: Iterable[str] = (),
    make_run: bool = False,
) -> ArtifactResult:
    """Store files and references as a version of an artifact, an output of a run.

    Idempotent by content: what the collection holds already is that version, found again, with
    `created=False`; a call that was killed goes on where it stopped. Its aliases, and always `latest`, move
    there.

    Args:
        api: The client.
        run: `entity/project/run_id` of the run that made the content; it may have ended.
        name: The collection.
        type: What kind it is, such as "dataset" or "model".
        content: A file, a folder, or a dict from names in the artifact to files and folders.
        references: Names in the artifact to addresses, whose content stays where it is. Of `file://` the
            content is looked at, so that a change is a new version; of others only the address counts.
        description: Of a new version.
        metadata: Of a new version; JSON's values.
        aliases: Besides `latest`.
        tags: Of a new version.
        make_run: Make the run when it does not exist, and end it as finished: for a task whose only work is
            to log the artifact.

    Raises:
        UsageError: There is nothing to log, a file is not there, or a name cannot be one.
        NotFoundError: There is no such run.
        DataError: A file changed meanwhile.
    """
    from wandb_ops.public.artifacts.artifacts import Artifact

    draft = Artifact(name, type, description, dict(metadata) if metadata is not None else None)
    for shown, place in _contents(content):
        if Path(place).is_dir():
            draft.add_dir(place, shown or None)
        else:
            draft.add_file(place, shown or None)
    for shown, address in (references or {}).items():
        draft.add_reference(address, shown, checksum=address.startswith("file://"))
    if not draft.manifest.entries:
        raise UsageError("there is nothing to log", where=name, hint="Give content= or references=.")
    where = api.locate(run)
    if make_run:
        create_run(
            api,
            project=where.project,
            run_id=where.run_id,
            entity=where.entity,
            job_type="log-artifact",
            on_finished="adopt",
        )
    logged = api.run(str(where)).log_artifact(draft, aliases=list(aliases), tags=list(tags))
    if make_run and api.run(str(where)).state in {"running", "crashed"}:
        finish_run(api, run=str(where))
    # Asked for anew: aliases that another version had are its own now.
    return _result(api.artifact(logged.source_qualified_name), created=not logged.existed, run=str(where))


def use_artifact(
    api: Api, *, artifact: str, run: str, type: str | None = None, use_as: str | None = None
) -> ArtifactResult:
    """Note that a run uses a version, for the lineage graph. Saying it again changes nothing.

    Args:
        api: The client.
        artifact: `entity/project/name:alias`, or `name:version`; without either, `latest`.
        run: `entity/project/run_id`.
        type: What type it has to be of.
        use_as: What it is used as.

    Raises:
        NotFoundError: There is no such version, or no such run.
        UsageError: It is of another type.
    """
    found = api.artifact(artifact, type=type)
    user = api.run(run)
    user.use_artifact(found, use_as=use_as)
    return _result(found, run="/".join(user.path))


def download_artifact(
    api: Api,
    *,
    artifact: str,
    to: str | os.PathLike[str],
    run: str | None = None,
    type: str | None = None,
    path_prefix: str | None = None,
    strangers: OnStrangers = "error",
) -> DownloadResult:
    """Bring a version's files into a folder, each checked; what is there already and right is not fetched.

    Args:
        api: The client.
        artifact: As for `use_artifact`.
        to: Folder on this machine.
        run: Run that uses the version, noted for the lineage graph.
        type: What type it has to be of.
        path_prefix: Only what begins so.
        strangers: Files in the folder that do not belong to the version, such as those of the version that
            was there before: refuse the folder ("error"), "keep" them, or "delete" them.

    Raises:
        VerificationFailed: The folder holds other files; nothing was fetched.
        NotFoundError: There is no such version.
        ChecksumMismatch: What came is not what was logged.
        UnsafePath: A name would leave the folder; nothing was written.
    """
    if strangers not in {"error", "keep", "delete"}:
        raise UsageError(f"strangers is 'error', 'keep' or 'delete', not {strangers!r}", where=artifact)
    found = api.artifact(artifact, type=type)
    folder = Path(to)
    wanted = {
        path: entry
        for path, entry in found.manifest.entries.items()
        if path_prefix is None or path.startswith(path_prefix)
    }
    others = [] if strangers == "keep" else _strangers(folder, set(wanted))
    if others and strangers == "error":
        raise VerificationFailed(
            f"{str(others[0])!r} and {len(others) - 1} more files do not belong to the artifact"
            if len(others) > 1
            else f"{str(others[0])!r} does not belong to the artifact",
            where=found.qualified_name,
            hint='Give each version a folder of its own, or pass strangers="delete".',
        )
    # Files and folders cannot stand in one place: these few have to go before what comes, the others after.
    after = [other for other in others if not _remove_in_the_way(other, folder, set(wanted))]
    found.download(root=folder, path_prefix=path_prefix)
    for other in [*after, *_dead_parts(folder, set(wanted))]:
        other.unlink(missing_ok=True)
    used = ""
    if run is not None:
        user = api.run(run)
        user.use_artifact(found)
        used = "/".join(user.path)
    return DownloadResult(
        artifact=_result(found, run=used),
        folder=str(folder.absolute()),
        files=len(wanted),
        bytes=sum(entry.size or 0 for entry in wanted.values()),
        deleted=len(others),
    )


def promote_artifact(
    api: Api,
    *,
    artifact: str,
    aliases: Iterable[str] = (),
    to: str | None = None,
    type: str | None = None,
) -> ArtifactResult:
    """Give a version aliases, in its own collection or in another one that it is linked into.

    Repeating it changes nothing. An alias that another version has moves here.

    Args:
        api: The client.
        artifact: As for `use_artifact`.
        aliases: Such as "production".
        to: `project/collection` or `entity/project/collection` to link it into; of a registry,
            `wandb-registry-NAME/collection`. None stays in its own.
        type: What type it has to be of.

    Returns:
        The version as it is found where it was promoted.

    Raises:
        UsageError: Neither aliases nor `to`.
        NotFoundError: There is no such version, registry or project.
    """
    names = list(aliases)
    if not names and to is None:
        raise UsageError("there is nothing to do", where=artifact, hint="Give aliases= or to=.")
    found = api.artifact(artifact, type=type)
    if to is not None:
        return _result(found.link(_target(api, to), aliases=names))
    found.aliases = list(dict.fromkeys([*found.aliases, *names]))
    found.save()
    return _result(api.artifact(found.qualified_name))


def artifact_status(api: Api, *, artifact: str, type: str | None = None) -> ArtifactResult | None:
    """The version that a name means now, or None while there is none; one request.

    Args:
        api: The client.
        artifact: As for `use_artifact`.
        type: What type it has to be of.
    """
    try:
        return _result(api.artifact(artifact, type=type))
    except NotFoundError:
        return None


def list_artifact_versions(
    api: Api,
    *,
    collection: str,
    type: str | None = None,
    after: int = -1,
    limit: int | None = None,
) -> list[ArtifactResult]:
    """The versions of a collection, oldest first; none when there is no such collection.

    Args:
        api: The client.
        collection: `entity/project/name`, or shorter with defaults.
        type: Its type; None asks for it, with one more request.
        after: Only versions with a greater index.
        limit: At most so many, the oldest of them.
    """
    try:
        kind = type or api.artifact(collection).type
        newest_first = api.artifacts(kind, collection, per_page=100)
        found = [_result(each) for each in takewhile(lambda each: _index(each) > after, newest_first)]
    except NotFoundError:
        return []
    found.reverse()
    return found if limit is None else found[:limit]


def _contents(content: Content) -> list[tuple[str, str]]:
    """Names in the artifact ("" for the root, or a file's own name) and local places."""
    if content is None:
        return []
    if isinstance(content, (str, os.PathLike)):
        places = [("", os.fspath(content))]
    else:
        places = [(name, os.fspath(place)) for name, place in content.items()]
    for _, place in places:
        if not Path(place).exists():
            raise UsageError(
                f"there is no file or folder {place!r}", hint="It is looked for on this machine."
            )
    return places


def _strangers(folder: Path, wanted: set[str]) -> list[Path]:
    from wandb_ops.public.artifacts.download import is_part

    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(folder).as_posix() not in wanted
        and not is_part(path)
    ]


def _remove_in_the_way(path: Path, folder: Path, wanted: set[str]) -> bool:
    """Remove `path` when something wanted needs a folder there, or a file where its folder is."""
    name = path.relative_to(folder).as_posix()
    above = [str(parent) for parent in PurePosixPath(name).parents][:-1]
    if not any(one.startswith(f"{name}/") for one in wanted) and wanted.isdisjoint(above):
        return False
    path.unlink()
    for parent in above:
        if not any((folder / parent).iterdir()):
            (folder / parent).rmdir()
    return True


def _dead_parts(folder: Path, wanted: set[str]) -> list[Path]:
    """What downloads that were killed left half written; a neighbour's that goes on was touched just now."""
    from wandb_ops.public.artifacts.download import is_part

    long_ago = time.time() - _DEAD_AFTER
    return [
        path
        for path in folder.rglob(".*.part")
        if is_part(path) and path.relative_to(folder).as_posix() not in wanted and _changed(path) < long_ago
    ]


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # a neighbour has just put it in its place
        return math.inf


def _target(api: Api, to: str) -> str:
    """Where to link to; a registry's collections belong to the organisation that owns it."""
    parts = to.strip("/").split("/")
    if len(parts) == 2 and parts[0].startswith(_REGISTRY):
        registry = api.registry(parts[0].removeprefix(_REGISTRY))
        return f"{registry.entity}/{registry.full_name}/{parts[1]}"
    return to


def _index(found: Artifact) -> int:
    return int(found.version.removeprefix("v"))


def _result(found: Artifact, *, created: bool = False, run: str = "") -> ArtifactResult:
    name = found.name.partition(":")[0]
    return ArtifactResult(
        path=f"{found.entity}/{found.project}/{name}:{found.version}",
        entity=found.entity,
        project=found.project,
        name=name,
        version=found.version,
        index=_index(found),
        type=found.type,
        digest=found.digest,
        size=found.size,
        files=found.file_count,
        aliases=tuple(found.aliases),
        created_at=found.created_at,
        url=found.url,
        created=created,
        run=run,
    )
