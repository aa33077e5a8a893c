"""`Artifact`: a version of a data set, model or anything else that consists of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents import artifacts as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.artifacts.attributes import check_metadata
from wandb_ops.public.artifacts.changes import ArtifactChanges
from wandb_ops.public.artifacts.contents import ArtifactContents
from wandb_ops.public.artifacts.draft import Building, Draft
from wandb_ops.public.artifacts.lineage import ArtifactLineage
from wandb_ops.public.artifacts.paths import ArtifactPath, check_name, check_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.protocol.artifacts import NewVersion
    from wandb_ops.protocol.manifest import Entry
    from wandb_ops.public.runs.run import Run
    from wandb_ops.transport.session import Transport


class Artifact(Building, ArtifactContents, ArtifactChanges, ArtifactLineage):
    """A version that was logged (from `Api.artifact`), or one that is being built, to be logged to a run.

        artifact = Artifact("rows", type="dataset", metadata={"rows": 3})
        artifact.add_dir("data")
        run.log_artifact(artifact, aliases=["best"])

    The same content logged again, by the same or another client, is the same version. Changes to `aliases`,
    `tags`, `metadata`, `description` and `ttl` of a logged one are local until `save()`.

    Args:
        name: The collection that it will be a version of: letters, digits, `-`, `_` and `.`.
        type: What kind it is, such as "dataset".
        description: Free text.
        metadata: A dict of JSON's values.
        incremental: Not supported: several runs that write one version.
        use_as: Accepted as W&B does, which ignores it.
        storage_region: Where W&B is to keep the files, as its administrators name it.
        digest_algorithm: "MD5"; others are not supported.

    Raises:
        UsageError: (a ValueError) A name or the metadata is wrong, or a feature is asked for that is missing.
    """

    _existed = True

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,  # noqa: ARG002 - W&B's argument, without effect there too
        storage_region: str | None = None,
        digest_algorithm: Literal["MD5", "XXH128"] = "MD5",
    ) -> None:
        if incremental:
            raise UsageError("Incremental artifacts are not there", hint="Start from artifact.new_draft().")
        if digest_algorithm != "MD5":
            raise UsageError(f"digest_algorithm is 'MD5', not {digest_algorithm!r}")
        self._storage_region = storage_region
        self._name = check_name(name)
        self._type = check_type(type)
        self._where = name
        self._transport: Transport | None = None
        self._node: Mapping[str, Any] | None = None
        self._manifest: dict[str, Entry] | None = None
        self._layout = "V2"
        self._draft: Draft | None = Draft(self)
        self._linked_at: str | None = None
        self._take_editable({}, [])
        self._description = description
        self._metadata = check_metadata(dict(metadata) if metadata is not None else None)

    @property
    def existed(self) -> bool:
        """Whether the version was there already; False only once this very object's logging made it."""
        return self._existed

    @classmethod
    def _of_node(
        cls,
        transport: Transport,
        path: ArtifactPath,
        node: Mapping[str, Any],
        *,
        membership: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """The logged artifact of a node that was found at `path`."""
        made = cls.__new__(cls)
        made._become(transport, path, node, membership)
        return made

    def _become(
        self,
        transport: Transport,
        path: ArtifactPath,
        node: Mapping[str, Any],
        membership: Mapping[str, Any] | None = None,
    ) -> None:
        self._transport = transport
        self._node = node
        self._entity, self._project = path.entity, path.project
        self._type = node["artifactType"]["name"]
        self._draft = None
        self._manifest = None
        self._layout = "V2"
        self._linked_at = membership["createdAt"] if membership else None
        index = membership.get("versionIndex") if membership else None
        if index is None:
            _, _, alias = path.name.partition(":")
            found = alias[1:] if alias[:1] == "v" and alias[1:].isdigit() else node["versionIndex"]
            index = int(found)
        self._version = f"v{index}"
        self._name = path.name if ":" in path.name else f"{path.name}:{self._version}"
        self._where = f"{self._entity}/{self._project}/{self._name}"
        self._take_editable(node, self._aliases_in(node, membership))

    def _aliases_in(self, node: Mapping[str, Any], membership: Mapping[str, Any] | None) -> list[str]:
        """The aliases in the collection that the artifact was found in, without `vN`."""
        collection = self._name.partition(":")[0]
        if membership is not None:
            names = [alias["alias"] for alias in membership.get("aliases") or ()]
        else:
            names = [
                alias["alias"]
                for alias in node.get("aliases") or ()
                if (owner := alias.get("artifactCollection"))
                and owner["name"] == collection
                and (owner.get("project") or {}).get("name") == self._project
                and owner["project"]["entity"]["name"] == self._entity
            ]
        return [name for name in names if not (name[:1] == "v" and name[1:].isdigit())]

    # -- finding -------------------------------------------------------------------------------------------

    @classmethod
    def _by_path(cls, transport: Transport, path: ArtifactPath) -> Artifact:
        """The artifact at a path; :class:`NotFoundError` when there is none."""
        variables = {"entity": path.entity, "project": path.project, "name": path.name}
        data = execute(transport, documents.MEMBERSHIP_BY_NAME, variables, where=str(path))
        project = data.get("project")
        if project is None:
            raise NotFoundError("There is no such project", where=f"{path.entity}/{path.project}")
        place = project.get("artifactCollectionMembership")
        if not place or not place.get("artifact"):
            raise NotFoundError("There is no such artifact", where=str(path))
        owner = (place.get("artifactCollection") or {}).get("project") or {}
        found = ArtifactPath(
            (owner.get("entity") or {}).get("name") or path.entity,
            owner.get("name") or path.project,
            path.name,
        )
        return cls._of_node(transport, found, place["artifact"], membership=place)

    def _by_id(self, identifier: str) -> Artifact:
        """Another artifact, by its id."""
        return fetch_by_id(self._need_transport(), identifier)

    # -- logging -------------------------------------------------------------------------------------------

    def new_draft(self) -> Artifact:
        """A new artifact with the same contents, to be changed and logged as the next version."""
        self._known()
        made = Artifact(self._source()["name"], self._type, self._description, self._metadata)
        assert made._draft is not None
        made._draft.entries = dict(self._entries())
        made._draft.base_id = self.id
        return made

    def wait(self, timeout: float | None = None) -> Artifact:  # noqa: ARG002 - W&B's argument
        """This artifact: `run.log_artifact` returns once it is stored, so there is nothing to wait for.

        Raises:
            UsageError: It is not logged yet.
        """
        self._known()
        return self

    def _new_version(self, run: Run, aliases: list[str], tags: list[str], threshold: int) -> NewVersion:
        """What is to be stored of this draft."""
        from wandb_ops.protocol.artifacts import NewVersion

        draft = self._draft
        assert draft is not None
        return NewVersion(
            entity=run.entity,
            project=run.project,
            run_id=run.id,
            name=self._name,
            type=self._type,
            entries=dict(draft.entries),
            sources=dict(draft.sources),
            description=self._description,
            metadata=self._metadata,
            aliases=list(dict.fromkeys([*aliases, "latest"])),
            tags=tags,
            ttl_seconds=self._ttl_seconds if self._ttl_seconds != self._saved["ttl"] else None,
            base_id=draft.base_id,
            storage_region=self._storage_region,
            multipart_threshold=threshold,
        )

    def __repr__(self) -> str:
        return f"<Artifact {self.id or self.name}>"


def fetch_by_id(transport: Transport, identifier: str) -> Artifact:
    """The artifact with that id, in the collection that it was logged to.

    Raises:
        NotFoundError: There is none.
    """
    data = execute(transport, documents.ARTIFACT_BY_ID, {"id": identifier}, where=f"artifact {identifier}")
    node = data.get("artifact")
    if not node:
        raise NotFoundError("There is no such artifact", where=f"artifact {identifier}")
    return Artifact._of_node(transport, source_path(node), node)


def source_path(node: Mapping[str, Any]) -> ArtifactPath:
    """Where a node's artifact was logged."""
    source = node["artifactSequence"]
    project = source.get("project") or {}
    return ArtifactPath(
        (project.get("entity") or {}).get("name") or "",
        project.get("name") or "",
        f"{source['name']}:v{node['versionIndex']}",
    )
