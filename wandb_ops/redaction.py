"""Keeps secrets, signed queries and terminal escapes out of everything that people read.

Every text of an error or a log line that may hold words from outside passes through here. Secrets are
registered when they are read (`settings.resolve`), and masked in the forms they travel in: as they are,
URL-encoded, JSON-escaped, inside HTTP Basic credentials, and as a recognisable beginning. Longer forms are
masked before shorter ones, so that overlapping secrets leave no tail behind.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus, urlsplit

MASK = "[key]"
# A shorter text is no secret worth masking, and masking it would eat ordinary words.
_SHORTEST_SECRET = 6
# Keys this long are also masked by their first characters, as people paste them into tickets.
_LONG_ENOUGH_FOR_A_PREFIX = 24
_PREFIX_LENGTH = 8

# Each begins at the start of a word and is bounded, so that no text costs quadratic time.
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,15}://"
_QUERY_OF_URL = re.compile(rf"({_SCHEME}[^\s'\"<>?#]+)[?#][^\s'\"<>]*")
_USERINFO = re.compile(rf"({_SCHEME})[^\s/'\"<>@]{{1,400}}@")
_QUERY_OF_PATH = re.compile(r"((?:^|[\s'\"(=])/[^\s'\"<>?#]*)\?[^\s'\"<>]*")
_SIGNATURE = re.compile(
    r"(?i)(?<![\w-])([\w-]{0,40}(?:signature|sig|token|credential|accesskeyid|securitytoken)=)[^&\s'\"<>]+"
)
_AUTH_HEADER = re.compile(r"(?i)\b(basic|bearer)(\s+)[A-Za-z0-9+/=_.~-]{16,}")
# What stands before the random part of a key: a product prefix ("wandb_v1_") or an installation's ("local-").
_KEY_HEAD = re.compile(r"(?:[A-Za-z]+_v\d+_|[A-Za-z]+-)?")

_lock = threading.Lock()
_exact: tuple[str, ...] = ()
_prefixes: tuple[re.Pattern[str], ...] = ()


def _forms(value: str) -> set[str]:
    basic = base64.b64encode(f"api:{value}".encode()).decode()
    escaped = json.dumps(value)[1:-1]
    alone = base64.b64encode(value.encode()).decode()
    forms = {value, quote(value, safe=""), quote_plus(value), basic, escaped, alone}
    return forms | {form.rstrip("=") for form in (basic, alone)}


def register_secret(value: str) -> None:
    """Make `redact` mask `value`, in all forms in which it travels, for the rest of the process."""
    global _exact, _prefixes  # noqa: PLW0603 - one registry per process is the point
    if len(value) < _SHORTEST_SECRET:
        return
    with _lock:
        if value in _exact:
            return
        _exact = tuple(sorted({*_exact, *_forms(value)}, key=lambda form: (-len(form), form)))
        if len(value) >= _LONG_ENOUGH_FOR_A_PREFIX:
            head = _KEY_HEAD.match(value)
            visible = value[: (head.end() if head else 0) + _PREFIX_LENGTH]
            _prefixes = (*_prefixes, re.compile(re.escape(visible) + r"[^\s'\"<>]*"))


def redact(text: str) -> str:
    """`text` without registered secrets, URL queries, URL user names and passwords, and auth headers."""
    for form in _exact:
        if form in text:
            text = text.replace(form, MASK)
    for prefix in _prefixes:
        text = prefix.sub(MASK, text)
    text = _USERINFO.sub(r"\1", text)
    text = _QUERY_OF_URL.sub(r"\1?...", text)
    text = _QUERY_OF_PATH.sub(r"\1?...", text)
    text = _SIGNATURE.sub(r"\1[hidden]", text)
    return _AUTH_HEADER.sub(r"\1\2" + MASK, text)


def safe_url(url: str) -> str:
    """`url` without user name, password, query and fragment; what a log line may show."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(malformed URL)"
    if ":" in host:
        host = f"[{host}]"
    return redact(f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path)


def terminal_safe(text: str) -> str:
    """`text` with control characters, ANSI escapes, newlines and text-direction marks written as escapes.

    Names come from whoever can write to the project: one with a newline could forge a log line, one with an
    escape sequence could rewrite the terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def clean(text: str, limit: int = 500) -> str:
    """Words of a server, fit for an error message: redacted, escaped, at most `limit` characters."""
    text = terminal_safe(redact(" ".join(text[: 16 * limit].split())))
    return text if len(text) <= limit else text[: limit - 3] + "..."


__all__ = ["MASK", "clean", "redact", "register_secret", "safe_url", "terminal_safe"]
