"""`ArtifactFiles`: the files of a logged artifact."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents.artifacts import MEMBERSHIP_FILES
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.attrs import Attrs
from wandb_ops.public.paginator import SizedPaginator

if TYPE_CHECKING:
    from wandb_ops.public.artifacts import Artifact

_MD5_LENGTH = 24  # 16 bytes in base64


class ArtifactFile(Attrs):
    """One file of an artifact."""

    def __init__(self, artifact: Artifact, attrs: dict[str, Any]) -> None:
        self.artifact = artifact
        self._attrs = dict(attrs)

    @property
    def name(self) -> str:
        """Its path within the artifact, with forward slashes."""
        return str(self._attrs["name"])

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self._attrs.get("sizeBytes") or 0)

    @property
    def md5(self) -> str | None:
        """Checksum in base64, where the server has one."""
        return self._attrs.get("md5")

    @property
    def mimetype(self) -> str | None:
        """What kind of content the server takes it for."""
        return self._attrs.get("mimetype")

    @property
    def url(self) -> str:
        """Where to get it from; may need the API key, and may stop working after a while."""
        return str(self._attrs.get("url") or self._attrs["directUrl"])

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
        path = safe_path(Path(root), self.name)
        if path.exists() and not replace:
            if exist_ok:
                return path.open(encoding="utf-8")
            raise UsageError(
                f"{str(path)!r} is there already",
                where=self.artifact._where,
                hint="Pass replace=True to overwrite it, or exist_ok=True to take it as it is.",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
        try:
            with part.open("x+b") as sink:
                self.artifact._need_transport().download(
                    self.direct_url,
                    sink,
                    where=f"{self.artifact._where}/{self.name}",
                    expected_size=self.size,
                    expected_md5_b64=self.md5 if self.md5 and len(self.md5) == _MD5_LENGTH else None,
                )
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return path.open(encoding="utf-8")

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
