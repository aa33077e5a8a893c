"""The methods of `Api` that have to do with artifacts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.public.artifacts.paths import ArtifactPath, split_artifact_path
from wandb_ops.public.paths import DEFAULT_PROJECT

if TYPE_CHECKING:
    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.public.artifacts.collections import ArtifactCollection, ArtifactCollections
    from wandb_ops.public.artifacts.types import ArtifactType, ArtifactTypes
    from wandb_ops.public.artifacts.versions import Artifacts
    from wandb_ops.transport.session import Transport


class ArtifactQueries:
    """Looking up artifacts, their types and collections. Paths may leave out what the settings say."""

    _transport: Transport
    settings: dict[str, Any]

    if TYPE_CHECKING:

        def entity_or_default(self, entity: str | None) -> str: ...

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """One version, fetched now.

        Args:
            name: `entity/project/name:version`, or `name:alias` with defaults; without one, `latest`.
            type: What type it has to be of.

        Raises:
            UsageError: (a ValueError) That is no name of an artifact, or it is of another type.
            NotFoundError: (a ValueError) There is no such artifact, or this account may not see it.
        """
        from wandb_ops.public.artifacts.artifacts import Artifact

        path = self._artifact_path(name)
        if ":" not in path.name:
            path = ArtifactPath(path.entity, path.project, f"{path.name}:latest")
        found = Artifact._by_path(self._transport, path)
        if type is not None and found.type != type:
            raise UsageError(f"The artifact is of type {found.type!r}, not {type!r}", where=str(path))
        return found

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Whether there is such a version (of that type). Failures to ask are raised, not taken for no."""
        from wandb_ops.public.artifacts.artifacts import Artifact

        path = self._artifact_path(name)
        if ":" not in path.name:
            path = ArtifactPath(path.entity, path.project, f"{path.name}:latest")
        try:
            found = Artifact._by_path(self._transport, path)
        except NotFoundError:
            return False
        return type is None or found.type == type

    def artifacts(
        self,
        type_name: str,
        name: str,
        order: str | None = None,
        per_page: int = 50,
        tags: list[str] | None = None,
        start: str | None = None,
    ) -> Artifacts:
        """The versions of a collection, newest first.

        Args:
            type_name: The collection's type.
            name: `entity/project/name`, or shorter with defaults.
            order: + or - and a key, such as "+createdAt".
            per_page: Versions per request.
            tags: Only versions that have all of these.
            start: `cursor` of an earlier result, to go on from there.

        Raises:
            NotFoundError: On first use: there is no such collection of that type.
        """
        from wandb_ops.public.artifacts.versions import Artifacts

        path = self._artifact_path(name)
        return Artifacts(
            self._transport,
            path.entity,
            path.project,
            path.name,
            type_name,
            order=order,
            per_page=per_page,
            tags=tags,
            start=start,
        )

    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> Artifacts:
        """The same as `artifacts`; deprecated."""
        warnings.warn(
            "artifact_versions is deprecated; use artifacts(type_name, name)",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.artifacts(type_name, name, per_page=per_page)

    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """A type of artifacts in a project, fetched now.

        Args:
            type_name: Its name.
            project: `entity/project` or `project`; None is the default project.

        Raises:
            NotFoundError: There is no such type.
        """
        from wandb_ops.public.artifacts.types import ArtifactType

        entity, name = self._artifact_project(project)
        return ArtifactType(self._transport, entity, name, type_name)

    def artifact_types(self, project: str | None = None, start: str | None = None) -> ArtifactTypes:
        """The types of artifacts in a project.

        Args:
            project: `entity/project` or `project`; None is the default project.
            start: `cursor` of an earlier result, to go on from there.
        """
        from wandb_ops.public.artifacts.types import ArtifactTypes

        entity, name = self._artifact_project(project)
        return ArtifactTypes(self._transport, entity, name, start=start)

    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection:
        """One collection, fetched now.

        Args:
            type_name: Its type.
            name: `entity/project/name`, or shorter with defaults.

        Raises:
            NotFoundError: (a ValueError) There is no such collection of that type.
        """
        from wandb_ops.public.artifacts.collections import ArtifactCollection

        path = self._artifact_path(name)
        return ArtifactCollection(self._transport, path.entity, path.project, path.name, type_name)

    def artifact_collections(
        self,
        project_name: str,
        type_name: str,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> ArtifactCollections:
        """The collections of a type in a project.

        Args:
            project_name: `entity/project` or `project`.
            type_name: The type.
            order: + or - and a key, such as "-createdAt".
            per_page: Collections per request.
            start: `cursor` of an earlier result, to go on from there.

        Raises:
            NotFoundError: On first use: there is no such project, or no such type in it.
        """
        from wandb_ops.public.artifacts.collections import ArtifactCollections

        entity, name = self._artifact_project(project_name)
        return ArtifactCollections(
            self._transport, entity, name, type_name, order=order, per_page=per_page, start=start
        )

    def artifact_collection_exists(self, name: str, type: str) -> bool:
        """Whether there is such a collection of that type. Failures to ask are raised, not taken for no."""
        try:
            self.artifact_collection(type, name)
        except NotFoundError:
            return False
        return True

    # -- inside --------------------------------------------------------------------------------------------

    def _artifact_path(self, name: str) -> ArtifactPath:
        entity, project, rest = split_artifact_path(name)
        return ArtifactPath(
            self.entity_or_default(entity), project or self.settings.get("project") or DEFAULT_PROJECT, rest
        )

    def _artifact_project(self, path: str | None) -> tuple[str, str]:
        if path is None:
            return self.entity_or_default(None), self.settings.get("project") or DEFAULT_PROJECT
        if not isinstance(path, str) or not path.strip("/ "):
            raise UsageError(f"{path!r} is not the path of a project")
        entity, _, project = path.strip("/ ").rpartition("/")
        if "/" in entity or not project:
            raise UsageError(f"{path!r} is not the path of a project")
        return self.entity_or_default(entity or None), project
