"""Names and ids: what a client may call things, and the opaque ids that it gets back.

W&B's ids are base64 of ``Type:v1:…`` texts; clients treat them as opaque, people read them in logs, so they
keep that shape. Every name that a client sends is checked here, once, before it reaches a table.
"""

from __future__ import annotations

import base64
import binascii
import random
import re
import secrets
from urllib.parse import unquote

from wandb_ops.local.errors import Refused

_FORBIDDEN = re.compile(r"[/\\#?%:\x00-\x1f\x7f]")
_MAX_NAME = 128
_MAX_FILE_NAME = 1024


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ADJECTIVES = _words(
    "amber autumn bold brisk bright calm clear cool cosmic crisp dainty deep eager early earnest fancy "
    "feasible firm fluent fresh gentle giddy glad golden good grateful happy hearty honest jolly jumping "
    "kind leafy light likely lively lucky lunar mild misty morning noble northern playful pleasant polar "
    "quiet rich rural serene sharp silent silver smooth snowy solar spring stellar summer sunny swift "
    "upbeat valiant vital warm whole wise young"
)
_NOUNS = _words(
    "aardvark bird breeze brook cloud cosmos dawn deluge donkey dragon dream dust eagle elevator energy "
    "field fire firefly flower fog forest fox frog frost galaxy gorge grass haze hill lake leaf meadow "
    "moon morning mountain music night oath paper pine planet plant pond rain resonance river sea shadow "
    "shape silence sky smoke snow sound sponge star sun surf sunset thunder tree valley violet vortex "
    "water waterfall wave wildflower wind wood yogurt"
)


def check_name(kind: str, name: str | None) -> str:
    """A name of an entity, project, run or queue, or :class:`Refused` with the reason."""
    if not name or not name.strip():
        raise Refused(f"{kind} name is missing")
    if len(name) > _MAX_NAME:
        raise Refused(f"{kind} name is longer than {_MAX_NAME} characters")
    if _FORBIDDEN.search(name) or name in {".", ".."}:
        raise Refused(f"invalid {kind} name: it may not hold / \\ # ? % : or control characters")
    return name


def check_file_name(name: str) -> str:
    """A run file's name: relative, with ``/`` between parts, and never a way out of its folder.

    The name is a key in a table and not a path on this disk, but a client that downloads the file makes a
    path of it: what could leave *its* folder is refused here already.
    """
    if not name or len(name) > _MAX_FILE_NAME:
        raise Refused(f"invalid file name: between 1 and {_MAX_FILE_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Refused("invalid file name: not Unicode") from None
    for form in (name, unquote(name)):
        if any(character < " " or character == "\x7f" for character in form):
            raise Refused("invalid file name: control characters")
        if "\\" in form or form.startswith(("/", "~")) or re.match(r"[A-Za-z]:", form):
            raise Refused("invalid file name: it must be relative, with / between its parts")
        if any(part in {"", ".", ".."} for part in form.split("/")):
            raise Refused("invalid file name: empty, '.' and '..' parts are not allowed")
    return name


def new_run_id() -> str:
    """Eight random characters, as W&B gives them to runs without an id."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(8))


def display_name(number: int, seed: str) -> str:
    """``adjective-noun-number``, the same for the same run, so that a retried creation shows one name."""
    choice = random.Random(seed)
    return f"{choice.choice(_ADJECTIVES)}-{choice.choice(_NOUNS)}-{number}"


def encode_id(kind: str, *parts: object) -> str:
    """An opaque id: base64 of ``Kind:v1:part:…`` (names may not hold a colon)."""
    return base64.b64encode(":".join((kind, "v1", *map(str, parts))).encode()).decode()


def decode_id(kind: str, value: str) -> list[str]:
    """The parts of an id that :func:`encode_id` made; :class:`Refused` for anything else."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Refused(f"invalid {kind} id") from None
    found, _, rest = text.partition(":v1:")
    if found != kind or not rest:
        raise Refused(f"invalid {kind} id")
    return rest.split(":")


def encode_row_id(kind: str, pk: int) -> str:
    """The id of a user or entity, base64 of ``Kind:number``: clients take these two apart."""
    return base64.b64encode(f"{kind}:{pk}".encode()).decode()


def decode_row_id(kind: str, value: str) -> int:
    """The row number in an id of :func:`encode_row_id`; :class:`Refused` for anything else."""
    try:
        found, _, number = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        found = number = ""
    if found != kind or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise Refused(f"invalid {kind} id")
    return int(number)


def decode_number(kind: str, value: str) -> int:
    """The row number in an id of one part."""
    parts = decode_id(kind, value)
    if len(parts) != 1 or not parts[0].isdigit() or len(parts[0]) > 18:
        raise Refused(f"invalid {kind} id")
    return int(parts[0])
