"""`Artifact`: a version of a data set, model or anything else that consists of files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AmbiguousOutcome, EntryNotFound, NotFoundError, UsageError, VerificationFailed
from wandb_ops.protocol.documents import artifacts as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.manifest import Entry, manifest_digest, md5_of_file, parse_manifest
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.artifacts.attributes import (
    ArtifactAttributes,
    check_labels,
    check_metadata,
)
from wandb_ops.public.artifacts.draft import Building, Draft, logical
from wandb_ops.public.artifacts.entries import ArtifactManifest, ArtifactManifestEntry
from wandb_ops.public.artifacts.lineage import ArtifactLineage
from wandb_ops.public.artifacts.paths import (
    ArtifactPath,
    check_name,
    check_type,
    parse_artifact_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wandb_ops.protocol.artifacts import NewVersion
    from wandb_ops.public.artifacts.files import ArtifactFiles
    from wandb_ops.public.runs.run import Run
    from wandb_ops.transport.session import Transport


class Artifact(Building, ArtifactLineage, ArtifactAttributes):
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

    Raises:
        UsageError: (a ValueError) A name or the metadata is wrong.
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
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

    def _need_transport(self) -> Transport:
        self._known()
        assert self._transport is not None
        return self._transport

    # -- contents ------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> ArtifactManifest:
        """What it consists of."""
        if self._draft is not None:
            shown = {path: self._draft.show(path) for path in self._draft.entries}
        else:
            shown = {path: ArtifactManifestEntry(entry, self) for path, entry in self._entries().items()}
        return ArtifactManifest(shown, self._layout)

    def _entries(self) -> dict[str, Entry]:
        if self._draft is not None:
            return self._draft.entries
        if self._manifest is None:
            from io import BytesIO

            transport = self._need_transport()
            data = execute(transport, documents.ARTIFACT_MANIFEST, {"id": self.id}, where=self._where)
            file = ((data.get("artifact") or {}).get("currentManifest") or {}).get("file") or {}
            if not file.get("directUrl"):
                raise NotFoundError("The artifact has no manifest", where=self._where)
            content = BytesIO()
            transport.download(file["directUrl"], content, where=f"manifest of {self._where}")
            self._manifest, self._layout = parse_manifest(content.getvalue(), self._where)
        return self._manifest

    @property
    def digest(self) -> str:
        """One digest of all that is in it, in hexadecimal."""
        return str(self._node["digest"]) if self._node is not None else manifest_digest(self._entries())

    @property
    def size(self) -> int:
        """Bytes of all files and references whose size is known."""
        if self._node is not None:
            return int(self._node["size"])
        return sum(entry.size or 0 for entry in self._entries().values())

    def get_entry(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """The file or reference of that name.

        Raises:
            EntryNotFound: (a KeyError) There is none.
        """
        entry = self._entries().get(logical(name))
        if entry is None:
            raise EntryNotFound(
                f"The artifact has no file {os.fspath(name)!r}",
                where=self._where,
                hint="`artifact.manifest.entries` lists what there is.",
            )
        return ArtifactManifestEntry(entry, self)

    def get_path(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """The same as `get_entry`; deprecated."""
        return self.get_entry(name)

    def files(
        self, names: list[str] | None = None, per_page: int = 50, start: str | None = None
    ) -> ArtifactFiles:
        """The files, loaded page by page.

        Args:
            names: Exact names; None or empty is all.
            per_page: Files per request.
            start: `cursor` of an earlier result, to go on from there.
        """
        from wandb_ops.public.artifacts.files import ArtifactFiles

        self._known()
        return ArtifactFiles(self, names=names, per_page=per_page, start=start)

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,  # noqa: ARG002 - W&B's argument; there is no cache
        path_prefix: str | os.PathLike[str] | None = None,
        multipart: bool | None = None,  # noqa: ARG002 - W&B's argument
    ) -> str:
        """Save all files below `root`; returns `root`.

        Several are fetched at once, each is checked against its size and MD5 and put in place whole. A file
        that is there already with the right content is not fetched. No name may lead out of `root`.

        Args:
            root: Folder; None is `./artifacts/NAME:VERSION` (or below `WANDB_ARTIFACT_DIR`).
            allow_missing_references: Warn about references that lead nowhere, and go on.
            skip_cache: Accepted as W&B does.
            path_prefix: Only what begins so.
            multipart: Accepted as W&B does.

        Raises:
            UnsafePath: A name would leave `root`; nothing was written.
            ChecksumMismatch: What came is not what the manifest says.
            NotFoundError: A file or the target of a reference is gone.
        """
        from wandb_ops.public.artifacts.download import download_entries

        prefix = os.fspath(path_prefix) if path_prefix is not None else ""
        folder = self._root(os.fspath(root) if root is not None else None)
        wanted = [entry for path, entry in self._entries().items() if path.startswith(prefix)]
        self._known()
        folder.mkdir(parents=True, exist_ok=True)
        download_entries(self, wanted, folder, allow_missing_references=allow_missing_references)
        return str(folder)

    def file(self, root: str | None = None) -> str:
        """Save the only file of an artifact with one file; returns where.

        Raises:
            UsageError: It has another number of files.
        """
        self._known()
        entries = list(self._entries())
        if len(entries) != 1:
            raise UsageError(
                f"The artifact has {len(entries)} files, not one",
                where=self._where,
                hint="Use artifact.download(), or artifact.get_entry(name).download().",
            )
        return self.get_entry(entries[0]).download(root)

    def checkout(self, root: str | None = None) -> str:
        """Make a folder the same as the artifact: what does not belong to it is deleted, the rest fetched."""
        folder = self._root(root)
        for path in self._strangers(folder):
            path.unlink()
        return self.download(root=folder)

    def verify(self, root: str | None = None) -> None:
        """Compare a downloaded folder with the artifact; references are not looked at.

        Raises:
            VerificationFailed: (a ValueError) A file is missing, differs, or does not belong to the artifact.
        """
        self._known()
        folder = self._root(root)
        strangers = self._strangers(folder)
        if strangers:
            raise VerificationFailed(
                f"{str(strangers[0])!r} does not belong to the artifact", where=self._where
            )
        for path, entry in self._entries().items():
            if not entry.is_md5:
                continue
            local = safe_path(folder, path)
            if not local.is_file():
                raise VerificationFailed(f"The file {path!r} is missing", where=self._where)
            if md5_of_file(local) != entry.digest:
                raise VerificationFailed(f"The file {path!r} is not what was logged", where=self._where)

    def _strangers(self, folder: Path) -> list[Path]:
        entries = self._entries()
        return [
            path
            for path in sorted(folder.rglob("*"))
            if (path.is_file() or path.is_symlink()) and path.relative_to(folder).as_posix() not in entries
        ]

    def _root(self, root: str | None) -> Path:
        if root is not None:
            return Path(root)
        base = Path(os.environ.get("WANDB_ARTIFACT_DIR") or "artifacts")
        collection, _, version = self.source_name.partition(":")
        found = safe_path(base, collection)
        return found.with_name(f"{found.name}:{version}")

    # -- changing ------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Save changes to aliases, tags, metadata, description and ttl. Only what was changed is sent.

        Raises:
            UsageError: It is not logged yet; or the description was removed, which W&B does not do.
        """
        transport = self._need_transport()
        saved = self._saved
        before, now = set(saved["aliases"]), set(self._aliases)
        self._send_aliases(transport, documents.ADD_ALIASES, [a for a in self._aliases if a not in before])
        self._send_aliases(transport, documents.DELETE_ALIASES, sorted(before - now))
        changes: dict[str, Any] = {}
        if self._description != saved["description"]:
            if self._description is None:
                raise UsageError("A description can be emptied ('') but not removed", where=self._where)
            changes["description"] = self._description
        if json.dumps(self._metadata, sort_keys=True) != saved["metadata"]:
            changes["metadata"] = json.dumps(check_metadata(self._metadata))
        if self._ttl_seconds != saved["ttl"]:
            changes["ttlDurationSeconds"] = self._ttl_seconds
        added = [tag for tag in check_labels("tags", self._tags) if tag not in saved["tags"]]
        removed = [tag for tag in saved["tags"] if tag not in self._tags]
        if added or removed:
            changes["tagsToAdd"] = [{"tagName": tag} for tag in added]
            changes["tagsToDelete"] = [{"tagName": tag} for tag in removed]
        if changes:
            given = {"artifactID": self.id, **changes}
            data = execute(transport, documents.UPDATE_ARTIFACT, {"input": given}, where=self._where)
            node = (data.get("updateArtifact") or {}).get("artifact")
            if node:
                self._node = node
        self._remember()

    def _send_aliases(self, transport: Transport, operation: Any, names: list[str]) -> None:
        if not names:
            return
        place = {
            "entityName": self._entity,
            "projectName": self._project,
            "artifactCollectionName": self._name.partition(":")[0],
        }
        given = {
            "artifactID": self.id,
            "aliases": [{**place, "alias": name} for name in check_labels("aliases", names)],
        }
        execute(transport, operation, {"input": given}, where=self._where)

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete the version with its files, for good; a linked one is only unlinked.

        Args:
            delete_aliases: Delete its aliases, too. Else a version that has aliases is not deleted.

        Raises:
            GraphQLError: It has aliases.
        """
        if self.is_link:
            self.unlink()
            return
        transport = self._need_transport()
        given = {"artifactID": self.id, "deleteAliases": delete_aliases}
        try:
            execute(transport, documents.DELETE_ARTIFACT, {"input": given}, where=self._where)
        except AmbiguousOutcome:
            data = execute(transport, documents.ARTIFACT_STATE, {"id": self.id}, where=self._where)
            if data.get("artifact") and data["artifact"].get("state") != "DELETED":
                raise

    def link(self, target_path: str, aliases: Iterable[str] | str | None = None) -> Artifact:
        """Link the version into another collection, made when absent; returns it as it is found there.

        Args:
            target_path: `entity/project/collection`, or a shorter path with this artifact's entity and
                project.
            aliases: Aliases that it is to have there.
        """
        transport = self._need_transport()
        target = parse_artifact_path(target_path, self.source_entity, self.source_project)
        if ":" in target.name:
            raise UsageError("An artifact is linked to a collection, not to a version", where=str(target))
        given = {
            "artifactID": self.id,
            "artifactPortfolioName": target.name,
            "entityName": target.entity,
            "projectName": target.project,
            "aliases": [
                {"artifactCollectionName": target.name, "alias": alias}
                for alias in check_labels("aliases", aliases or [])
            ],
        }
        data = execute(transport, documents.LINK_ARTIFACT, {"input": given}, where=str(target))
        index = (data.get("linkArtifact") or {}).get("versionIndex")
        if index is None:
            raise NotFoundError("The server does not tell where the artifact was linked", where=str(target))
        return self._by_path(
            transport, ArtifactPath(target.entity, target.project, f"{target.name}:v{index}")
        )

    def unlink(self) -> None:
        """Take a linked version out of the collection that it was found in.

        Raises:
            UsageError: It is not a link.
        """
        if not self.is_link:
            raise UsageError("The artifact is not a link", where=self._where, hint="Use delete() instead.")
        given = {"artifactID": self.id, "artifactPortfolioID": self.collection.id}
        execute(self._need_transport(), documents.UNLINK_ARTIFACT, {"input": given}, where=self._where)

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

        draft = self._building()
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
