"""Building an artifact: files, folders, bytes, references are added; nothing is sent before it is logged."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from wandb_ops.errors import UsageError
from wandb_ops.protocol.artifacts import Source
from wandb_ops.protocol.manifest import Entry, md5_of_bytes, md5_of_file
from wandb_ops.protocol.storage import name_problem
from wandb_ops.public.artifacts.entries import ARTIFACT_SCHEME, ArtifactManifestEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_ops.public.artifacts.artifacts import Artifact

_MAX_OBJECTS = 10_000_000


class Draft:
    """What was added to an artifact so far."""

    def __init__(self, owner: Artifact) -> None:
        self.owner = owner
        self.entries: dict[str, Entry] = {}
        self.sources: dict[str, Source] = {}
        self.base_id: str | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def put(self, entry: Entry, source: Source | None, *, overwrite: bool) -> ArtifactManifestEntry:
        """Add an entry; one of the same name and content is there already."""
        problem = name_problem(entry.path)
        if problem:
            raise UsageError(f"The name {entry.path!r} {problem}", where=self.owner._where)
        known = self.entries.get(entry.path)
        if known is not None and known.digest != entry.digest and not overwrite:
            raise UsageError(
                f"The artifact has another file {entry.path!r} already",
                where=self.owner._where,
                hint="Pass overwrite=True to replace it.",
            )
        self.entries[entry.path] = entry
        self.sources.pop(entry.path, None)
        if source is not None:
            self.sources[entry.path] = source
        return self.show(entry.path)

    def show(self, path: str) -> ArtifactManifestEntry:
        """An entry as users see it."""
        source = self.sources.get(path)
        local = str(source.path) if source is not None and source.path is not None else None
        return ArtifactManifestEntry(self.entries[path], self.owner, local)

    def put_file(self, path: Path, name: str, *, overwrite: bool) -> ArtifactManifestEntry:
        """Add a local file."""
        found = path.stat()
        entry = Entry(path=name, digest=md5_of_file(path), size=found.st_size)
        stamp = (found.st_size, found.st_mtime_ns)
        return self.put(entry, Source(path=path.absolute(), stamp=stamp), overwrite=overwrite)

    @contextmanager
    def new_file(self, name: str, mode: str, encoding: str | None) -> Iterator[IO[Any]]:
        """A file to write, added when it is closed."""
        overwrite = "x" not in mode
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="wandb-ops-artifact-")
        # Named by a number: the artifact's own names need not be fit for this machine.
        path = Path(self._folder.name) / str(sum(1 for _ in Path(self._folder.name).iterdir()))
        if name in self.entries and not overwrite:
            raise UsageError(f"The artifact has a file {name!r} already", where=self.owner._where)
        text = None if "b" in mode else encoding or "utf-8"
        with path.open(mode.replace("w", "x"), encoding=text) as handle:
            yield handle
        self.put_file(path, name, overwrite=overwrite)

    def remove(self, name: str) -> None:
        """Take out a file, or all below a folder."""
        path = str(PurePosixPath(name))
        found = [each for each in self.entries if each == path or each.startswith(f"{path}/")]
        if not found:
            raise UsageError(f"The artifact has no {name!r}", where=self.owner._where)
        for each in found:
            del self.entries[each]
            self.sources.pop(each, None)


def logical(name: str | os.PathLike[str]) -> str:
    """A name in an artifact: forward slashes, nothing superfluous."""
    return PurePosixPath(os.fspath(name).replace(os.sep, "/")).as_posix()


def files_below(folder: Path) -> list[tuple[Path, str]]:
    """The files of a folder and their names relative to it, links followed, in a fixed order."""
    found = [
        (Path(place) / name, (Path(place) / name).relative_to(folder).as_posix())
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
    ]
    return sorted(found, key=lambda item: item[1])


def reference_entries(
    uri: ArtifactManifestEntry | str,
    name: str | None,
    *,
    checksum: bool,
    max_objects: int | None,
    where: str,
) -> list[Entry]:
    """The entries that a reference makes: one, or one for each file of a local folder.

    Raises:
        UsageError: It is no address, or one whose content this client cannot look at.
    """
    if isinstance(uri, ArtifactManifestEntry):
        source = uri._entry
        leads_on = source.ref is not None and source.ref.startswith(f"{ARTIFACT_SCHEME}://")
        ref = str(source.ref) if leads_on else uri.ref_url()
        return [Entry(path=name or PurePosixPath(uri.path).name, digest=source.digest, size=0, ref=ref)]
    address = urlsplit(uri)
    if not address.scheme:
        raise UsageError(f"{uri!r} is no address; a local file is file://...", where=where)
    if address.scheme == "file":
        return _local(uri, Path(unquote(address.path)), name, checksum, max_objects or _MAX_OBJECTS, where)
    if address.scheme == ARTIFACT_SCHEME:
        raise UsageError(
            "A reference to an artifact's file is made from its entry",
            where=where,
            hint="Pass artifact.get_entry(name) instead of the address.",
        )
    if checksum and address.scheme in {"http", "https", "s3", "gs", "az"}:
        raise UsageError(
            f"The content of {address.scheme}:// references is not looked at",
            where=where,
            hint="Pass checksum=False: the address itself is then the digest.",
        )
    return [Entry(path=name or PurePosixPath(address.path).name, digest=uri, ref=uri)]


def _local(
    uri: str, path: Path, name: str | None, checksum: bool, max_objects: int, where: str
) -> list[Entry]:
    def entry(place: Path, ref: str, shown: str) -> Entry:
        digest = md5_of_file(place) if checksum else md5_of_bytes(place.resolve().as_uri().encode())
        return Entry(path=shown, digest=digest, size=place.stat().st_size, ref=ref)

    if path.is_file():
        return [entry(path, uri, name or path.name)]
    if not path.is_dir():
        raise UsageError(f"The reference leads to {str(path)!r}, which is not there", where=where)
    found = files_below(path)
    if len(found) > max_objects:
        raise UsageError(
            f"The folder has {len(found)} files, {max_objects} are allowed",
            where=where,
            hint="Pass a larger max_objects=.",
        )
    prefix = f"{name}/" if name else ""
    return [entry(place, f"{uri.rstrip('/')}/{shown}", f"{prefix}{shown}") for place, shown in found]


class Building:
    """The methods of `Artifact` that add to it."""

    _draft: Draft | None
    _where: str

    def _building(self) -> Draft:
        if self._draft is None:
            raise UsageError(
                "The artifact is logged and cannot change",
                where=self._where,
                hint="Add to artifact.new_draft() and log that.",
            )
        return self._draft

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,  # noqa: ARG002 - W&B's argument; there is no cache
        policy: Literal["mutable", "immutable"] | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add a local file. It is not copied: one that changes before it is logged is refused then.

        Args:
            local_path: The file.
            name: Its name in the artifact; None is its own.
            is_tmp: Take the name's first part from the content, as W&B does.
            skip_cache: Accepted as W&B does.
            policy: Accepted as W&B does.
            overwrite: Replace a file of that name.

        Raises:
            UsageError: There is no such file, or the artifact has another one of that name.
        """
        path = Path(local_path)
        if not path.is_file():
            raise UsageError(f"There is no file {str(path)!r}", where=self._where)
        if policy not in {None, "mutable", "immutable"}:
            raise UsageError(f"policy is 'mutable' or 'immutable', not {policy!r}", where=self._where)
        shown = logical(name or path.name)
        if is_tmp:
            import base64

            head, _, rest = PurePosixPath(shown).name.partition(".")
            del head
            stem = base64.b64decode(md5_of_file(path)).hex()[:20]
            shown = PurePosixPath(shown).with_name(f"{stem}.{rest}" if rest else stem).as_posix()
        return self._building().put_file(path, shown, overwrite=overwrite)

    def add_bytes(self, data: bytes, name: str, overwrite: bool = False) -> ArtifactManifestEntry:
        """Add a file whose content is `data`."""
        content = bytes(data)
        entry = Entry(path=logical(name), digest=md5_of_bytes(content), size=len(content))
        return self._building().put(entry, Source(data=content), overwrite=overwrite)

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        skip_cache: bool | None = False,  # noqa: ARG002 - W&B's argument; there is no cache
        policy: Literal["mutable", "immutable"] | None = "mutable",  # noqa: ARG002 - as for add_file
        merge: bool = False,
    ) -> None:
        """Add every file of a folder, under its name relative to the folder.

        Args:
            local_path: The folder.
            name: Folder in the artifact; None is the root.
            skip_cache: Accepted as W&B does.
            policy: Accepted as W&B does.
            merge: Replace files of the same names.

        Raises:
            UsageError: There is no such folder.
        """
        from concurrent.futures import ThreadPoolExecutor

        folder, draft = Path(local_path), self._building()
        if not folder.is_dir():
            raise UsageError(f"There is no folder {str(folder)!r}", where=self._where)
        prefix = f"{logical(name)}/" if name else ""
        with ThreadPoolExecutor(8, "wandb-ops-digest") as pool:
            list(
                pool.map(
                    lambda item: draft.put_file(item[0], f"{prefix}{item[1]}", overwrite=merge),
                    files_below(folder),
                )
            )

    def add_reference(
        self,
        uri: ArtifactManifestEntry | str,
        name: str | os.PathLike[str] | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> Sequence[ArtifactManifestEntry]:
        """Add an address instead of a content; the content stays where it is.

        Args:
            uri: `file://...` (a file or a folder), an entry of a logged artifact, or any other address.
            name: Its name in the artifact; for a folder, the folder in the artifact.
            checksum: Look at the content, so that a change of it is noticed. Possible for `file://` only.
            max_objects: Files that a folder may have.

        Raises:
            UsageError: It is no address, or `checksum` is asked for where it is not possible.
        """
        draft = self._building()
        found = reference_entries(
            uri,
            logical(name) if name is not None else None,
            checksum=checksum,
            max_objects=max_objects,
            where=self._where,
        )
        return [draft.put(entry, None, overwrite=False) for entry in found]

    @contextmanager
    def new_file(
        self,
        name: str,
        mode: str = "x",
        encoding: str | None = None,
        policy: Literal["mutable", "immutable"] = "mutable",  # noqa: ARG002 - as for add_file
    ) -> Iterator[IO[Any]]:
        """A file to write, added to the artifact when the block ends without an error.

        Args:
            name: Its name in the artifact.
            mode: "x" or "w" (which replaces a file of that name), with "b" for bytes.
            encoding: Of text; UTF-8 by default.
            policy: Accepted as W&B does.
        """
        with self._building().new_file(logical(name), mode, encoding) as handle:
            yield handle

    def remove(self, item: str | os.PathLike[str] | ArtifactManifestEntry) -> None:
        """Take out an entry, or everything below a folder.

        Raises:
            UsageError: There is nothing of that name.
        """
        name = item.path if isinstance(item, ArtifactManifestEntry) else os.fspath(item)
        self._building().remove(name)
