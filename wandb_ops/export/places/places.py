"""A destination together with the options of its store, credentials among them.

Files go through fsspec and lake tables through object_store, which call the same things by other names. Here
is the one translation. The options are kept out of everything that is shown: a `Place` looks like its URL,
and each secret among them is masked wherever texts from outside pass (`redaction`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from wandb_ops.errors import UsageError
from wandb_ops.redaction import register_secret

# fsspec's name -> object_store's, per kind of store.
_NAMES: dict[str, dict[str, str]] = {
    "s3": {
        "key": "aws_access_key_id",
        "secret": "aws_secret_access_key",
        "token": "aws_session_token",
        "endpoint_url": "aws_endpoint_url",
        "region_name": "aws_region",
        "anon": "aws_skip_signature",
    },
    "gs": {"token": "google_service_account"},
    "az": {
        "account_name": "azure_storage_account_name",
        "account_key": "azure_storage_account_key",
        "sas_token": "azure_storage_sas_token",
        "tenant_id": "azure_storage_tenant_id",
        "client_id": "azure_storage_client_id",
        "client_secret": "azure_storage_client_secret",
        "anon": "azure_skip_signature",
    },
}
_KINDS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
    "adl": "az",
}
_SPELLINGS = {"aws_default_region": "aws_region", "aws_endpoint": "aws_endpoint_url"}
# What object_store knows and fsspec does not.
_OBJECT_STORES = re.compile(
    r"(?i)aws_|google_|azure_|allow_http|allow_invalid|conditional_put|copy_if_not_exists|timeout|"
    r"connect_timeout|pool_|proxy_|max_retries|retry_timeout|request_payer|virtual_hosted"
)
_SECRET = re.compile(r"(?i)key|secret|token|password|passwd|credential|sas|connection_string|^auth")
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


class Place:
    """A path or URL, and the options of its store. Looks like the URL alone, also to `repr` and `str`.

    Args:
        url: Where.
        options: Options by fsspec's names or by object_store's.

    Raises:
        UsageError: Options that are no mapping of names.
    """

    __slots__ = ("_options", "url")

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
            raise UsageError("storage_options is a dict of names and values")
        self.url = url
        self._options = dict(options)
        _register(self._options)

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"Place({self.url!r})"

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.url.rstrip('/')}/{name}", self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a place with credentials is not written anywhere")

    @property
    def for_files(self) -> dict[str, Any]:
        """The options as fsspec names them."""
        return to_fsspec(self.url, self._options)

    @property
    def for_tables(self) -> dict[str, str]:
        """The options as object_store names them."""
        return to_object_store(self.url, self._options)


def placed(to: str | os.PathLike[str], options: Mapping[str, Any] | None) -> str | os.PathLike[str]:
    """`to` with the options of its store, where there are any.

    Raises:
        UsageError: Options beside a path object, which has options of its own.
    """
    if not options:
        return to
    if hasattr(to, "fs") and not isinstance(to, Path):
        raise UsageError("The path has options of its own", hint="Pass a URL, or no storage_options.")
    return Place(str(to), options)


def table_options(to: str | os.PathLike[str]) -> dict[str, str] | None:
    """What a lake at `to` needs to be told; None for what stands in the environment."""
    if isinstance(to, Place):
        return to.for_tables or None
    own = getattr(to, "storage_options", None) or getattr(getattr(to, "fs", None), "storage_options", None)
    if not isinstance(own, Mapping) or not own or isinstance(to, Path):
        return None
    _register(own)
    return to_object_store(str(to), own) or None


def child(to: str | os.PathLike[str], name: str) -> str | os.PathLike[str]:
    """The folder `name` in the folder `to`, whatever kind of path that is."""
    if isinstance(to, (Place, Path)) or hasattr(to, "fs"):
        return cast("os.PathLike[str]", cast("Any", to) / name)
    return f"{str(to).rstrip('/')}/{name}"


def to_object_store(url: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Options as object_store names them; what only fsspec knows is left out."""
    names = _NAMES.get(_kind(url), {})
    found: dict[str, Any] = {}
    for name, value in _flat(options).items():
        if name in names:
            found[names[name]] = value
        elif _OBJECT_STORES.match(name):
            found[_SPELLINGS.get(name.lower(), name.lower())] = value
    if isinstance(found.get("google_service_account"), Mapping):
        found["google_service_account_key"] = json.dumps(found.pop("google_service_account"))
    if str(found.get("aws_endpoint_url", "")).startswith("http://"):
        found.setdefault("allow_http", "true")
    return {name: _text(value) for name, value in found.items() if value is not None}


def to_fsspec(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as fsspec names them; what only object_store knows is left out."""
    names = {theirs: ours for ours, theirs in _NAMES.get(_kind(url), {}).items()}
    found: dict[str, Any] = {}
    for name, value in options.items():
        plain = _SPELLINGS.get(name.lower(), name.lower())
        if plain in names:
            found[names[plain]] = value
        elif not _OBJECT_STORES.match(name) or name in _NAMES.get(_kind(url), {}):
            found[name] = value
    if "anon" in found and isinstance(found["anon"], str):
        found["anon"] = found["anon"].lower() == "true"
    region = found.pop("region_name", None)
    if region is not None:
        found["client_kwargs"] = {"region_name": region, **(found.get("client_kwargs") or {})}
    return found


def _kind(url: str) -> str:
    scheme = _SCHEME.match(url)
    return _KINDS.get(scheme[1].lower(), "") if scheme else ""


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """botocore's own options are one level down in s3fs."""
    inner = options.get("client_kwargs")
    return {**(inner if isinstance(inner, Mapping) else {}), **options}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _register(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(value, Mapping):
            _register(value)
        elif isinstance(value, str) and _SECRET.search(name):
            register_secret(value)


os.PathLike.register(Place)
