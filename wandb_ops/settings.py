"""Which server, which key, which defaults; and where each of them came from.

Order, first wins: arguments, `WANDB_*` environment variables, W&B's settings files (`./wandb/settings`, then
`~/.config/wandb/settings`), and for the key also netrc. The source is remembered, so that "401" can say which
key was refused. Nothing here talks to the network.

The default server is the one of W&B's SDK 0.31, `https://api.forge.coreweave.com`, which serves the same
accounts as `https://api.wandb.ai`; a netrc entry of either is taken for both.
"""

from __future__ import annotations

import configparser
import hashlib
import ipaddress
import netrc
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wandb_ops.errors import CredentialsError, UsageError
from wandb_ops.redaction import register_secret, safe_url

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BASE_URL = "https://api.forge.coreweave.com"
DEFAULT_TIMEOUT = 300.0

# One deployment under several names: what `wandb login` wrote for one is good for the others.
_FORGE = {"api.forge.coreweave.com", "forge.coreweave.com", "api.wandb.ai"}
_SHORTEST_KEY = 16
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
_OVERRIDES = {"entity", "project", "run", "username", "base_url", "api_key", "key_source", "allow_http"}

# Keys of this process by fingerprint, so that a pickle made here can be read here (and in forked children)
# without ever holding the key.
_keyring: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client needs to know before it speaks.

    Attributes:
        base_url: The API's address, without a trailing slash.
        api_key: The key. Never shown, never pickled.
        key_source: Where the key came from, in words.
        base_url_source: Where the address came from, in words.
        entity: Default entity (user or team), or None.
        entity_source: Where the default entity came from, in words; empty when there is none.
        project: Default project, or None.
        run: Default run id, or None.
        timeout: Seconds allowed for one call in total, retries and waits included.
        allow_http: Whether `http://` is allowed for other hosts than loopback.
        verify_tls: Whether certificates are checked.
        app_base: The web app's address when it is set explicitly, else None.
    """

    base_url: str
    api_key: str = field(repr=False)
    key_source: str = "argument"
    base_url_source: str = "argument"
    entity: str | None = None
    project: str | None = None
    run: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    allow_http: bool = False
    verify_tls: bool = True
    app_base: str | None = None
    entity_source: str = ""

    def __post_init__(self) -> None:
        register_secret(self.api_key)
        _keyring[_fingerprint(self.api_key)] = self.api_key

    @property
    def app_url(self) -> str:
        """Address of the web app, without a trailing slash; links to runs start with it."""
        if self.app_base:
            return self.app_base
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        if host in ("api.forge.coreweave.com", "forge.coreweave.com"):
            return "https://forge.coreweave.com/wandb"
        if host.startswith("api.wandb."):
            return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"
        if host.startswith("api."):
            return f"{parts.scheme}://app.{parts.netloc.removeprefix('api.')}"
        return self.base_url

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickles travel through brokers, disks and logs: the key stays out, its fingerprint goes along.
        state = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "api_key"}
        return (_revive, (state, _fingerprint(self.api_key)))


def _fingerprint(key: str) -> str:
    return hashlib.sha256(b"wandb-ops key\0" + key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _revive(state: dict[str, Any], fingerprint: str) -> Settings:
    key = _keyring.get(fingerprint)
    if key is None:
        found = _find_key(state["base_url"], None, os.environ)
        key = found[0] if found and _fingerprint(found[0]) == fingerprint else None
    if key is None:
        raise CredentialsError(
            "A pickled client came to a process that does not know its API key"
            f" (it came from {state['key_source']})",
            hint="Keys are not written into pickles. Set WANDB_API_KEY in the process that unpickles.",
        )
    return Settings(api_key=key, **state)


def resolve(
    overrides: Mapping[str, str] | None = None,
    *,
    api_key: str | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from arguments, environment, settings files and netrc.

    Args:
        overrides: Any of `entity`, `project`, `run`, `username` (an old name of `entity`), `base_url`,
            `api_key`, `allow_http`; and `key_source`, which says where the given key came from, for messages.
        api_key: The key; wins over everything.
        timeout: Seconds for one call in total; else `WANDB_HTTP_TIMEOUT`, else 300.
        environ: Stands in for `os.environ`.

    Raises:
        CredentialsError: There is no key, or it cannot be one.
        UsageError: An address or a number is malformed, or an override is unknown.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    unknown = set(given) - _OVERRIDES
    if unknown:
        raise UsageError(f"Unknown settings: {', '.join(sorted(map(str, unknown)))}")
    env = os.environ if environ is None else environ
    files = _settings_files(env)
    allow_http = _flag(given.get("allow_http") or env.get("WANDB_OPS_ALLOW_HTTP", ""), "WANDB_OPS_ALLOW_HTTP")
    raw_url, url_source = _base_url(given.get("base_url"), env, files)
    base_url = check_base_url(raw_url, source=url_source, allow_http=allow_http)

    explicit = api_key if api_key is not None else given.get("api_key")
    if explicit is not None and given.get("key_source"):
        found: tuple[str, str] | None = (check_key(explicit, source=given["key_source"]), given["key_source"])
    else:
        found = _find_key(base_url, explicit, env, files)
    if found is None:
        raise CredentialsError(
            "There is no W&B API key: no argument, no WANDB_API_KEY, none in a W&B settings file, and no"
            f" netrc entry for {urlsplit(base_url).hostname}",
            hint="Set WANDB_API_KEY, or pass api_key=.",
        )
    key, key_source = found

    def default(name: str, argument: str | None, variable: str) -> tuple[str | None, str]:
        return _first(
            (argument, "the overrides"),
            (env.get(variable), variable),
            *((values.get(name), str(path)) for path, values in files),
        )

    entity, entity_source = default("entity", given.get("entity") or given.get("username"), "WANDB_ENTITY")
    app_url = env.get("WANDB_APP_URL", "").strip().rstrip("/")
    insecure = _flag(env.get("WANDB_INSECURE_DISABLE_SSL", ""), "WANDB_INSECURE_DISABLE_SSL")
    return Settings(
        base_url=base_url,
        api_key=key,
        key_source=key_source,
        base_url_source=url_source,
        entity=entity,
        project=default("project", given.get("project"), "WANDB_PROJECT")[0],
        run=default("run", given.get("run"), "WANDB_RUN_ID")[0],
        timeout=_timeout(timeout, env),
        allow_http=allow_http,
        verify_tls=not insecure,
        app_base=app_url or None,
        entity_source=entity_source if entity else "",
    )


def named_server() -> tuple[str, str]:
    """The server that the surroundings name, unchecked and without secrets, and where that came from.

    For messages: it answers where `resolve` fails.
    """
    url, source = _base_url(None, os.environ, _settings_files(os.environ))
    return safe_url(url), source


def _base_url(
    argument: str | None, env: Mapping[str, str], files: list[tuple[Path, dict[str, str]]]
) -> tuple[str, str]:
    url, source = _first(
        (argument, "argument"),
        (env.get("WANDB_BASE_URL"), "WANDB_BASE_URL"),
        *((values.get("base_url"), f"settings file {path}") for path, values in files),
    )
    return (url, source) if url else (DEFAULT_BASE_URL, "default")


def check_base_url(url: str, *, source: str, allow_http: bool = False) -> str:
    """`url` without a trailing slash, if the key may be sent there.

    Raises:
        UsageError: No http(s) address, user name or query in it, or `http://` to another machine.
    """
    text = url.strip()
    advice = f"It came from {source}."
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("The W&B base URL is malformed", hint=advice) from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\\]", text):
        raise UsageError(f"The W&B base URL {safe_url(text)!r} is no http(s) address", hint=advice)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "The W&B base URL carries a user name or password; the API key is set apart", hint=advice
        )
    if parts.query or parts.fragment:
        raise UsageError(f"The W&B base URL {safe_url(text)!r} carries a query or fragment", hint=advice)
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        raise UsageError(
            f"The W&B base URL {safe_url(text)!r} would send the key unencrypted",
            hint=f"{advice} Use https://, or set WANDB_OPS_ALLOW_HTTP=1 for a server on a trusted network.",
        )
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_key(key: str, *, source: str) -> str:
    """`key`, if it can be one. Its text never appears in the error.

    Only what no key can be is refused: keys have grown longer over time, and may again.

    Raises:
        CredentialsError: Empty, too short, or with characters that no key has.
    """
    problem = ""
    if not key:
        problem = "is empty"
    elif key != key.strip():
        problem = "starts or ends with white space"
    elif re.search(r"\s", key):
        problem = "has white space or a line break in it"
    elif not key.isascii() or not key.isprintable():
        problem = "has characters that no API key has"
    elif re.search(r"[\"'`]", key):
        problem = "has quotation marks in it"
    elif len(key) < _SHORTEST_KEY:
        problem = f"has only {len(key)} characters"
    if problem:
        raise CredentialsError(f"The W&B API key from {source} {problem}", hint="Copy it again, whole.")
    return key


def _find_key(
    base_url: str,
    explicit: str | None,
    env: Mapping[str, str],
    files: list[tuple[Path, dict[str, str]]] | None = None,
) -> tuple[str, str] | None:
    if explicit is not None:
        return check_key(explicit, source="the argument api_key"), "argument"
    if "WANDB_API_KEY" in env:
        return check_key(env["WANDB_API_KEY"], source="WANDB_API_KEY"), "WANDB_API_KEY"
    for path, values in _settings_files(env) if files is None else files:
        if values.get("api_key"):
            source = f"settings file {path}"
            return check_key(values["api_key"], source=source), source
    return _netrc_key(base_url, env)


def _netrc_key(base_url: str, env: Mapping[str, str]) -> tuple[str, str] | None:
    """The password of the host's own entry; a `default` entry is for other services and never sent."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    names = [parts.netloc, host, *(sorted(_FORGE - {host}) if host in _FORGE else ())]
    for path in _netrc_files(env):
        try:
            entries = netrc.netrc(str(path)).hosts
        except FileNotFoundError:
            continue
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            # The parser's words quote the file, passwords included.
            raise CredentialsError(f"{path} cannot be read as a netrc file") from None
        for name in names:
            if name in entries and entries[name][2]:
                source = f"netrc {path}"
                return check_key(str(entries[name][2]), source=source), source
    return None


