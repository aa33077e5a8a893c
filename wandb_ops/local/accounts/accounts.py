"""Accounts: who stands behind an API key, and which entities exist for him.

Keys are stored as keyed hashes; the text of one is shown when it is made and never again. What an account may
not see is answered as if it did not exist, so there is one question here, :meth:`Account.sees`, and every way
into the data asks it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_ops.local.errors import NotFound, Refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from wandb_ops.local.database.store import Store

USER, TEAM, ORGANIZATION = "user", "team", "organization"
ADMIN, MEMBER = "admin", "member"

# For how long the text of a service account's new key is shown to who made it, in milliseconds.
_SHOWN_FOR = 60_000


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks.

    Attributes:
        entity: The default entity: a user's own, or a service account's team.
        entities: Every entity that exists for the account, the default one first.
        admin: Whether the account administers the server: makes and finds users. It sees no more for that.
        service: Whether it is a team's service account.
    """

    pk: int
    username: str
    admin: bool
    service: bool
    entity: str
    entities: tuple[str, ...]

    def sees(self, entity: str) -> bool:
        """Whether the entity exists for the account."""
        return entity in self.entities

    def check_entity(self, name: str | None) -> str:
        """The entity that a request means: the default one, or the one named.

        Raises:
            NotFound: There is none of that name, or it is not the account's to see.
        """
        if not name:
            return self.entity
        if not self.sees(name):
            raise NotFound(f"entity {name!r} not found on this server, or permission denied")
        return name


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One row of ``api_keys``; ``hint`` is the key's beginning, which tells keys apart."""

    pk: int
    user: int
    hint: str
    description: str | None


def _account(db: sqlite3.Connection, user: int) -> Account | None:
    row = db.execute(
        "SELECT u.username, u.admin, e.name, t.name FROM users u LEFT JOIN entities e ON e.id=u.entity"
        " LEFT JOIN entities t ON t.id=u.service_team WHERE u.id=?",
        (user,),
    ).fetchone()
    if row is None:
        return None
    username, admin, own, team = row
    # Teams and organisations that he is a member of, and the organisations of those teams.
    joined = db.execute(
        "SELECT e.name, o.name FROM members m JOIN entities e ON e.id=m.entity"
        " LEFT JOIN organizations g ON g.id=e.organization LEFT JOIN entities o ON o.id=g.entity"
        " WHERE m.user=? ORDER BY m.id",
        (user,),
    ).fetchall()
    default = own or team
    entities = [default, *(name for name, _ in joined), *(above for _, above in joined if above)]
    return Account(user, username, bool(admin), own is None, default, tuple(dict.fromkeys(entities)))


