"""What every resolver is given, and the Relay connections that many of them answer with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.accounts.accounts import Account
    from wandb_ops.local.service import Service

MAX_PAGE = 1000
Args = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """One GraphQL request.

    Attributes:
        account: Who asks. What he does not see is answered as what does not exist, in the same words.
        base_url: What URLs in the answer begin with: the address that the client used.
    """

    service: Service
    account: Account
    base_url: str

    def check_entity(self, name: str | None) -> str:
        """The entity that the request means, or :class:`NotFound`; see :meth:`Account.check_entity`."""
        return self.account.check_entity(name)

    def sees(self, entity: str) -> bool:
        """Whether the entity exists for who asks."""
        return self.account.sees(entity)

    def sees_project(self, db: sqlite3.Connection, project: int) -> bool:
        """Whether the project of that row exists for who asks; so for all that hangs below it."""
        row = db.execute("SELECT entity FROM projects WHERE id=?", (project,)).fetchone()
        return row is not None and self.account.sees(row[0])

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.service.store.now()


Resolver = Callable[[Any, Context, Args], Any]


def field(read: Callable[[Any], Any]) -> Resolver:
    """A field that is read off its source."""
    return lambda source, _context, _args: read(source)


def reading(read: Callable[[sqlite3.Connection, Any, Args], Any]) -> Resolver:
    """A field that is looked up in the database."""

    def resolve(source: Any, context: Context, args: Args) -> Any:
        with context.service.store.reading() as db:
            return read(db, source, args)

    return resolve


def page_size(args: Args, default: int) -> int:
    """``first`` of a connection, at most :data:`MAX_PAGE`."""
    first = args.get("first")
    if first is None:
        return default
    if first < 1:
        raise Refused("first must be at least 1")
    return min(int(first), MAX_PAGE)


def number_cursor(number: int) -> str:
    """A cursor that names a row or line by number."""
    return base64.b64encode(f"after:{number}".encode()).decode()


def cursor_number(cursor: str | None, default: int) -> int:
    """The number in a cursor of :func:`number_cursor`; ``default`` without one."""
    if not cursor:
        return default
    try:
        kind, _, number = base64.b64decode(cursor, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        kind, number = "", ""
    if kind != "after" or not (number.isascii() and number.isdigit() and len(number) < 19):
        raise Refused("the cursor is not one of this list")
    return int(number)


def connection(nodes: Sequence[tuple[Any, str]], more: bool, **extra: Any) -> dict[str, Any]:
    """A Relay connection of ``(node, cursor)`` pairs."""
    return {
        "edges": [{"node": node, "cursor": cursor} for node, cursor in nodes],
        "pageInfo": {
            "hasNextPage": more,
            "hasPreviousPage": False,
            "startCursor": nodes[0][1] if nodes else None,
            "endCursor": nodes[-1][1] if nodes else None,
        },
        **extra,
    }


def required(args: Args, name: str) -> str:
    """A non-empty text argument, or :class:`Refused` naming it."""
    value = args.get(name)
    if not value:
        raise Refused(f"{name} is required")
    return str(value)
