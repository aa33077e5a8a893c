"""Which project is meant, and where it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from wandb_ops.public.api import Api


def project_of(api: Api, project: str, entity: str | None) -> tuple[str, str]:
    """(entity, project) of "project" or "entity/project".

    Raises:
        UsageError: The text names no project, or nothing says whose it is.
    """
    head, slash, tail = project.partition("/")
    if slash:
        if entity not in (None, head) or "/" in tail or not head or not tail:
            raise UsageError(f"{project!r} is no project's name", hint="Write the name, or entity/project.")
        return head, tail
    if not project:
        raise UsageError("A project is needed", hint="Pass project=.")
    return api.entity_or_default(entity), project


def project_url(app_url: str, entity: str, project: str) -> str:
    """The project's page in the W&B app."""
    return f"{app_url}/{quote(entity, safe='')}/{quote(project, safe='')}"
