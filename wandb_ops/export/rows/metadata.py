"""What a file says about itself, and how a changed run is told from an unchanged one.

A Parquet file carries one JSON object under the key `wandb_ops`: which run it holds, what the server said
about the run just before it was read, what was asked for, and what stands in the file. No state file is
needed: a later export reads the footer, asks the server for the run's counts, and compares fingerprints.

Nothing here depends on when or where the export ran, so the same rows give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wandb_ops.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.history.ref import RunCounts, RunRef

KEY = b"wandb_ops"
FORMAT = 1  # raised when the meaning of the files changes: older ones are then written anew
_SEAL = "metadata_sha256"


def describe_source(
    base_url: str,
    ref: RunRef,
    counts: RunCounts,
    *,
    keys: Sequence[str] | None,
    keys_mode: str,
    min_step: int,
    max_step: int | None,
) -> dict[str, Any]:
    """Where rows come from and what was asked for, with the fingerprint of both.

    The heartbeat is part of it: a rewound run that has grown back to the same number of lines and the same
    last step differs in nothing else.
    """
    source: dict[str, Any] = {
        "kind": "history",
        "base_url": origin(base_url),
        "entity": ref.entity,
        "project": ref.project,
        "run_id": ref.run_id,
        "state": counts.state,
        "history_lines": counts.history_lines,
        "last_step": counts.last_step,
        "heartbeat_at": counts.heartbeat_at,
        "keys": None if keys is None else list(keys),
        "keys_mode": None if keys is None else keys_mode,
        "min_step": min_step,
        "max_step": max_step,
    }
    return source | {"fingerprint": fingerprint(source)}


def describe_system(base_url: str, ref: RunRef, counts: RunCounts) -> dict[str, Any]:
    """The same for a run's system metrics, which have no steps and are always taken whole."""
    source: dict[str, Any] = {
        "kind": "system",
        "base_url": origin(base_url),
        "entity": ref.entity,
        "project": ref.project,
        "run_id": ref.run_id,
        "state": counts.state,
        "events_lines": counts.events_lines,
        "heartbeat_at": counts.heartbeat_at,
    }
    return source | {"fingerprint": fingerprint(source)}


def origin(url: str) -> str:
    """Scheme, host and port of `url`: what names a server, without userinfo, path and query."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def fingerprint(values: Mapping[str, Any]) -> str:
    """A digest of JSON values, the same whatever the order of the keys."""
    return hashlib.sha256(_canonical({"format": FORMAT, **values})).hexdigest()


def seal(values: Mapping[str, Any]) -> bytes:
    """`values` as the text of a footer, with the tool's marks and a checksum of its own."""
    whole = {"format": FORMAT, "tool": f"wandb-ops {__version__}", **values}
    return _canonical(whole | {_SEAL: hashlib.sha256(_canonical(whole)).hexdigest()})


def unseal(text: bytes) -> tuple[dict[str, Any], bool]:
    """(what a footer says, whether its checksum holds); ({}, False) for what is no footer of ours."""
    try:
        whole = json.loads(text)
    except ValueError:
        return {}, False
    if not isinstance(whole, dict):
        return {}, False
    stated = whole.pop(_SEAL, None)
    return whole, stated == hashlib.sha256(_canonical(whole)).hexdigest()


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
