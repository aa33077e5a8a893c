"""What answers each GraphQL field, by area; fields that are not named here are items of a dict."""

from __future__ import annotations

from wandb_ops.local.resolvers import (
    accounts,
    artifactcollections,
    artifactcontents,
    artifacts,
    artifactsight,
    artifactstoring,
    artifactwrites,
    automations,
    customcharts,
    entities,
    files,
    history,
    launch,
    logs,
    projects,
    registries,
    registrymembers,
    runevents,
    runs,
    runwrites,
    serverinfo,
    sweeps,
    views,
)

RESOLVERS = {
    **serverinfo.RESOLVERS,
    **entities.RESOLVERS,
    **accounts.RESOLVERS,
    **projects.RESOLVERS,
    **runs.RESOLVERS,
    **runwrites.RESOLVERS,
    **history.RESOLVERS,
    **logs.RESOLVERS,
    **files.RESOLVERS,
    **launch.RESOLVERS,
    **artifactsight.guarded(artifacts.RESOLVERS | artifactcollections.RESOLVERS | artifactcontents.RESOLVERS),
    **artifactstoring.RESOLVERS,
    **artifactwrites.RESOLVERS,
    **sweeps.RESOLVERS,
    **runevents.RESOLVERS,
    **views.RESOLVERS,
    **registries.RESOLVERS,
    **registrymembers.RESOLVERS,
    **automations.RESOLVERS,
    **customcharts.RESOLVERS,
}

#: Names of the types that interfaces and unions stand for, by what they are found out from.
RESOLVE_TYPES = {
    **artifacts.RESOLVE_TYPES,
    **artifactcollections.RESOLVE_TYPES,
    **automations.RESOLVE_TYPES,
}
