"""Building an artifact: files, folders, bytes, references are added; nothing is sent before it is logged."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal

from wandb_ops.errors import UsageError
from wandb_ops.protocol.artifacts import Source
from wandb_ops.protocol.manifest import Entry, md5_of_bytes, md5_of_file
from wandb_ops.protocol.storage import name_problem
from wandb_ops.public.artifacts.entries import ArtifactManifestEntry
from wandb_ops.public.artifacts.paths import logical
from wandb_ops.public.artifacts.references import files_below, reference_entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.public.media.base import Media


class Draft:
    """What was added to an artifact so far."""

    def __init__(self, owner: Artifact) -> None:
        self.owner = owner
        self.entries: dict[str, Entry] = {}
        self.sources: dict[str, Source] = {}
        self.base_id: str | None = None
        self.final = False
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

    def put_bytes(self, data: bytes, name: str, *, overwrite: bool) -> ArtifactManifestEntry:
        """Add a file from memory."""
        entry = Entry(path=name, digest=md5_of_bytes(data), size=len(data))
        return self.put(entry, Source(data=data), overwrite=overwrite)

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
        if self._draft.final:
            raise UsageError("The artifact is finalized and cannot change", where=self._where)
        return self._draft

    def finalize(self) -> None:
        """Let nothing more be added; `run.log_artifact` needs no such call."""
        if self._draft is not None:
            self._draft.final = True

    def add(self, obj: Media, name: str | os.PathLike[str], overwrite: bool = False) -> ArtifactManifestEntry:
        """Add a table, an image or a page; `get` gives it back. The real SDK reads it, too.

        Args:
            obj: A `wandb_ops.Table`, `Image` or `Html`.
            name: Its name in the artifact; what kind it is, is appended: `NAME.table.json`.
            overwrite: Replace an object of that name.

        Raises:
            UsageError: It is something else, or the artifact has another object of that name.
        """
        import json

        from wandb_ops.public.media.base import Files, Media

        draft = self._building()
        if not isinstance(obj, Media):
            kind = f"{type(obj).__module__}.{type(obj).__name__}"  # type: ignore[unreachable]  # untyped callers
            raise UsageError(
                f"add() takes wandb_ops' Table, Image or Html, not {kind}",
                where=self._where,
                hint="Put a Histogram into a cell of a Table.",
            )
        files = Files()
        content = json.dumps(obj._stored(files), sort_keys=True).encode()
        suffix = f".{obj._log_type}.json"
        path = logical(name)
        for place, data in files.found.items():  # named by content: what is there is the same
            draft.put_bytes(data, place, overwrite=False)
        return draft.put_bytes(content, path if path.endswith(suffix) else path + suffix, overwrite=overwrite)

    def __setitem__(self, name: str, item: Media) -> None:
        self.add(item, name)

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
        return self._building().put_bytes(bytes(data), logical(name), overwrite=overwrite)

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
            checksum: Look at the content, or ask its server what it is, so that a change of it is noticed.
                Of an address that is neither a file, `http(s)://` nor in an object store, nothing is asked.
            max_objects: Files that a folder may have.

        Raises:
            UsageError: It is no address, or one that leads nowhere or to too many files.
            CommError: Its server did not answer, or said no.
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
