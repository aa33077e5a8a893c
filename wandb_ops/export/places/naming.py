"""File names from names that others chose.

Run ids, project names and entities come from a server or from a person; as file names they may be too long,
reserved, meant to leave their folder, or equal on a disk that does not tell `A` from `a`. `safe_name` maps
any text to a plain name: one that is plain already stays as it is, any other gets the digest of the
original, so that different names never meet.
"""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,79}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def safe_name(text: str) -> str:
    """`text` as one path component: ASCII, at most 80 characters, never reserved, hidden or dotted out.

    >>> safe_name("3f9a0k2x")
    '3f9a0k2x'
    >>> safe_name("../secret")
    'secret-a6b09678'
    """
    if _PLAIN.fullmatch(text) and not _RESERVED.fullmatch(text) and not text.endswith("."):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-.")[:60]
    return f"{readable or 'name'}-{digest}"
