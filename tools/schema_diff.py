"""Hold the embedded server's SDL against another description of W&B's schema, field by field.

    python tools/schema_diff.py path/to/wandb-schema.graphql

The server is to be a subset: what it has must be there too, with the same arguments and types. Each
difference is listed with its reason, where one is known; one without a reason makes the exit status 1. A
command for developers: the other description is not part of this repository.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)

OURS = Path(__file__).parents[1] / "wandb_ops" / "local" / "schema.graphql"

# Why the server has what the other description lacks, or has it otherwise.
_SENT = "SDK 0.31 sends it (seen on the wire or in its binary); the other description lacks it"
_HIDDEN = "null for a project that the account may not see"
_PAGED = "offered for paging; the SDK reads the first page"
_WIDE = "sizes and durations pass 2^31"
REASONS = {
    "ArtifactCollection.artifactMemberships(after)": _PAGED,
    "ArtifactPortfolio.artifactMemberships(after)": _PAGED,
    "ArtifactSequence.artifactMemberships(after)": _PAGED,
    "ArtifactCollection.project": _HIDDEN,
    "ArtifactPortfolio.project": _HIDDEN,
    "ArtifactSequence.project": _HIDDEN,
    "ClientIDMapping.serverID": "null for a client id that was never seen",
    "CreateArtifactFileSpecInput.digest": _SENT,
    "CreateArtifactFileSpecInput.uploadPartsInput": "SDK 0.31 sends null (golden capture)",
    "CreateArtifactFilesInput.cloudRegionID": _SENT,
    "CreateArtifactFilesInput.digestAlgorithm": _SENT,
    "Entity.storageBytes": _WIDE,
    "File.sizeBytes": _WIDE,
    "Run.computeSeconds": _WIDE,
    "Project.run(desc)": "`wandb verify` of SDK 0.31 sends it, to try large requests",
    "PopFromRunQueuePayload.runSpec": "the SDK reads an object, not its text",
    "UpsertSweepInput.launchScheduler": _SENT,
    "UpsertSweepInput.templateVariableValues": _SENT,
}


def differences(ours: GraphQLSchema, theirs: GraphQLSchema) -> Iterator[tuple[str, str]]:
    """(place, what differs) for everything of `ours` that `theirs` lacks or types otherwise."""
    for name, mine in sorted(ours.type_map.items()):
        if name.startswith("__"):
            continue
        other = theirs.type_map.get(name)
        if other is None:
            yield name, "the type is not known"
        elif type(mine) is not type(other):
            yield name, f"is a {type(mine).__name__}, not a {type(other).__name__}"
        elif isinstance(mine, GraphQLEnumType) and isinstance(other, GraphQLEnumType):
            for value in sorted(set(mine.values) - set(other.values)):
                yield f"{name}.{value}", "the value is not known"
        elif isinstance(mine, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
            yield from _fields(name, mine.fields, getattr(other, "fields", {}))


def _fields(name: str, mine: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, field in sorted(mine.items()):
        place = f"{name}.{key}"
        if key not in other:
            yield place, "the field is not known"
            continue
        if str(field.type) != str(other[key].type):
            yield place, f"is {field.type}, not {other[key].type}"
        for argument, value in sorted(getattr(field, "args", {}).items()):
            known = other[key].args.get(argument)
            if known is None:
                yield f"{place}({argument})", "the argument is not known"
            elif str(value.type) != str(known.type):
                yield f"{place}({argument})", f"is {value.type}, not {known.type}"


def main(path: str) -> int:
    """Print the differences; 1 when one has no reason."""
    ours = build_schema(OURS.read_text())
    theirs = build_schema(Path(path).read_text(), assume_valid=True)
    found = list(differences(ours, theirs))
    for place, what in found:
        print(f"{place}: {what}  [{REASONS.get(place, 'NO REASON KNOWN')}]")
    unexplained = [place for place, _ in found if place not in REASONS]
    fields = sum(len(getattr(kind, "fields", ())) for kind in ours.type_map.values())
    print(f"{fields} fields compared, {len(found)} differences, {len(unexplained)} without a reason")
    return 1 if unexplained else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
