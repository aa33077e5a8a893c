"""`File` and `Files`: what a run saved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO
from urllib.parse import urlsplit

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents import files as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.paginator import SizedPaginator
from wandb_ops.public.runs.stored_file import StoredFile, save_below

if TYPE_CHECKING:
    from wandb_ops.public.api import Api
    from wandb_ops.public.runs.run import Run
    from wandb_ops.transport.session import Transport

_S3_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]*)\.s3[.-].*amazonaws\.com")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class File(StoredFile):
    """One file of a run."""

    def __init__(self, run: Run, attrs: dict[str, Any]) -> None:
        self.run = run
        self._attrs = dict(attrs)

    @property
    def id(self) -> str:
        """The server's identifier of the file."""
        return str(self._attrs["id"])

    @property
    def updated_at(self) -> str | None:
        """When it was last written, ISO 8601."""
        return self._attrs.get("updatedAt")

    @property
    def direct_url(self) -> str | None:
        """Where it lies in the storage; signed, and valid for a while."""
        return self._attrs.get("directUrl")

    @property
    def path_uri(self) -> str:
        """`s3://bucket/path` for a file in S3, the address itself for a reference; else empty."""
        direct = self.direct_url or ""
        if direct and direct == self._attrs.get("url"):
            return direct
        address = urlsplit(direct)
        match = _S3_HOST.fullmatch(address.hostname or "")
        return f"s3://{match['bucket']}/{address.path.lstrip('/')}" if match else ""

    def download(
        self, root: str = ".", replace: bool = False, exist_ok: bool = False, api: Api | None = None
    ) -> TextIO:
        """Save the file below `root`, under its own name, and open it for reading as text.

        The bytes are checked against the size and checksum that the server gave, and put in place in one
        step: a file that is there is whole.

        Args:
            root: Folder to save in; folders in the file's name are made.
            replace: Overwrite what is there.
            exist_ok: Open what is there, without downloading.
            api: Another `Api` to download with.

        Raises:
            UsageError: The file is there, and neither `replace` nor `exist_ok` says what to do.
            NotFoundError: The run has the name but not the content.
            UnsafePath: The file's name would leave `root`.
            ChecksumMismatch: What came is not what the server announced.
        """
        return save_below(
            root,
            self.name,
            lambda sink: fetch(self, sink, api=api),
            replace=replace,
            exist_ok=exist_ok,
            where=self._where,
        )

    def delete(self) -> None:
        """Delete it from the server."""
        project_id = self.run._attrs.get("projectId")
        variables = {"files": [self.id], "projectId": int(project_id) if project_id is not None else None}
        execute(self.run._transport, documents.DELETE_FILES, variables, where=self._where)

    @property
    def _where(self) -> str:
        return f"{'/'.join(self.run.path)}/{self.name}"

    def __repr__(self) -> str:
        return f"<File {self.name} ({self.mimetype}) {_human(self.size)}>"


def fetch(file: File, sink: BinaryIO, *, api: Api | None = None) -> None:
    """Write the file's bytes to `sink`, checked.

    Raises:
        NotFoundError: The run has the name but not the content.
    """
    transport: Transport = file.run._transport if api is None else api.transport
    size = file._attrs.get("sizeBytes")
    transport.download(
        file.url,
        sink,
        where=file._where,
        expected_size=int(size) if size is not None else None,
        expected_md5_b64=file._checkable_md5,
    )


class Files(SizedPaginator[File]):
    """The files of a run: iterate, index, slice, `len()`.

    Raises:
        UsageError: Both names and a pattern were given.
        NotFoundError: On the first page: the run is gone.
    """

    def __init__(
        self,
        run: Run,
        names: list[str] | None = None,
        per_page: int = 50,
        upload: bool = False,
        pattern: str | None = None,
    ) -> None:
        if names and pattern:
            raise UsageError("Files are asked for by names or by a pattern, not by both")
        if isinstance(names, str):
            raise UsageError("names is a list of texts")
        self.run = run
        self._names = list(names or [])
        self._upload = upload
        self._pattern = pattern
        super().__init__(per_page=per_page, where=f"files of {'/'.join(run.path)}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": self.run.entity,
            "project": self.run.project,
            "name": self.run.id,
            "fileNames": self._names,
            "pattern": self._pattern,
            "upload": self._upload,
            "fileLimit": per_page,
            "fileCursor": cursor,
        }
        data = execute(self.run._transport, documents.RUN_FILES, variables, where=self._where)
        node = (data.get("project") or {}).get("run")
        if node is None:
            raise NotFoundError("There is no such run", where="/".join(self.run.path))
        # The server counts all files of the run, whatever was asked for.
        total = None if self._names or self._pattern else node.get("fileCount")
        return connection_page(node.get("files"), where=self._where, total=total)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[File]:
        # For a name that the run does not have, servers make up an empty node to upload to.
        return [File(self.run, node) for node in nodes if self._upload or _exists(node)]

    def _key(self, node: dict[str, Any]) -> str:
        return str(node["name"])

    def __repr__(self) -> str:
        return f"<Files {'/'.join(self.run.path)} ({len(self)})>"


def _exists(node: dict[str, Any]) -> bool:
    return bool(node.get("updatedAt") or int(node.get("sizeBytes") or 0))


def _human(size: int) -> str:
    exponent = next((index for index in range(len(_UNITS)) if size < 1024 ** (index + 1)), len(_UNITS) - 1)
    return f"{round(size / 1024**exponent, 1)}{_UNITS[exponent]}"
