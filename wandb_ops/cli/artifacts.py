"""`wandb-ops artifact`: folders become versions, versions become folders, aliases move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wandb_ops import steps
from wandb_ops.cli.output import json_option, pairs, show, size, table
from wandb_ops.cli.steps import client, json_object
from wandb_ops.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from wandb_ops.public.api import Api
    from wandb_ops.steps import ArtifactResult

_type_option = click.option("--type", "kind", help="Type that it has to be of.")


@click.group()
def artifact() -> None:
    """Artifacts: log, fetch, list and promote versions.

    ARTIFACT is entity/project/name:alias, or :v3. Entity and project may be left out for the environment's,
    the alias for `latest`.
    """


@artifact.command()
@click.argument("name")
@click.argument("content", nargs=-1, type=click.Path(path_type=Path))
@click.option("--type", "kind", required=True, help="What kind it is, such as dataset or model.")
@click.option("--run", help="entity/project/run_id that made it. Default: a run that stands for its uploads.")
@click.option("--project", help="Without --run: project; default: WANDB_PROJECT.")
@click.option("--entity", help="Without --run: user or team; default: the account's.")
@click.option("--alias", "aliases", multiple=True, help="Besides latest; may be given again.")
@click.option("--tag", "tags", multiple=True, help="Of a new version; may be given again.")
@click.option("--description", help="Of a new version.")
@click.option("--metadata", type=click.File("r"), help="Of a new version: a JSON file, - for stdin.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=URL",
    help="Refer to what stays where it is; may be given again.",
)
@json_option
def upload(
    name: str,
    content: tuple[Path, ...],
    kind: str,
    run: str | None,
    project: str | None,
    entity: str | None,
    aliases: tuple[str, ...],
    tags: tuple[str, ...],
    description: str | None,
    metadata: Any,
    references: tuple[str, ...],
    as_json: bool,
) -> None:
    """Store CONTENT as a version of the collection NAME.

    The same content is the same version, found again. One folder is stored as what is in it; several files
    and folders each under its own name.
    """
    if run and (project or entity):
        raise UsageError("--run says entity and project already: leave out --project and --entity")
    api = client()
    result = steps.log_artifact(
        api,
        run=run or _run_of_uploads(api, name, project, entity),
        name=name,
        type=kind,
        content=_content(content),
        references=_references(references),
        description=description,
        metadata=json_object(metadata.read()) if metadata else None,
        aliases=aliases,
        tags=tags,
        make_run=run is None,
    )
    show(
        result,
        as_json=as_json,
        people=lambda: pairs([*_pairs(result), ("version", "new" if result.created else "there already")]),
    )


@artifact.command()
@click.argument("artifact")
@click.argument("to", type=click.Path(file_okay=False))
@click.option("--run", help="entity/project/run_id of a run that uses it, for the lineage graph.")
@_type_option
@click.option("--prefix", help="Only names that begin so.")
@click.option(
    "--strangers",
    type=click.Choice(["error", "keep", "delete"]),
    default="error",
    show_default=True,
    help="What to do with files in TO that do not belong to the version.",
)
@json_option
def download(
    artifact: str,
    to: str,
    run: str | None,
    kind: str | None,
    prefix: str | None,
    strangers: Literal["error", "keep", "delete"],
    as_json: bool,
) -> None:
    """Bring the files of ARTIFACT into the folder TO.

    Each is checked; what is there already and right is not fetched again.
    """
    result = steps.download_artifact(
        client(), artifact=artifact, to=to, run=run, type=kind, path_prefix=prefix, strangers=strangers
    )

    def people() -> None:
        pairs(
            [
                ("artifact", result.artifact.path),
                ("folder", result.folder),
                ("files", f"{result.files}, {size(result.bytes)}"),
                ("deleted", result.deleted or ""),
            ]
        )

    show(result, as_json=as_json, people=people)


@artifact.command("show")
@click.argument("artifact")
@_type_option
@json_option
def look(artifact: str, kind: str | None, as_json: bool) -> None:
    """Say which version ARTIFACT means now.

    Ends with 4 while there is none, so that a script can wait for an alias.
    """
    result = steps.artifact_status(client(), artifact=artifact, type=kind)
    if result is None:
        raise NotFoundError("there is no such version", where=artifact)
    show(result, as_json=as_json, people=lambda: pairs(_pairs(result)))


@artifact.command()
@click.argument("collection")
@_type_option
@click.option(
    "--after", type=int, default=-1, metavar="INDEX", help="Only versions that came after this one."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest of them.")
@json_option
def versions(collection: str, kind: str | None, after: int, limit: int | None, as_json: bool) -> None:
    """List the versions of COLLECTION, oldest first.

    COLLECTION is entity/project/name, or shorter with the environment's defaults.
    """
    found = steps.list_artifact_versions(client(), collection=collection, type=kind, after=after, limit=limit)

    def people() -> None:
        if not found:
            click.echo("no versions")
            return
        table(
            ["version", "aliases", "files", "size", "made", "digest"],
            [(v.version, ", ".join(v.aliases), v.files, size(v.size), v.created_at, v.digest) for v in found],
        )

    show(found, as_json=as_json, people=people)


@artifact.command()
@click.argument("artifact")
@click.argument("run")
@_type_option
@click.option("--as", "use_as", help="What it is used as.")
@json_option
def use(artifact: str, run: str, kind: str | None, use_as: str | None, as_json: bool) -> None:
    """Note that RUN uses ARTIFACT, for the lineage graph."""
    result = steps.use_artifact(client(), artifact=artifact, run=run, type=kind, use_as=use_as)
    show(result, as_json=as_json, people=lambda: pairs([*_pairs(result), ("used by", result.run)]))


@artifact.command()
@click.argument("artifact")
@click.option("--alias", "aliases", multiple=True, help="May be given again; another version loses it.")
@click.option("--to", help="project/collection to link it into, or wandb-registry-NAME/collection.")
@_type_option
@json_option
def promote(artifact: str, aliases: tuple[str, ...], to: str | None, kind: str | None, as_json: bool) -> None:
    """Give ARTIFACT aliases, or link it elsewhere.

    With --to it gets them in the collection that it is linked into.
    """
    result = steps.promote_artifact(client(), artifact=artifact, aliases=aliases, to=to, type=kind)
    show(result, as_json=as_json, people=lambda: pairs(_pairs(result)))


def _run_of_uploads(api: Api, name: str, project: str | None, entity: str | None) -> str:
    """The one run that stands for all uploads to a collection from command lines."""
    project = project or api.settings.get("project")
    if not project:
        raise UsageError("no project is named", where=name, hint="Pass --project, or set WANDB_PROJECT.")
    entity = api.entity_or_default(entity)
    return f"{entity}/{project}/{steps.stable_run_id(f'upload-{name}', entity, project, name)}"


def _content(paths: tuple[Path, ...]) -> str | dict[str, str] | None:
    if len(paths) <= 1:
        return str(paths[0]) if paths else None
    named = {path.resolve().name: str(path) for path in paths}
    if len(named) < len(paths):
        raise UsageError("two of the files and folders have the same name", hint="Put them into one folder.")
    return named


def _references(given: tuple[str, ...]) -> dict[str, str]:
    wrong = [one for one in given if not all(one.partition("="))]
    if wrong:
        raise UsageError(f"--reference is NAME=URL, not {wrong[0]!r}")
    return dict(one.split("=", 1) for one in given)


def _pairs(found: ArtifactResult) -> list[tuple[str, Any]]:
    return [
        ("artifact", found.path),
        ("type", found.type),
        ("aliases", ", ".join(found.aliases)),
        ("files", f"{found.files}, {size(found.size)}"),
        ("digest", found.digest),
        ("made", found.created_at),
        ("url", found.url),
    ]
