"""Run files: declaring, listing, deleting, and the signed URLs that lead to their contents."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from wandb_ops.local.names import check_file_name, decode_number
from wandb_ops.local.resolvers.context import (
    Args,
    Context,
    Resolver,
    connection,
    cursor_number,
    number_cursor,
    page_size,
    required,
)
from wandb_ops.local.runs import files, runs
from wandb_ops.local.runs.runs import DEFAULT_PROJECT, Run
from wandb_ops.local.service import FILES
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    from wandb_ops.local.runs.files import RunFile

_MAX_FILES = 10_000


def _url(file: RunFile, context: Context, method: str) -> str:
    return context.base_url + context.service.signer.path(method, FILES, file.run, file.name)


def _run_of(context: Context, db: Any, given: Args) -> Run:
    entity = context.check_entity(given.get("entityName"))
    return runs.get(db, entity, given.get("projectName") or DEFAULT_PROJECT, required(given, "runName"))


def _create(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    names = [check_file_name(name) for name in given.get("files") or ()]
    with context.service.store.writing() as db:
        run = _run_of(context, db, given)
        files.declare(db, context.now(), run.pk, names)
        found = [files.find(db, run.pk, name) for name in names]
    return {"runID": run.id, "uploadHeaders": [], "files": found}


def _mark_uploaded(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        run = _run_of(context, db, given)
        files.touch(db, context.now(), run.pk, given.get("files") or ())
    return {"success": True}


def _delete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    pks = [decode_number("File", value) for value in given.get("files") or ()]
    with context.service.store.writing() as db:
        gone = files.delete(
            db, pks, given.get("projectId"), lambda project: context.sees_project(db, project)
        )
    for run, blob in gone:
        (context.service.folder(FILES, run) / blob).unlink(missing_ok=True)
    return {"success": True}


def _files(run: Run, context: Context, args: Args) -> dict[str, Any]:
    # The SDK asks for a file by the path that was saved, "./x" as well as "x".
    names = [posixpath.normpath(name) for name in args.get("names") or () if name]
    first = max(page_size(args, 50), min(len(names), _MAX_FILES))
    after = cursor_number(args.get("after"), 0)
    with context.service.store.reading() as db:
        found = files.page(db, run.pk, names=names, pattern=args.get("pattern"), after=after, first=first)
        total = files.count(db, run.pk)
    nodes = [(file, number_cursor(file.pk)) for file in found[:first]]
    return connection(nodes, len(found) > first, totalCount=total)


def _file_count(run: Run, context: Context, _args: Args) -> int:
    with context.service.store.reading() as db:
        return files.count(db, run.pk)


RESOLVERS: dict[str, Resolver] = {
    "Mutation.createRunFiles": _create,
    "Mutation.markRunFilesUploaded": _mark_uploaded,
    "Mutation.deleteFiles": _delete,
    "Run.files": _files,
    "Run.fileCount": _file_count,
    "File.id": lambda file, _context, _args: file.id,
    "File.name": lambda file, _context, _args: file.name,
    "File.displayName": lambda file, _context, _args: file.name,
    "File.directUrl": lambda file, context, _args: _url(file, context, "GET"),
    "File.url": lambda file, context, args: _url(file, context, "PUT" if args.get("upload") else "GET"),
    "File.uploadUrl": lambda file, context, _args: _url(file, context, "PUT"),
    "File.uploadHeaders": lambda _file, _context, _args: [],
    "File.sizeBytes": lambda file, _context, _args: file.size,
    "File.mimetype": lambda file, _context, _args: file.mimetype,
    "File.md5": lambda file, _context, _args: file.md5,
    "File.digest": lambda file, _context, _args: file.md5,
    "File.updatedAt": lambda file, _context, _args: iso(file.updated_at) if file.pk else None,
}
