"""`ArtifactFiles`: the files of a logged artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents.artifacts import MEMBERSHIP_FILES
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.paginator import SizedPaginator
from wandb_ops.public.runs.stored_file import StoredFile, save_below

if TYPE_CHECKING:
    from wandb_ops.public.artifacts.artifacts import Artifact


class ArtifactFile(StoredFile):
    """One file of an artifact."""

    def __init__(self, artifact: Artifact, attrs: dict[str, Any]) -> None:
        self.artifact = artifact
        self._attrs = dict(attrs)

    @property
    def direct_url(self) -> str:
        """Where it lies in the storage; signed, and valid for a while."""
        return str(self._attrs["directUrl"])

    def download(self, root: str = ".", replace: bool = False, exist_ok: bool = False) -> TextIO:
        """Save the file below `root`, under its own name, checked, and open it for reading as text.

        Args:
            root: Folder to save in.
            replace: Overwrite what is there.
            exist_ok: Open what is there, without downloading.

        Raises:
            UsageError: The file is there, and neither `replace` nor `exist_ok` says what to do.
            UnsafePath: The file's name would leave `root`.
            ChecksumMismatch: What came is not what the server announced.
        """
        return save_below(
            root, self.name, self._fetch, replace=replace, exist_ok=exist_ok, where=self.artifact._where
        )

    def _fetch(self, sink: BinaryIO) -> None:
        self.artifact._need_transport().download(
            self.direct_url,
            sink,
            where=f"{self.artifact._where}/{self.name}",
            expected_size=self.size,
            expected_md5_b64=self._checkable_md5,
        )

    def __repr__(self) -> str:
        return f"<ArtifactFile {self.name} ({self.mimetype}) {self.size} bytes>"


class ArtifactFiles(SizedPaginator[ArtifactFile]):
    """The files of an artifact: iterate, index, slice, `len()`.

    Raises:
        NotFoundError: On the first page: the artifact is gone.
    """

    def __init__(
        self,
        artifact: Artifact,
        names: list[str] | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        if isinstance(names, str):
            raise UsageError("names is a list of texts")
        self.artifact = artifact
        self._names = list(names or [])
        super().__init__(per_page=per_page, start=start, where=f"files of {artifact._where}")

    @property
    def path(self) -> list[str]:
        """Entity, project and name of the artifact."""
        return [self.artifact.entity, self.artifact.project, self.artifact.name]

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": self.artifact.entity,
            "project": self.artifact.project,
            "collection": self.artifact.name.partition(":")[0],
            "alias": self.artifact.version,
            "fileNames": self._names or None,
            "cursor": cursor,
            "perPage": per_page,
        }
        data = execute(self.artifact._need_transport(), MEMBERSHIP_FILES, variables, where=self._where)
        collection = (data.get("project") or {}).get("artifactCollection") or {}
        place = collection.get("artifactMembership")
        if not place:
            raise NotFoundError("There is no such artifact", where=self.artifact._where)
        return connection_page(place.get("files"), where=self._where)

    def __len__(self) -> int:
        """How many there are: the artifact's own count, or what was picked by names."""
        if self._names or self._start is not None:
            return super().__len__()
        return self.artifact.file_count

    def _convert(self, nodes: list[dict[str, Any]]) -> list[ArtifactFile]:
        return [ArtifactFile(self.artifact, node) for node in nodes]

    def _key(self, node: dict[str, Any]) -> str:
        return str(node["name"])

    def __repr__(self) -> str:
        return f"<ArtifactFiles {'/'.join(self.path)} ({len(self)})>"