class Accounts:
    """The accounts of one data folder, by key.

    Args:
        secret: The key of the hashes.
    """

    def __init__(self, store: Store, secret: bytes) -> None:
        self._store = store
        self._secret = secret
        self._lock = threading.Lock()
        self._known: dict[str, Account] = {}
        self._generation = 0
        # user -> (text of its key, who may see it, until when)
        self._fresh: dict[int, tuple[str, int, int]] = {}

    def _hash(self, key: str) -> str:
        return hmac.new(
            self._secret, b"api key:" + key.encode("utf-8", "surrogatepass"), "sha256"
        ).hexdigest()

    def known(self, key: str) -> Account | None:
        """The account of a key that was looked up before, without a look at the database."""
        return self._known.get(self._hash(key))

    def by_key(self, key: str) -> Account | None:
        """The account that the key stands for, or None.

        The key is looked up by a hash that nobody outside can compute, so the time this takes tells nothing.
        """
        digest = self._hash(key)
        found = self._known.get(digest)
        if found is not None:
            return found
        generation = self._generation
        with self._store.reading() as db:
            row = db.execute("SELECT user FROM api_keys WHERE hash=?", (digest,)).fetchone()
            found = _account(db, row[0]) if row else None
        if found is not None:
            with self._lock:
                if generation == self._generation:
                    self._known[digest] = found
        return found

    def account(self, user: int) -> Account | None:
        """The account of a user's row, or None."""
        with self._store.reading() as db:
            return _account(db, user)

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may change who sees what; what was known of accounts is forgotten after it."""
        try:
            with self._store.writing() as db:
                yield db
        finally:
            with self._lock:
                self._generation += 1
                self._known.clear()

    # -- keys ----------------------------------------------------------------------------------------------

    def add_key(
        self,
        db: sqlite3.Connection,
        user: int,
        *,
        key: str | None = None,
        description: str | None = None,
        primary: bool = False,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns its row and its text, which is not stored.

        Args:
            key: Its text; None makes one of 40 hexadecimal digits.
            primary: Whether it is the one kept in the data folder.

        Raises:
            Refused: (409) Another user has that key.
        """
        text = key or secrets.token_hex(20)
        hint = text[: min(8, len(text) // 5)] + "…"
        known = db.execute("SELECT 1 FROM api_keys WHERE hash=?", (self._hash(text),)).fetchone()
        if known:
            raise Refused("the API key is in use already", 409)
        cursor = db.execute(
            "INSERT INTO api_keys(user, hash, hint, description, is_primary, created_at) VALUES(?,?,?,?,?,?)",
            (user, self._hash(text), hint, description, int(primary), self._store.now()),
        )
        return ApiKey(int(cursor.lastrowid or 0), user, hint, description), text

    def keys(self, db: sqlite3.Connection, user: int) -> list[ApiKey]:
        """A user's keys, oldest first."""
        rows = db.execute(
            "SELECT id, user, hint, description FROM api_keys WHERE user=? ORDER BY id", (user,)
        )
        return [ApiKey(*row) for row in rows]

    def key(self, db: sqlite3.Connection, pk: int) -> ApiKey | None:
        """The key of that row, or None."""
        row = db.execute("SELECT id, user, hint, description FROM api_keys WHERE id=?", (pk,)).fetchone()
        return ApiKey(*row) if row else None

    def delete_key(self, db: sqlite3.Connection, pk: int) -> None:
        """Remove a key; who uses it is refused from then on.

        Raises:
            Refused: It is the one kept in the data folder.
        """
        if db.execute("DELETE FROM api_keys WHERE id=? AND is_primary=0", (pk,)).rowcount == 0:
            raise Refused("the server's own API key cannot be deleted")

    def keep_primary(self, db: sqlite3.Connection, user: int, key: str) -> None:
        """Make ``key`` the server's own key, of ``user``; an earlier one is no longer good."""
        known = db.execute("SELECT user, hash FROM api_keys WHERE is_primary=1").fetchall()
        if known != [(user, self._hash(key))]:
            db.execute("DELETE FROM api_keys WHERE is_primary=1")
            self.add_key(db, user, key=key, primary=True)

    def show_once(self, user: int, key: str, to: int) -> None:
        """Let ``to`` read the text of a service account's key for a minute: nothing keeps it after that."""
        with self._lock:
            now = self._store.now()
            self._fresh = {pk: kept for pk, kept in self._fresh.items() if kept[2] > now}
            self._fresh[user] = (key, to, now + _SHOWN_FOR)

    def shown(self, user: int, to: int) -> str | None:
        """What :meth:`show_once` left for ``to``."""
        kept = self._fresh.get(user)
        return kept[0] if kept and kept[1] == to and kept[2] > self._store.now() else None

    # -- the page's cookies --------------------------------------------------------------------------------

    def ticket(self, key: str, expires: int) -> str | None:
        """A text that stands for the key until ``expires`` (seconds), or None when there is no such key."""
        digest = self._hash(key)
        with self._store.reading() as db:
            row = db.execute("SELECT id FROM api_keys WHERE hash=?", (digest,)).fetchone()
        return f"{expires}.{row[0]}.{_sign(digest, expires, row[0])}" if row else None

    def by_ticket(self, ticket: str, now: float) -> Account | None:
        """The account of a ticket that is ours, still good, and whose key still exists."""
        expires, _, rest = ticket.partition(".")
        pk, _, signature = rest.partition(".")
        if not all(part.isascii() and part.isdigit() and len(part) < 16 for part in (expires, pk)):
            return None
        with self._store.reading() as db:
            row = db.execute("SELECT hash, user FROM api_keys WHERE id=?", (int(pk),)).fetchone()
            if row is None or int(expires) <= now:
                return None
            wanted = _sign(row[0], int(expires), int(pk))
            if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
                return None
            return _account(db, row[1])


def _sign(digest: str, expires: int, key: int) -> str:
    return hmac.new(digest.encode(), f"page:{key}:{expires}".encode(), hashlib.sha256).hexdigest()
