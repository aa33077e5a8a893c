"""What the media objects share: a form in JSON, and files that lie beside it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from wandb_ops.public.media.types import Type

_SHORT = 20  # hexadecimal digits of a digest in a file's name


class Files:
    """The files that come with an object, by name.

    Args:
        key: Where the object is logged in a run's history or summary; None when it goes into an artifact.
        step: The history's step; None for the summary.
    """

    def __init__(self, key: str | None = None, step: int | None = None) -> None:
        self.found: dict[str, bytes] = {}
        self._key = key
        self._step = step

    def put(self, folder: str, data: bytes, suffix: str, *, name: str | None = None) -> str:
        """Keep a file; its name, made from the content, so that the same file has the same name each time.

        Args:
            folder: Kind of file: "images", "table", ....
            data: Its content.
            suffix: After the first dot of the name.
            name: In an artifact: the name that it has below a folder of its own.
        """
        digest = hashlib.sha256(data).hexdigest()[:_SHORT]
        if self._key is not None:
            place = "summary" if self._step is None else str(self._step)
            path = f"media/{folder}/{self._key}_{place}_{digest}.{suffix}"
        elif name is not None:
            path = f"media/{folder}/{digest}/{name}"
        else:
            path = f"media/{folder}/{hashlib.md5(data, usedforsecurity=False).hexdigest()[:_SHORT]}.{suffix}"
        self.found[path] = data
        return path

    @property
    def in_run(self) -> bool:
        """Whether the files are a run's own."""
        return self._key is not None


class Media(ABC):
    """A value that W&B shows as more than its JSON."""

    _log_type: ClassVar[str]
    _wb_type: ClassVar[Type]

    @abstractmethod
    def _stored(self, files: Files) -> dict[str, Any]:
        """The object in JSON; its files are put to `files`."""


def sha256_of(data: bytes) -> str:
    """The digest that W&B keeps of a media file, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
