"""A file to download into: in memory as long as it is small, then on disk."""

from __future__ import annotations

import io
import tempfile
from typing import IO


class Spool:
    """What `Transport.download` writes to.

    Attributes:
        file: What was written: a `BytesIO`, or a temporary file that goes away when closed.

    Args:
        memory: Bytes that may be kept in memory.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self.file: IO[bytes] = io.BytesIO() if memory > 0 else _on_disk()

    def tell(self) -> int:
        """The position."""
        return self.file.tell()

    def seek(self, position: int) -> int:
        """Go to a position."""
        return self.file.seek(position)

    def truncate(self) -> int:
        """Cut off what follows the position."""
        return self.file.truncate()

    def write(self, data: bytes) -> int:
        """Write at the position, which is the end."""
        if isinstance(self.file, io.BytesIO) and self.file.tell() + len(data) > self._memory:
            written, self.file = self.file, _on_disk()
            with written:
                self.file.write(written.getbuffer())
        return self.file.write(data)


def _on_disk() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="wandb-ops-")  # closed by whoever takes `file`
