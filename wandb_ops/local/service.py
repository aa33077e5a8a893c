"""What the parts of the server share: the data folder and what was opened in it, and the settings."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wandb_ops.local.errors import NotFound
from wandb_ops.local.names import check_name
from wandb_ops.local.signing import Signer
from wandb_ops.local.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

FILES, EXPORTS = "storage", "exports"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves.

    Attributes:
        entity: The account that owns everything; also the name of its one user.
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


@dataclass(slots=True)
class Service:
    """One opened data folder. Close it to let another server open it."""

    data: Path
    settings: Settings
    api_key: str = field(repr=False)
    store: Store
    signer: Signer
    _lock: IO[str]

    @property
    def entity(self) -> str:
        """The one account."""
        return self.settings.entity

    def check_entity(self, name: str | None) -> str:
        """The account that a request means: its own by default; :class:`NotFound` for any other."""
        if not name or name == self.entity:
            return self.entity
        raise NotFound(f"entity {name!r} not found on this server, or permission denied")

    def folder(self, area: str, run: int) -> Path:
        """Where a run's blobs (``FILES``) or exported parts (``EXPORTS``) lie."""
        return self.data / area / str(run)

    def close(self) -> None:
        """Close the database and let go of the folder."""
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
    return path.read_text().strip()


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
        RuntimeError: Another server has the folder open, or a newer version wrote it.
    """
    check_name("entity", settings.entity)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (data / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise RuntimeError(f"{data} is in use by another server") from None
    try:
        key = api_key or _secret(data / "api_key")
        store = Store(data / "server.db", clock)
    except BaseException:
        lock.close()
        raise
    for part in (data / FILES).glob("*/*.part"):
        part.unlink()  # an upload that a kill cut short
    signer = Signer(_secret(data / "signing_key").encode(), settings.url_lifetime, clock)
    return Service(data, settings, key, store, signer, lock)
