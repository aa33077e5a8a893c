"""The files that hang on a run: listing, fetching and adding them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.public.document import parse_object
from wandb_ops.public.runs.attributes import RunAttributes
from wandb_ops.public.runs.files import File, Files, fetch

if TYPE_CHECKING:
    from wandb_ops.public.runs.run import Run


class AttachedFiles(RunAttributes):
    """Part of `Run`."""

    _metadata: dict[str, Any] | None

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What `wandb-metadata.json` says of machine and program; None when the run has no such file."""
        if self._metadata is None:
            content = BytesIO()
            try:
                fetch(self.file("wandb-metadata.json"), content)
            except NotFoundError:
                return None
            self._metadata = parse_object(content.getvalue(), f"wandb-metadata.json of {self._where}")
        return self._metadata

    def files(self, names: list[str] | None = None, pattern: str | None = None, per_page: int = 50) -> Files:
        """The run's files, loaded page by page.

        Args:
            names: Exact names; None or empty is all.
            pattern: SQL's LIKE: `%.json` is every name that ends so. Not together with `names`.
            per_page: Files per request.
        """
        return Files(cast("Run", self), names=names, pattern=pattern, per_page=per_page)

    def file(self, name: str) -> File:
        """One file.

        Raises:
            NotFoundError: The run has no file of that name.
        """
        if not isinstance(name, str) or not name:
            raise UsageError(f"A file is named by text, not {name!r}", where=self._where)
        for file in self.files([name]):
            if file.name == name:
                return file
        raise NotFoundError(
            f"The run has no file {name!r}", where=self._where, hint="`run.files()` lists what there is."
        )

    def upload_file(self, path: str, root: str = ".") -> File:
        """Upload a local file to the run; the same name again replaces it.

        Args:
            path: The file, absolute or relative to the working directory.
            root: Folder that the name in the run is relative to.

        Raises:
            UsageError: The file is not there, or not below `root`.
        """
        from wandb_ops.protocol.storage import upload_run_file

        base, local = Path(root).resolve(), Path(path).resolve()
        if not local.is_file():
            raise UsageError(f"There is no file {str(path)!r} to upload", where=self._where)
        if not local.is_relative_to(base):
            raise UsageError(
                f"{str(path)!r} is not below the root {str(root)!r}",
                where=self._where,
                hint="Pass a root= that contains the file: its name in the run is relative to it.",
            )
        name = local.relative_to(base).as_posix()
        upload_run_file(
            self._transport,
            entity=self._entity,
            project=self._project,
            run_id=self._run_id,
            name=name,
            data=local,
        )
        return self.file(name)
