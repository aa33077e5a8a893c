"""How values and files are shown: numbers, sizes, what a browser may show in place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from wandb_ops.local.runs import files

_IMAGES_SHOWN = 24
_IMAGES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "webp": "image/webp",
}
# By suffix, since what Python knows of audio and video is not the same on all machines.
_IN_PLACE = {
    **_IMAGES,
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "video/mp4",
    "webm": "video/webm",
}
_LOGGED = "media/"  # where files of history values are


def segment(text: str) -> str:
    """A name as one part of an address."""
    return quote(text, safe="")


def brief(value: Any) -> str:
    """A value as a table cell shows it: numbers to five digits, objects by their type."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, dict):
        return f"<{value.get('_type', 'object')}>"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 120 else text[:119] + "…"


def counted(count: int, word: str) -> str:
    """So many of something."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def size(count: int) -> str:
    """Bytes for people."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{count}\N{NO-BREAK SPACE}B"


def indented(text: str) -> str:
    """JSON over several lines; other text, such as YAML, as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _suffix(name: str) -> str:
    return name.rpartition(".")[2].lower()


def in_place(name: str) -> str | None:
    """The type of a file that a browser shows or plays where it is; None for all else, which is downloaded.

    Nothing that can hold scripts is among them.
    """
    return _IN_PLACE.get(_suffix(name))


def images(listed: list[files.RunFile]) -> list[files.RunFile]:
    """Image files that were saved as files; those of the history are shown with their keys and steps."""
    found = [file for file in listed if _suffix(file.name) in _IMAGES and not file.name.startswith(_LOGGED)]
    return found[:_IMAGES_SHOWN]
