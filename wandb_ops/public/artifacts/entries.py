"""What an artifact consists of, as users see it: `ArtifactManifest` and its entries."""

from __future__ import annotations

import base64
import warnings
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError
from wandb_ops.protocol.manifest import Entry, manifest_digest, manifest_json
from wandb_ops.public.artifacts.addresses import ARTIFACT_SCHEME, referenced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.artifacts.artifacts import Artifact


class ArtifactManifestEntry:
    """One file or reference of an artifact."""

    def __init__(self, entry: Entry, parent: Artifact, local_path: str | None = None) -> None:
        self._entry = entry
        self._parent = parent
        self.local_path = local_path

    @property
    def path(self) -> str:
        """Its name in the artifact, with forward slashes."""
        return self._entry.path

    @property
    def name(self) -> str:
        """The same as `path`; deprecated."""
        warnings.warn("name is deprecated; use path", DeprecationWarning, stacklevel=2)
        return self._entry.path

    @property
    def digest(self) -> str:
        """MD5 in base64; of a reference, whatever tells that its content changed."""
        return self._entry.digest

    @property
    def size(self) -> int | None:
        """Bytes, where known."""
        return self._entry.size

    @property
    def ref(self) -> str | None:
        """Where a reference leads; None for a file."""
        return self._entry.ref

    @property
    def birth_artifact_id(self) -> str | None:
        """The version that brought the content."""
        return self._entry.birth_artifact_id

    @property
    def extra(self) -> dict[str, Any]:
        """What else its writer noted."""
        return self._entry.extra

    def parent_artifact(self) -> Artifact:
        """The artifact that it belongs to."""
        return self._parent

    def download(self, root: str | None = None, skip_cache: bool | None = None) -> str:  # noqa: ARG002 - W&B's argument; there is no cache
        """Save this entry below `root`, checked; returns where.

        Args:
            root: Folder to save in; None is the artifact's own, as for `Artifact.download`.
            skip_cache: Accepted as W&B does.
        """
        from wandb_ops.public.artifacts.download import download_entries

        folder = self._parent._root(root)
        (saved,) = download_entries(self._parent, [self._entry], folder, allow_missing_references=False)
        return str(saved)

    def ref_target(self) -> str:
        """Where the reference leads in the end: a reference to another artifact is followed.

        Raises:
            UsageError: It is a file.
        """
        if self.ref is None:
            raise UsageError(f"{self.path!r} is a file, not a reference")
        if not self.ref.startswith(f"{ARTIFACT_SCHEME}://"):
            return self.ref
        artifact, path = referenced(self._parent, self.ref)
        target = artifact.get_entry(path)
        return target.ref_target() if target.ref is not None else target.ref_url()

    def ref_url(self) -> str:
        """The address by which another artifact can refer to this entry.

        Raises:
            UsageError: The artifact is not logged yet.
        """
        if self._parent.id is None:
            raise UsageError("An entry can be referred to once its artifact is logged")
        return f"{ARTIFACT_SCHEME}://{base64.b64decode(self._parent.id).hex()}/{self.path}"

    def __repr__(self) -> str:
        what = f"ref={self.ref!r}" if self.ref is not None else f"size={self.size}"
        return f"<ArtifactManifestEntry {self.path} ({what})>"


class ArtifactManifest:
    """The entries of an artifact, by path."""

    def __init__(self, entries: Mapping[str, ArtifactManifestEntry], layout: str) -> None:
        self.entries = dict(entries)
        self._layout = layout

    @property
    def version(self) -> int:
        """The version of the manifest's format."""
        return 1

    def _plain(self) -> dict[str, Entry]:
        return {path: entry._entry for path, entry in self.entries.items()}

    def digest(self) -> str:
        """The digest of the whole, in hexadecimal."""
        return manifest_digest(self._plain())

    def size(self) -> int:
        """Bytes of all entries whose size is known."""
        return sum(entry.size or 0 for entry in self.entries.values())

    def get_entry_by_path(self, path: str) -> ArtifactManifestEntry | None:
        """The entry of that path, or None."""
        return self.entries.get(path)

    def get_entries_in_directory(self, directory: str) -> list[ArtifactManifestEntry]:
        """The entries below a folder."""
        return [entry for path, entry in self.entries.items() if path.startswith(f"{directory.rstrip('/')}/")]

    def to_manifest_json(self) -> dict[str, Any]:
        """The manifest as it is stored."""
        return manifest_json(self._plain(), self._layout)

    def __repr__(self) -> str:
        return f"<ArtifactManifest ({len(self.entries)} entries)>"
