"""One run's history into one file, or into a lake: exact, and left alone when nothing changed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from wandb_ops.errors import UsageError
from wandb_ops.export.files.writing import write_history
from wandb_ops.export.places.naming import safe_name
from wandb_ops.export.places.targets import explained, folder, measure, shown, target
from wandb_ops.export.request.exported import Exported, run_url
from wandb_ops.export.rows.metadata import describe_source

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from wandb_ops.export.files.writing import FileFormat
    from wandb_ops.export.places.targets import Target
    from wandb_ops.export.request.exported import RunFormat
    from wandb_ops.history.ref import RunCounts, RunRef
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.export")

_SUFFIXES: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def export_run(
    transport: Transport,
    ref: RunRef,
    *,
    to: str | os.PathLike[str],
    format: RunFormat | None = None,
    keys: Sequence[str] | None = None,
    keys_mode: Literal["all", "any"] = "any",
    min_step: int = 0,
    max_step: int | None = None,
    force: bool = False,
    excel_safe: bool = False,
) -> Exported:
    """Write every row asked for of a run's history, proven complete, or raise and leave the old file.

    A Parquet file of the same request whose run has not changed since costs one request and is left alone. A
    CSV or JSON lines file has no room for such a mark: it is made anew beside the old one, which stays when
    both are equal.

    Args:
        transport: The way to the server.
        ref: The run.
        to: Path or URL of the file; of a folder (an existing one, or a name that ends with a slash) the file
            is named after the run, so one project needs a folder of its own.
        format: None takes it from the suffix: .parquet .pq .csv .jsonl .ndjson; in a folder it is parquet.
            "delta" brings the run to the table `history` of the lake `to`, as `export_project` does.
        keys: Columns to keep; None keeps all.
        keys_mode: Keep rows with "any" of the keys, or only those with "all" of them.
        min_step: First step taken.
        max_step: First step no longer taken; None for all.
        force: Write even when nothing changed.
        excel_safe: CSV only: disarm text that a spreadsheet would run as a formula.

    Raises:
        UsageError: The target or the format cannot be, or the folder holds a run of that id of another
            project; nothing was sent.
        UnsafePath: The target is a symbolic link.
        IncompleteHistory: Fewer rows came than the server says exist.
        OutputError: The file could not be written; the old one stands.
    """
    from wandb_ops.export.rows.stream import stream_history
    from wandb_ops.history.ref import run_counts

    if isinstance(keys, str):
        raise UsageError("keys is a list of names, not one text", hint=f"Write keys=[{keys!r}].")
    if format == "delta":
        from wandb_ops.export.lake.run import export_run_to_lake

        if keys_mode != "any" or min_step > 0 or max_step is not None:
            raise UsageError("A lake holds runs whole", hint="Leave out keys_mode, min_step and max_step.")
        return export_run_to_lake(transport, ref, to, keys=keys, force=force)
    place, kind = _place(to, ref, format)
    request: dict[str, Any] = {
        "keys": keys,
        "keys_mode": keys_mode,
        "min_step": min_step,
        "max_step": max_step,
    }

    def result(counts: RunCounts, **values: Any) -> Exported:
        return Exported(
            path=ref.path,
            url=run_url(transport.settings.app_url, ref),
            run_id=ref.run_id,
            uri=place.uri,
            format=kind,
            complete=counts.ended,
            state=counts.state,
            left_out=_left_out(counts, values["rows"], keys, min_step, max_step),
            **values,
        )

    if kind == "parquet" and not force:
        standing = _standing(place)
        if standing is not None:
            counts = run_counts(transport, ref)
            source = describe_source(transport.settings.base_url, ref, counts, **request)
            # A server that does not count lines cannot say that nothing changed.
            if counts.history_lines is not None and standing.fingerprint == source["fingerprint"]:
                logger.info("%s is up to date: %s", place.uri, ref.path)
                return result(counts, action="unchanged", **standing.values)

    with stream_history(transport, ref, **request) as history:
        # The counts are from before the first row was read: rows that a live run adds meanwhile make the
        # next export write again, never the other way round.
        source = describe_source(transport.settings.base_url, ref, history.counts, **request)
        written = write_history(history, place, kind, source, excel_safe=excel_safe, force=force)
        logger.info("%s %s: %d rows of %s", place.uri, written.action, history.rows, ref.path)
        return result(
            history.counts,
            action=written.action,
            rows=history.rows,
            bytes=written.bytes,
            columns=written.columns,
            first_step=history.first_step,
            last_step=history.last_step,
            sha256=written.sha256,
        )


def _place(to: str | os.PathLike[str], ref: RunRef, format: FileFormat | None) -> tuple[Target, FileFormat]:
    """The file to write and its format."""
    text = str(to)
    with explained(shown(to), "write"):
        if not text.endswith("/") and not ("://" not in text and Path(text).expanduser().is_dir()):
            place = target(to)
            return place, _format(place.name, format)
        kind = _format(f".{format or 'parquet'}", format)
        place = folder(to).file(f"{safe_name(ref.run_id)}.{kind}")
    standing = _standing(place) if kind == "parquet" else None
    if standing is not None and standing.run != ref.path:
        raise UsageError(
            f"The folder holds {standing.run} under the name of {ref.path}",
            where=place.uri,
            hint="Give each project a folder of its own, or name the file.",
        )
    return place, kind


def _format(name: str, asked: str | None) -> FileFormat:
    if asked is not None:
        if asked not in ("parquet", "csv", "jsonl"):
            raise UsageError(f"There is no format {asked!r}", hint="There are parquet, csv and jsonl.")
        return cast("FileFormat", asked)
    for suffix, kind in _SUFFIXES.items():
        if name.lower().endswith(suffix):
            return kind
    raise UsageError(
        f"The name {name!r} does not say the format",
        hint=f"Use one of {', '.join(_SUFFIXES)}, or pass format=.",
    )


@dataclass(frozen=True, slots=True)
class _Standing:
    """A file of an earlier export."""

    run: str  # entity/project/run_id
    fingerprint: str
    values: dict[str, Any]  # what `Exported` says of it


def _standing(place: Target) -> _Standing | None:
    """The export that stands there; None when there is none, or what is there is damaged or foreign."""
    from wandb_ops.export.rows.parquet import read_footer

    with explained(place.uri, "read"):
        if not place.exists():
            return None
        with place.open() as file:
            footer = read_footer(file)
        if footer is None or not footer.ours or footer.description.get("kind") != "history":
            logger.info("%s is no export of a history, or damaged: it is replaced", place.uri)
            return None
        with place.open() as file:
            size, digest = measure(file)
    description = footer.description
    return _Standing(
        run="/".join(description[part] for part in ("entity", "project", "run_id")),
        fingerprint=description["fingerprint"],
        values={
            "rows": footer.rows,
            "bytes": size,
            "columns": footer.columns,
            "first_step": description["first_step_read"],
            "last_step": description["last_step_read"],
            "sha256": digest,
        },
    )


def _left_out(
    counts: RunCounts, rows: int, keys: Sequence[str] | None, min_step: int, max_step: int | None
) -> dict[str, int]:
    """Rows of the run that the request did not ask for; a request for all leaves out nothing."""
    if keys is None and min_step <= 0 and max_step is None:
        return {}
    missing = (counts.history_lines or 0) - rows
    return {"not asked for": missing} if missing > 0 else {}
