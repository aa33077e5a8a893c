"""What the addresses in an artifact mean: files of other artifacts, and files of this machine."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from wandb_ops.public.artifacts.artifacts import Artifact

ARTIFACT_SCHEME = "wandb-artifact"


def referenced(artifact: Artifact, ref: str) -> tuple[Artifact, str]:
    """The artifact and path that a `wandb-artifact://` address in `artifact` means.

    Raises:
        UsageError: It is no such address.
        NotFoundError: There is no such artifact any more.
    """
    address = urlsplit(ref)
    try:
        identifier = base64.b64encode(binascii.unhexlify(address.netloc)).decode()
    except (binascii.Error, ValueError):
        raise UsageError(f"{ref!r} is not the address of an artifact's file") from None
    return artifact._by_id(identifier), address.path.lstrip("/")


def local_path(uri: str) -> Path:
    """The file or folder that a `file://` address means.

    W&B's SDK writes names into addresses as they are, `Path.as_uri` encodes them: what is there is meant.
    """
    plain = plain_path(uri)
    return plain if plain.exists() else Path(unquote(urlsplit(uri).path))


def plain_path(uri: str) -> Path:
    """The path as it stands in the address, signs like % and # included."""
    return Path("/" + uri.removeprefix("file://").partition("/")[2])
