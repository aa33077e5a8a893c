"""What a result has to say so that a pipeline may go on; each raises, or gives the result back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_ops.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.steps.results import ProjectExportResult, VerifyResult

_NAMED = 5


def check_export(result: ProjectExportResult) -> ProjectExportResult:
    """`result` itself when everything asked for is at the destination.

    Raises:
        DataError: Parts of runs were not taken. A retry may help when it may help for one of them.
    """
    if result.ok:
        return result
    failed = [f"{one.what} of {one.run_id or 'the project'} ({one.error})" for one in result.not_taken]
    error = DataError(
        f"{len(failed)} parts were not taken: {_some(failed)}",
        where=f"{result.entity}/{result.project}",
        hint=result.not_taken[0].message,
    )
    error.retryable = any(one.retryable for one in result.not_taken)
    raise error


def check_verified(result: VerifyResult, *, current: bool = True) -> VerifyResult:
    """`result` itself when the export holds what it says and, with `current`, what the server has.

    Raises:
        DataError: It does not; the export has to be run again, so a retry of the check does not help.
    """
    found: list[str] = []
    if not result.ok:
        found.append(f"{len(result.problems)} problems: {_some(result.problems)}")
    if current and result.missing:
        found.append(f"{len(result.missing)} runs are missing: {_some(result.missing)}")
    if current and result.stale:
        found.append(f"{len(result.stale)} runs have more on the server: {_some(result.stale)}")
    if not found and (result.current or not current):
        return result
    raise DataError(
        "; ".join(found) or "the export is not what the server has",
        where=result.uri,
        hint="Run the export again; with force=True when files were damaged.",
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
