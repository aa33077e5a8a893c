"""``serverInfo``: which optional parts of the protocol this server speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_ops.local.resolvers.context import Args, Context, Resolver

# Features of W&B's servers that change what its SDK sends. What is not listed is off.
FEATURES = ("CLIENT_IDS", "FILESTREAM_GZIP", "LARGE_FILENAMES", "MARK_RUN_FILES_UPLOADED")

# The oldest and newest SDK that is served; the SDK warns its user outside of this.
_SDK_RANGE = {"min_cli_version": "0.12.0", "max_cli_version": "0.99.0"}


def _server_info(_source: Any, _context: Context, _args: Args) -> dict[str, Any]:
    return {
        "cliVersionInfo": _SDK_RANGE,
        "features": [{"name": name, "isEnabled": True} for name in FEATURES],
        "latestLocalVersionInfo": None,
    }


RESOLVERS: dict[str, Resolver] = {"Query.serverInfo": _server_info}
