"""What the files of runs and those of artifacts share: their attributes, and how one comes to disk."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from wandb_ops.errors import UsageError
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.attrs import Attrs

if TYPE_CHECKING:
    from collections.abc import Callable

_MD5_LENGTH = 24  # 16 bytes in base64


class StoredFile(Attrs):
    """A file that the server keeps."""

    @property
    def name(self) -> str:
        """Its path within the run or artifact, with forward slashes."""
        return str(self._attrs["name"])

    @property
    def size(self) -> int:
        """Bytes; 0 when the server does not know."""
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
    def _checkable_md5(self) -> str | None:
        """The checksum to hold a download against; where it has none, the server may say "0"."""
        return self.md5 if self.md5 and len(self.md5) == _MD5_LENGTH else None


def save_below(
    root: str, name: str, fetch: Callable[[BinaryIO], None], *, replace: bool, exist_ok: bool, where: str
) -> TextIO:
    """Save what `fetch` writes as `name` below `root`, in one step, and open it for reading as text.

    Raises:
        UsageError: The file is there, and neither `replace` nor `exist_ok` says what to do.
        UnsafePath: The name would leave `root`.
    """
    path = safe_path(Path(root), name)
    if path.exists() and not replace:
        if exist_ok:
            return path.open(encoding="utf-8")
        raise UsageError(
            f"{str(path)!r} is there already",
            where=where,
            hint="Pass replace=True to overwrite it, or exist_ok=True to take it as it is.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as sink:
            fetch(sink)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path.open(encoding="utf-8")
