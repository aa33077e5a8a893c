"""What answers each GraphQL field, by area; fields that are not named here are items of a dict."""

from __future__ import annotations

from wandb_ops.local.resolvers import (
    entities,
    files,
    history,
    launch,
    logs,
    projects,
    runs,
    runwrites,
    serverinfo,
)

RESOLVERS = {
    **serverinfo.RESOLVERS,
    **entities.RESOLVERS,
    **projects.RESOLVERS,
    **runs.RESOLVERS,
    **runwrites.RESOLVERS,
    **history.RESOLVERS,
    **logs.RESOLVERS,
    **files.RESOLVERS,
    **launch.RESOLVERS,
}
