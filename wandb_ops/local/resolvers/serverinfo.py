"""``serverInfo``: which optional parts of the protocol this server speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_ops.local.resolvers.context import Args, Context, Resolver

# Features of W&B's servers that change what its SDK sends. What is not listed is off.
FEATURES = (
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
    "ARTIFACT_REGISTRY_SEARCH",
    "AUTOMATION_ACTION_ARIA",
    "AUTOMATION_ACTION_NO_OP",
    "AUTOMATION_EVENT_ADD_ARTIFACT_TAG",
    "AUTOMATION_EVENT_ADD_COLLECTION_TAG",
    "AUTOMATION_EVENT_REMOVE_ARTIFACT_TAG",
    "AUTOMATION_EVENT_REMOVE_COLLECTION_TAG",
    "AUTOMATION_EVENT_RUN_METRIC",
    "AUTOMATION_EVENT_RUN_METRIC_CHANGE",
    "AUTOMATION_EVENT_RUN_METRIC_ZSCORE",
    "AUTOMATION_EVENT_RUN_STATE",
    "AUTOMATION_EVENT_UNLINK_ARTIFACT",
    "AUTOMATION_SCOPE_ENTITY",
    "CLIENT_IDS",
    "INCLUDE_ARTIFACT_TYPES_IN_REGISTRY_CREATION",
    "FILESTREAM_GZIP",
    "LARGE_FILENAMES",
    "MARK_RUN_FILES_UPLOADED",
    "QUERY_AUTOMATIONS_ON_ENTITY",
    "SWEEPS_LOCAL_SCHEDULER",
    "SWEEPS_QUERY_FILTERING",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
)

# The oldest and newest SDK that is served; the SDK warns its user outside of this.
_SDK_RANGE = {"min_cli_version": "0.12.0", "max_cli_version": "0.99.0"}


def _server_info(_source: Any, _context: Context, _args: Args) -> dict[str, Any]:
    return {
        "cliVersionInfo": _SDK_RANGE,
        "features": [{"name": name, "isEnabled": True} for name in FEATURES],
        "latestLocalVersionInfo": None,
    }


RESOLVERS: dict[str, Resolver] = {"Query.serverInfo": _server_info}
