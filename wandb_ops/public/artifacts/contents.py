"""What an artifact consists of: its manifest, its files and objects, and how they come to disk."""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

from wandb_ops.errors import EntryNotFound, NotFoundError, UsageError, VerificationFailed
from wandb_ops.protocol.documents import artifacts as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.manifest import Entry, manifest_digest, md5_of_file, parse_manifest
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.artifacts.addresses import ARTIFACT_SCHEME, referenced
from wandb_ops.public.artifacts.attributes import ArtifactAttributes
from wandb_ops.public.artifacts.entries import ArtifactManifest, ArtifactManifestEntry
from wandb_ops.public.artifacts.paths import logical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.public.artifacts.draft import Draft
    from wandb_ops.public.artifacts.files import ArtifactFiles
    from wandb_ops.public.media.base import Media
    from wandb_ops.public.runs.histogram import Histogram


_PART = re.compile(r"\..{1,40}\.[0-9a-f]{16}\.part")  # what a download writes before it is whole


class ArtifactContents(ArtifactAttributes):
    """The members of `Artifact` that read what is in it."""

    _manifest: dict[str, Entry] | None
    _layout: str
    _draft: Draft | None

    @property
    def manifest(self) -> ArtifactManifest:
        """What it consists of."""
        if self._draft is not None:
            shown = {path: self._draft.show(path) for path in self._draft.entries}
        else:
            shown = {
                path: ArtifactManifestEntry(entry, _artifact(self)) for path, entry in self._entries().items()
            }
        return ArtifactManifest(shown, self._layout)

    def _entries(self) -> dict[str, Entry]:
        if self._draft is not None:
            return self._draft.entries
        if self._manifest is None:
            transport = self._need_transport()
            data = execute(transport, documents.ARTIFACT_MANIFEST, {"id": self.id}, where=self._where)
            file = ((data.get("artifact") or {}).get("currentManifest") or {}).get("file") or {}
            if not file.get("directUrl"):
                raise NotFoundError("The artifact has no manifest", where=self._where)
            content = BytesIO()
            transport.download(file["directUrl"], content, where=f"manifest of {self._where}")
            self._manifest, self._layout = parse_manifest(content.getvalue(), self._where)
        return self._manifest

    @property
    def digest(self) -> str:
        """One digest of all that is in it, in hexadecimal."""
        return str(self._node["digest"]) if self._node is not None else manifest_digest(self._entries())

    @property
    def size(self) -> int:
        """Bytes of all files and references whose size is known."""
        if self._node is not None:
            return int(self._node["size"])
        return sum(entry.size or 0 for entry in self._entries().values())

    def get_entry(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """The file or reference of that name.

        Raises:
            EntryNotFound: (a KeyError) There is none.
        """
        entry = self._entries().get(logical(name))
        if entry is None:
            raise EntryNotFound(
                f"The artifact has no file {os.fspath(name)!r}",
                where=self._where,
                hint="`artifact.manifest.entries` lists what there is.",
            )
        return ArtifactManifestEntry(entry, _artifact(self))

    def get_path(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """The same as `get_entry`; deprecated."""
        return self.get_entry(name)

    def files(
        self, names: list[str] | None = None, per_page: int = 50, start: str | None = None
    ) -> ArtifactFiles:
        """The files, loaded page by page.

        Args:
            names: Exact names; None or empty is all.
            per_page: Files per request.
            start: `cursor` of an earlier result, to go on from there.
        """
        from wandb_ops.public.artifacts.files import ArtifactFiles

        self._known()
        return ArtifactFiles(_artifact(self), names=names, per_page=per_page, start=start)

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,  # noqa: ARG002 - W&B's argument; there is no cache
        path_prefix: str | os.PathLike[str] | None = None,
        multipart: bool | None = None,  # noqa: ARG002 - W&B's argument
    ) -> str:
        """Save all files below `root`; returns `root`.

        Several are fetched at once, each is checked against its size and MD5 and put in place whole. A file
        that is there already with the right content is not fetched. No name may lead out of `root`.

        Args:
            root: Folder; None is `./artifacts/NAME:VERSION` (or below `WANDB_ARTIFACT_DIR`).
            allow_missing_references: Warn about references that lead nowhere, and go on.
            skip_cache: Accepted as W&B does.
            path_prefix: Only what begins so.
            multipart: Accepted as W&B does.

        Raises:
            UnsafePath: A name would leave `root`; nothing was written.
            ChecksumMismatch: What came is not what the manifest says.
            NotFoundError: A file or the target of a reference is gone.
        """
        from wandb_ops.public.artifacts.download import download_entries

        prefix = os.fspath(path_prefix) if path_prefix is not None else ""
        folder = self._root(os.fspath(root) if root is not None else None)
        wanted = [entry for path, entry in self._entries().items() if path.startswith(prefix)]
        self._known()
        folder.mkdir(parents=True, exist_ok=True)
        download_entries(_artifact(self), wanted, folder, allow_missing_references=allow_missing_references)
        return str(folder)

    def file(self, root: str | None = None) -> str:
        """Save the only file of an artifact with one file; returns where.

        Raises:
            UsageError: It has another number of files.
        """
        self._known()
        entries = list(self._entries())
        if len(entries) != 1:
            raise UsageError(
                f"The artifact has {len(entries)} files, not one",
                where=self._where,
                hint="Use artifact.download(), or artifact.get_entry(name).download().",
            )
        return self.get_entry(entries[0]).download(root)

    def checkout(self, root: str | None = None) -> str:
        """Make a folder the same as the artifact: what does not belong to it is deleted, the rest fetched."""
        folder = self._root(root)
        for path in self._strangers(folder, parts=True):
            path.unlink()
        return self.download(root=folder)

    def verify(self, root: str | None = None) -> None:
        """Compare a downloaded folder with the artifact.

        Of references, the size and MD5 are compared where they were noted: what else tells of a change (an
        ETag) only their server knows. What a killed download left half written is not looked at.

        Raises:
            VerificationFailed: (a ValueError) A file is missing, differs, or does not belong to the artifact.
        """
        self._known()
        folder = self._root(root)
        strangers = self._strangers(folder)
        if strangers:
            raise VerificationFailed(
                f"{str(strangers[0])!r} does not belong to the artifact", where=self._where
            )
        for path, entry in self._entries().items():
            local = safe_path(folder, path)
            if entry.ref is not None:
                self._check_reference(entry, local)
                continue
            if not entry.is_md5:
                continue
            if not local.is_file():
                raise VerificationFailed(f"The file {path!r} is missing", where=self._where)
            if md5_of_file(local) != entry.digest:
                raise VerificationFailed(f"The file {path!r} is not what was logged", where=self._where)

    def _check_reference(self, entry: Entry, local: Path) -> None:
        """A reference that was fetched; it may have been left out."""
        if not local.is_file() or (entry.ref or "").startswith(f"{ARTIFACT_SCHEME}:"):
            return
        md5 = entry.extra.get("md5")
        if (entry.size is not None and local.stat().st_size != entry.size) or (
            md5 is not None and md5_of_file(local) != md5
        ):
            raise VerificationFailed(f"The file {entry.path!r} is not what was added", where=self._where)

    def _strangers(self, folder: Path, *, parts: bool = False) -> list[Path]:
        """Files below a folder that the artifact does not have; with `parts`, unfinished downloads, too."""
        entries = self._entries()
        return [
            path
            for path in sorted(folder.rglob("*"))
            if (path.is_file() or path.is_symlink())
            and path.relative_to(folder).as_posix() not in entries
            and (parts or not _PART.fullmatch(path.name))
        ]

    def _root(self, root: str | None) -> Path:
        if root is not None:
            return Path(root)
        base = Path(os.environ.get("WANDB_ARTIFACT_DIR") or "artifacts")
        collection, _, version = self.source_name.partition(":")
        found = safe_path(base, collection)
        return found.with_name(f"{found.name}:{version}")

    # -- objects -------------------------------------------------------------------------------------------

    def get(self, name: str) -> Media | Histogram | None:
        """The table, image or page that was added under that name; None when there is none.

        Whoever logged it, the result is a `wandb_ops.Table`, `Image` or `Html`.

        Args:
            name: As it was given to `add`.

        Raises:
            UsageError: It is of a kind that is not read here, or the artifact is not logged yet.
            DataError: What is stored is damaged.
        """
        from wandb_ops.public.media.reading import find_object, read_object

        self._known()
        found = find_object(self._entries(), logical(name))
        if found is None:
            return None
        entry = self._entries()[found]
        if entry.ref is not None and entry.ref.startswith(f"{ARTIFACT_SCHEME}://"):
            other, path = referenced(_artifact(self), entry.ref)
            return other.get(path)
        return read_object(found, self._read, f"{self._where}/{found}")

    def __getitem__(self, name: str) -> Media | Histogram | None:
        return self.get(name)

    def _read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of some entries, checked; fetched together."""
        import tempfile

        from wandb_ops.public.artifacts.download import download_entries

        wanted = [self.get_entry(name)._entry for name in dict.fromkeys(names)]
        with tempfile.TemporaryDirectory(prefix="wandb-ops-artifact-") as folder:
            paths = download_entries(_artifact(self), wanted, Path(folder), allow_missing_references=False)
            return {entry.path: path.read_bytes() for entry, path in zip(wanted, paths, strict=True)}

    def get_added_local_path_name(self, local_path: str) -> str | None:
        """The name under which a local file was added; None for others, and once it is logged."""
        wanted = Path(local_path).absolute()
        for name, source in (self._draft.sources if self._draft is not None else {}).items():
            if source.path == wanted:
                return name
        return None


def _artifact(part: ArtifactContents) -> Artifact:
    return cast("Artifact", part)
