"""Files of runs: up to W&B, and down to one folder and nowhere else."""

from __future__ import annotations

import re
import unicodedata
import weakref
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wandb_ops.errors import ProtocolError, UnsafePath, UnsupportedServer
from wandb_ops.protocol.documents.write import CREATE_RUN_FILES, MARK_RUN_FILES_UPLOADED, SERVER_FEATURES
from wandb_ops.protocol.graphql import execute
from wandb_ops.redaction import terminal_safe
from wandb_ops.transport.workers import workers as pool_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wandb_ops.transport.session import Transport

_LONGEST_NAME = 255  # bytes of one path component, on every common file system
_LONGEST_PATH = 1024
_FILES_AT_ONCE = 100  # whose addresses are asked for together: they are good for a while only
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?")

_features: weakref.WeakKeyDictionary[Transport, frozenset[str]] = weakref.WeakKeyDictionary()


def safe_path(root: Path, name: str) -> Path:
    """The path of the file `name`, which comes from outside, inside the folder `root`.

    One function for every name that a server or another user chose. Nothing is written, nothing is mapped to
    another name: what is not surely inside `root`, on every system, is refused.

    Raises:
        UnsafePath: The name is absolute, climbs out, hides a separator, names a device, ends in a way that
            some system drops, is too long, or leads through a symbolic link.
    """
    problem = name_problem(name)
    if problem:
        raise UnsafePath(f"The file name {_shown(name)} {problem}; nothing was written")
    path = root
    inside = root.resolve()
    for part in name.split("/"):
        path /= part
        # A link that is there already, planted or not, could lead anywhere.
        if path.is_symlink():
            raise UnsafePath(
                f"The file name {_shown(name)} leads through a symbolic link; nothing was written"
            )
    if not path.resolve().is_relative_to(inside):
        raise UnsafePath(f"The file name {_shown(name)} leads out of its folder; nothing was written")
    return path


def _shown(name: str) -> str:
    return repr(terminal_safe(name[:80]) + ("..." if len(name) > 80 else ""))


def name_problem(name: str) -> str:
    """What is wrong with a file's name, as the end of a sentence; empty when it is safe everywhere."""
    if not name:
        return "is empty"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        return "has control characters"
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "is absolute"
    if len(name.encode()) > _LONGEST_PATH:
        return f"is longer than {_LONGEST_PATH} bytes"
    for part in name.split("/"):
        problem = _part_problem(part)
        if problem:
            return problem
    return ""


def _part_problem(part: str) -> str:
    if part in ("", ".", ".."):
        return "has an empty or relative part"
    # Both as it is and as someone down the road may read it: percent-decoded, in compatibility form.
    for reading in (
        unquote(part),
        unicodedata.normalize("NFKC", part),
        unicodedata.normalize("NFKC", unquote(part)),
    ):
        if reading in (".", "..") or "/" in reading or "\\" in reading or "\0" in reading:
            return "hides a separator or a relative part"
    if part[-1] in ". ":
        return "has a part that ends in a dot or space"
    if _DEVICES.fullmatch(part):
        return "is a device name on Windows"
    if len(part.encode()) > _LONGEST_NAME:
        return f"has a part longer than {_LONGEST_NAME} bytes"
    return ""


def server_features(transport: Transport) -> frozenset[str]:
    """Names of the features the server has switched on; asked once per transport.

    A server too old to tell has none.
    """
    if transport not in _features:
        try:
            info = execute(transport, SERVER_FEATURES, {}, where="server").get("serverInfo") or {}
        except UnsupportedServer:
            info = {}
        listed = [feature for feature in info.get("features") or () if isinstance(feature, dict)]
        _features[transport] = frozenset(f["name"] for f in listed if f.get("isEnabled") and f.get("name"))
    return _features[transport]


def upload_run_file(
    transport: Transport, *, entity: str, project: str, run_id: str, name: str, data: bytes | Path
) -> None:
    """Put one file to a run under `name`, replacing what was there. Every step can be repeated.

    Args:
        transport: Sends and retries.
        entity: The run's entity.
        project: The run's project.
        run_id: The run's id.
        name: Path within the run's files, with forward slashes.
        data: Bytes, or a file.

    Raises:
        UnsafePath: `name` could not be downloaded safely by anybody.
        CommError: As `graphql.execute` and `Transport.upload`.
    """
    upload_run_files(transport, entity=entity, project=project, run_id=run_id, files={name: data})


def upload_run_files(
    transport: Transport,
    *,
    entity: str,
    project: str,
    run_id: str,
    files: Mapping[str, bytes | Path],
    workers: int = 1,
) -> None:
    """As `upload_run_file`, of several; their addresses are asked for together.

    Args:
        transport: Sends and retries.
        entity: The run's entity.
        project: The run's project.
        run_id: The run's id.
        files: Bytes, or files, by path within the run's files.
        workers: Files that are sent at once.

    Raises:
        UnsafePath: A name could not be downloaded safely by anybody; nothing was sent.
        CommError: As `graphql.execute` and `Transport.upload`.
    """
    for name in files:
        problem = name_problem(name)
        if problem:
            raise UnsafePath(f"The file name {_shown(name)} {problem}; nothing was sent")
    names = list(files)
    for start in range(0, len(names), _FILES_AT_ONCE):
        batch = names[start : start + _FILES_AT_ONCE]
        where = f"{entity}/{project}/{run_id}/{terminal_safe(batch[0])}"
        variables = {"entity": entity, "project": project, "run": run_id, "files": batch}
        payload = execute(transport, CREATE_RUN_FILES, variables, where=where).get("createRunFiles") or {}
        urls = {file.get("name"): file.get("uploadUrl") for file in payload.get("files") or ()}
        if not all(urls.get(name) for name in batch):
            raise ProtocolError("CreateRunFiles: the answer has no upload URL for the file", where=where)
        headers = dict(upload_header(line, where) for line in payload.get("uploadHeaders") or ())

        def send(name: str, urls: Mapping[str, str] = urls, headers: Mapping[str, str] = headers) -> None:
            place = f"{entity}/{project}/{run_id}/{terminal_safe(name)}"
            transport.upload(urls[name], files[name], headers=headers, where=place)

        if workers == 1 or len(batch) == 1:
            for name in batch:
                send(name)
        else:
            with pool_of(workers, "wandb-ops-file") as pool:
                list(pool.map(send, batch))
        if "MARK_RUN_FILES_UPLOADED" in server_features(transport):
            execute(transport, MARK_RUN_FILES_UPLOADED, variables, where=where)


def upload_header(line: str, where: str) -> tuple[str, str]:
    """Name and value of a header that the server wants with an upload (`"Name:value"`).

    Raises:
        ProtocolError: It is no header.
    """
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name.strip()) or re.search(r"[\r\n\0]", value):
        raise ProtocolError("The answer has a malformed upload header", where=where)
    return name.strip(), value.strip()


__all__ = [
    "name_problem",
    "safe_path",
    "server_features",
    "upload_header",
    "upload_run_file",
    "upload_run_files",
]