def _netrc_files(env: Mapping[str, str]) -> list[Path]:
    if env.get("NETRC"):
        return [Path(env["NETRC"]).expanduser()]
    home = _home(env)
    return [home / ".netrc", home / "_netrc"]


def _home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path("~").expanduser()


def _settings_files(env: Mapping[str, str]) -> list[tuple[Path, dict[str, str]]]:
    """The `[default]` sections of W&B's settings files that exist, nearest first."""
    here = Path(env.get("WANDB_DIR") or ".") / "wandb" / "settings"
    config = (
        Path(env["WANDB_CONFIG_DIR"]) if env.get("WANDB_CONFIG_DIR") else _home(env) / ".config" / "wandb"
    )
    found = []
    for path in (here, config / "settings"):
        if not path.is_file():
            continue
        parser = configparser.ConfigParser(interpolation=None, default_section="")
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            # The parser's words quote the file, which may hold a key.
            raise UsageError(f"{path} cannot be read as a W&B settings file") from None
        if parser.has_section("default"):
            found.append((path, {k: v.strip() for k, v in parser.items("default") if v.strip()}))
    return found


def _first(*candidates: tuple[str | None, str]) -> tuple[str | None, str]:
    for value, source in candidates:
        if value is not None and value.strip():
            return value.strip(), source
    return None, ""


def _flag(value: object, name: str) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise UsageError(f"{name} is neither true nor false")


def _timeout(argument: float | None, env: Mapping[str, str]) -> float:
    raw: object = argument if argument is not None else env.get("WANDB_HTTP_TIMEOUT") or DEFAULT_TIMEOUT
    try:
        seconds = float(str(raw))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError("The timeout (argument or WANDB_HTTP_TIMEOUT) must be a positive number of seconds")
    return seconds


__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_TIMEOUT",
    "Settings",
    "check_base_url",
    "check_key",
    "named_server",
    "resolve",
]
