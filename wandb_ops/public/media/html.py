"""`Html`: a page or a piece of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from wandb_ops.errors import UsageError
from wandb_ops.public.media.base import Files, Media, sha256_of
from wandb_ops.public.media.types import HTML, Type

if TYPE_CHECKING:
    from typing import TextIO

_STYLE = "https://app.wandb.ai/normalize.css"
_HEAD = f'<base target="_blank"><link rel="stylesheet" type="text/css" href="{_STYLE}" />'
_PLACES = (re.compile(r"<head>", re.I), re.compile(r"<html>", re.I))


class Html(Media):
    """Markup that W&B shows in a frame.

    Args:
        data: The text, an open text file, or the path of an `.html` file.
        inject: Add what W&B's pages need: links open in a new tab, a plain style sheet.
        data_is_not_path: Take a text as markup even where it is the name of a file.

    Attributes:
        html: The text.

    Raises:
        UsageError: `data` is none of these.
    """

    _log_type: ClassVar[str] = "html-file"
    _wb_type: ClassVar[Type] = HTML

    def __init__(
        self, data: str | Path | TextIO, inject: bool = True, data_is_not_path: bool = False
    ) -> None:
        if isinstance(data, Path) or (isinstance(data, str) and not data_is_not_path and _is_page(data)):
            text = Path(data).read_text(encoding="utf-8")
        elif isinstance(data, str):
            text = data
        elif hasattr(data, "read"):
            data.seek(0)
            text = str(data.read())
        else:
            raise UsageError(f"Html takes text, a path or an open file, not {type(data).__name__}")
        self.html = _with_head(text) if inject else text

    def _stored(self, files: Files) -> dict[str, Any]:
        data = self.html.encode()
        found: dict[str, Any] = {"_type": self._log_type, "sha256": sha256_of(data)}
        if files.in_run:
            found["size"] = len(data)
        return {**found, "path": files.put("html", data, "html")}

    def __eq__(self, other: object) -> bool:
        return self.html == other.html if isinstance(other, Html) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<Html {len(self.html)} characters>"


def _is_page(text: str) -> bool:
    if len(text) >= 4096 or not text.endswith(".html") or "\n" in text:
        return False
    try:
        return Path(text).is_file()
    except OSError:  # too long for a file's name
        return False


def _with_head(text: str) -> str:
    for place in _PLACES:
        found = place.search(text)
        if found is not None:
            head = _HEAD if place is _PLACES[0] else f"<head>{_HEAD}</head>"
            return text[: found.end()] + head + text[found.end() :]
    return _HEAD + text
