"""Does a file still hold what its footer says, and is that what the server has?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from wandb_ops.errors import OutputError
from wandb_ops.export.places.targets import explained, measure, shown, target
from wandb_ops.export.rows.metadata import describe_source, origin

if TYPE_CHECKING:
    import os

    from wandb_ops.export.places.targets import Target
    from wandb_ops.transport.session import Transport


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found when a file was checked."""

    uri: str
    ok: bool  # the file holds what it says
    problems: tuple[str, ...]  # in words; empty when ok
    rows: int
    current: bool | None = None  # the server has nothing newer; None when it was not asked
    description: dict[str, Any] = field(default_factory=dict)  # the footer's own words


def verify_file(
    uri: str | os.PathLike[str], *, transport: Transport | None = None, sha256: str | None = None
) -> Verified:
    """Read a Parquet export again, every value of it, and compare with its footer.

    Args:
        uri: Path or URL of the file.
        transport: When given, the server is asked for the run's counts: one request, no history.
        sha256: The file's checksum as its export returned it; then every single byte is covered.

    Raises:
        OutputError: There is no such file, or it cannot be read.
        UsageError: The file belongs to another server than `transport` speaks to.
    """
    with explained(shown(uri), "read"):
        return verify_target(target(uri), transport=transport, sha256=sha256)


def verify_target(
    place: Target, *, transport: Transport | None = None, sha256: str | None = None
) -> Verified:
    """The same for a file whose place is known."""
    from wandb_ops.export.rows.parquet import read_footer

    with explained(place.uri, "read"):
        if not place.exists():
            raise OutputError("There is no such file", where=place.uri)
        problems: list[str] = []
        with place.open() as file:
            if sha256 is not None and measure(file)[1] != sha256:
                problems.append("the file's bytes are not those that were written")
            footer = read_footer(file)
        if footer is None:
            return Verified(uri=place.uri, ok=False, problems=(*problems, "not a whole Parquet file"), rows=0)
        description = footer.description
        if not description:
            problems.append("the file does not say what it holds: not one of wandb-ops")
        elif not footer.sealed:
            problems.append("the description in the footer was altered")
        else:
            with place.open() as file:
                problems.extend(_content_problems(file, description))
    current = None
    if transport is not None and footer.ours and description.get("kind") == "history":
        current = _is_current(transport, description)
    return Verified(
        uri=place.uri,
        ok=not problems,
        problems=tuple(problems),
        rows=footer.rows,
        current=current,
        description=description,
    )


def _content_problems(file: BinaryIO, description: dict[str, Any]) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from wandb_ops.export.rows.digest import RowDigest

    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            digest, rows = RowDigest(parquet.schema_arrow), 0
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group)
                digest.update(table)
                rows += table.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        return [f"a part cannot be read: {str(error)[:200]}"]
    problems = []
    if rows != description.get("rows"):
        problems.append(f"{rows} rows, and the footer says {description.get('rows')}")
    if digest.hexdigest() != description.get("rows_sha256"):
        problems.append("the rows are not those that were written")
    return problems


def _is_current(transport: Transport, description: dict[str, Any]) -> bool:
    """Whether an export of the same request would leave the file alone."""
    from wandb_ops.errors import UsageError
    from wandb_ops.history.ref import RunRef, run_counts

    if description["base_url"] != origin(transport.settings.base_url):
        raise UsageError(
            f"The file came from {description['base_url']}, and the client speaks to another server",
            hint="Verify it with a client for that server, or without one.",
        )
    ref = RunRef(description["entity"], description["project"], description["run_id"])
    counts = run_counts(transport, ref)
    now = describe_source(
        transport.settings.base_url,
        ref,
        counts,
        keys=description["keys"],
        keys_mode=description["keys_mode"] or "any",
        min_step=description["min_step"],
        max_step=description["max_step"],
    )
    return bool(now["fingerprint"] == description["fingerprint"])
