"""A file on its way in over HTTP: no larger than allowed, and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from wandb_ops.local.errors import Refused
from wandb_ops.local.runs.files import Upload

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request


async def receive(request: Request, folder: Path, limit: int) -> Upload:
    """The body as a file in `folder`, not in place yet: the caller commits or discards it.

    Args:
        request: Whose body it is.
        folder: Where it is to lie.
        limit: Bytes that it may have.

    Raises:
        Refused: It has more (413), or fewer than its header says; nothing is left of it.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise Refused("the file is too large", 413)
    upload = await run_in_threadpool(Upload, folder)
    try:
        async for chunk in request.stream():
            if upload.size + len(chunk) > limit:
                raise Refused("the file is too large", 413)
            await run_in_threadpool(upload.write, chunk)
        if length.isdigit() and upload.size != int(length):
            raise Refused("the file was cut short")
    except BaseException:
        upload.discard()
        raise
    return upload
