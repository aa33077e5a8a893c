"""Access to what the server said of an object, under W&B's name for a field or under Python's.

W&B's objects answer to both `run.created_at` and `run.createdAt`. The documented names are properties; this
is for the rest.
"""

from __future__ import annotations

import html
import sys
from typing import Any


def to_camel(name: str) -> str:
    """`heartbeat_at` -> `heartbeatAt`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


class Attrs:
    """Base of objects made from one GraphQL node, kept in `_attrs`."""

    _attrs: dict[str, Any]

    def _attr(self, field: str) -> Any:
        """The server's value of `field`; subclasses that load on demand hook in here."""
        return self._attrs[field]

    def __getattr__(self, name: str) -> Any:
        # Only called for names that are no attribute. Private ones are never the server's, and asking for
        # them here would recurse while an object is unpickled.
        if not name.startswith("_"):
            for field in (to_camel(name), name):
                try:
                    return self._attr(field)
                except KeyError:
                    continue
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_html(self, height: int = 420, hidden: bool = False) -> str | None:  # noqa: ARG002 - W&B's
        """HTML that shows the object's page in a notebook; None for what has no page of its own."""
        return None

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Show the object's page in the notebook that this runs in; whether that was done."""
        shell = sys.modules.get("IPython")
        # Only a notebook's kernel has a session that can show HTML.
        if shell is None or not hasattr(shell.get_ipython(), "kernel"):
            return False
        text = self.to_html(height, hidden)
        if text is None:
            return False
        shell.display.display(shell.display.HTML(text))
        return True

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.__dict__.get("_attrs", {})})


def iframe(url: str, *, height: int, hidden: bool, what: str = "page") -> str:
    """HTML that shows a page of the W&B app in a notebook; a hidden one comes with a button that opens it."""
    style = f"border:none;width:100%;height:{int(height)}px;" + ("display:none;" if hidden else "")
    frame = f'<iframe src="{html.escape(url)}?jupyter=true" style="{style}"></iframe>'
    if not hidden:
        return frame
    opens = "this.nextSibling.style.display='block';this.style.display='none';"
    return f'<button onclick="{opens}">Show the {html.escape(what)}</button>{frame}'
