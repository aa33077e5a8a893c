"""The manifest of an artifact: which files and references a version consists of, and their one digest."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEADER = b"wandb-artifact-manifest-v1\n"
_POLICY = "wandb-storage-policy-v1"
_PIECE = 1 << 20
LAYOUT = "V2"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or reference.

    Attributes:
        path: Name in the artifact, with forward slashes.
        digest: MD5 in base64; of a reference, whatever tells that its content changed.
        size: Bytes, where known.
        ref: Where a reference leads; None for a file.
        birth_artifact_id: The version that brought the content.
        extra: What else its writer noted.
    """

    path: str
    digest: str
    size: int | None = None
    ref: str | None = None
    birth_artifact_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def is_md5(self) -> bool:
        """Whether the digest is the content's MD5, and not one of another kind."""
        return self.ref is None and self.extra.get("alg", "MD5") == "MD5"

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        fields = {
            "digest": self.digest,
            "size": self.size,
            "ref": self.ref,
            "birthArtifactID": self.birth_artifact_id,
            "extra": self.extra or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def manifest_digest(entries: Mapping[str, Entry]) -> str:
    """The digest of a version: an MD5, in hexadecimal, over the sorted paths and digests."""
    found = hashlib.md5(_HEADER, usedforsecurity=False)
    for path in sorted(entries):
        found.update(f"{path}:{entries[path].digest}\n".encode())
    return found.hexdigest()


def manifest_json(entries: Mapping[str, Entry], layout: str = LAYOUT) -> dict[str, Any]:
    """The manifest as it is stored."""
    return {
        "version": VERSION,
        "storagePolicy": _POLICY,
        "storagePolicyConfig": {"storageLayout": layout},
        "contents": {path: entries[path].to_json() for path in sorted(entries)},
    }


def parse_manifest(content: bytes, where: str) -> tuple[dict[str, Entry], str]:
    """The entries of a stored manifest, and its storage layout.

    Raises:
        ProtocolError: It is no manifest of a version that is known here.
    """
    try:
        data = json.loads(content)
        version = int(data["version"])
        layout = str((data.get("storagePolicyConfig") or {}).get("storageLayout") or "V1")
        entries = {path: _entry(path, fields) for path, fields in data["contents"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError("The artifact's manifest is not one", where=where) from error
    if version != VERSION:
        raise ProtocolError(f"The artifact's manifest has version {version}, not {VERSION}", where=where)
    return entries, layout


def _entry(path: str, fields: Mapping[str, Any]) -> Entry:
    size, digest = fields.get("size"), fields["digest"]
    if not isinstance(digest, str):
        raise TypeError("a digest is text")
    return Entry(
        path=path,
        digest=digest,
        size=int(size) if size is not None else None,
        ref=fields.get("ref"),
        birth_artifact_id=fields.get("birthArtifactID"),
        extra=dict(fields.get("extra") or {}),
    )


def md5_of_file(path: Path) -> str:
    """A file's MD5 in base64, as W&B writes it; the file is read piece by piece."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as handle:
        while piece := handle.read(_PIECE):
            found.update(piece)
    return base64.b64encode(found.digest()).decode()


def md5_of_bytes(data: bytes) -> str:
    """The MD5 of bytes in base64."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
