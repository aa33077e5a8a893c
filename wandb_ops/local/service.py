"""What the parts of the server share: the data folder and what was opened in it, and the settings."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wandb_ops.local.accounts import directory
from wandb_ops.local.accounts.accounts import Accounts
from wandb_ops.local.database.groupcommit import GroupCommit
from wandb_ops.local.database.store import Store
from wandb_ops.local.errors import Refused
from wandb_ops.local.names import check_name
from wandb_ops.local.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

FILES, EXPORTS, ARTIFACTS = "storage", "exports", "artifacts"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves.

    Attributes:
        entity: The server's own user, and the name of the entity that is his.
        admin_key: Opens the admin API; None leaves it out.
        crash_after: Seconds without a heartbeat after which a running run is shown as crashed.
        parquet_after_rows: A run that ends with at least so many history rows gets Parquet exports; None
            never writes any, and every history stays live.
        parquet_rows_per_part: Rows of one exported file.
        url_lifetime: Seconds for which a signed URL is good.
        max_body: Largest body of a GraphQL or file_stream request, in bytes, unpacked.
        max_upload: Largest file, in bytes.
    """

    entity: str = "local"
    crash_after: float = 300.0
    parquet_after_rows: int | None = None
    parquet_rows_per_part: int = 100_000
    url_lifetime: float = 3600.0
    max_body: int = 128 << 20
    max_upload: int = 64 << 30
    admin_key: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Service:
    """One opened data folder. Close it to let another server open it."""

    data: Path
    settings: Settings
    api_key: str = field(repr=False)
    store: Store
    writer: GroupCommit
    accounts: Accounts
    signer: Signer
    _lock: IO[str]

    @property
    def entity(self) -> str:
        """The entity of the server's own user."""
        return self.settings.entity

    def folder(self, area: str, run: int) -> Path:
        """Where a run's blobs (``FILES``) or exported parts (``EXPORTS``) lie."""
        return self.data / area / str(run)

    def close(self) -> None:
        """Close the database and let go of the folder."""
        self.writer.close()
        self.store.close()
        self._lock.close()


def _secret(path: Path) -> str:
    """A random text kept in a file that only its owner reads; made on first use."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(secrets.token_hex(20))
        part.rename(path)
    text = path.read_text().strip()
    if not text:
        raise RuntimeError(f"{path} is empty: remove it, and a new one is made")
    return text


def open_service(
    data: Path,
    settings: Settings,
    api_key: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Service:
    """Open a data folder, made when absent.

    Args:
        api_key: The key that clients must send; None takes the folder's own, made on first use.

    Raises:
        RuntimeError: Another server has the folder open, another version wrote it, or it is damaged; or
            ``settings.entity`` is a team there, or ``api_key`` another user's.
    """
    check_name("entity", settings.entity)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    ignore = data / ".gitignore"  # a folder with a key in it does not belong into anyone's repository
    if not ignore.exists():
        ignore.write_text("*\n")
    lock = (data / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise RuntimeError(f"{data} is in use by another server") from None
    try:
        key = api_key or _secret(data / "api_key")
        secret = _secret(data / "signing_key").encode()
        store = Store(data / "server.db", clock)
    except BaseException:
        lock.close()
        raise
    accounts = Accounts(store, secret)
    try:
        with accounts.changing() as db:
            accounts.keep_primary(db, directory.ensure_owner(db, store.now(), settings.entity).pk, key)
    except Refused as error:
        store.close()
        lock.close()
        raise RuntimeError(str(error)) from None
    for part in (*(data / FILES).glob("*/*.part"), *(data / ARTIFACTS).glob("*/*.part")):
        part.unlink()  # an upload that a kill cut short
    signer = Signer(secret, settings.url_lifetime, clock)
    return Service(data, settings, key, store, GroupCommit(store), accounts, signer, lock)
