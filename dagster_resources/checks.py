"""The completeness check that every history asset carries: does the file hold what the server has?

It is reported by the export step itself. A separate check would be one more process per partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from wandb_ops.steps import ExportResult

CHECK_NAME = "complete"
_NAMED = 20  # incomplete runs listed by name


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """One exported file against the server's own count."""

    rows: int
    server_rows: int
    state: str
    ended: bool
    whole: bool  # all columns and steps were asked for, so that the counts must agree

    @property
    def short(self) -> bool:
        """The counts disagree though the run has ended."""
        return self.whole and self.ended and self.rows != self.server_rows

    @property
    def passed(self) -> bool:
        return self.ended and not self.short


def completeness(result: ExportResult, *, server_rows: int, whole: bool) -> Completeness:
    """`result` compared with the count that the server gave after the export."""
    return Completeness(
        rows=result.rows + sum(result.left_out.values()),
        server_rows=server_rows,
        state=result.state,
        ended=result.complete,
        whole=whole,
    )


def completeness_check_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check's definition."""
    return dg.AssetCheckSpec(
        CHECK_NAME,
        asset=asset,
        description="The run has ended, and the file holds as many rows as the server counts.",
    )


def completeness_check_result(asset: dg.AssetKey, found: Mapping[str, Completeness]) -> dg.AssetCheckResult:
    """One result for all runs of a step: a run that goes on is a warning, a short file an error."""
    failed = {run_id: one for run_id, one in found.items() if not one.passed}
    short = any(one.short for one in failed.values())
    metadata: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(sum(one.rows for one in found.values())),
        "server_rows": dg.MetadataValue.int(sum(one.server_rows for one in found.values())),
    }
    if failed:
        listed = list(failed.items())[:_NAMED]
        metadata["incomplete"] = dg.MetadataValue.json(
            {run_id: f"{one.state}, {one.rows} of {one.server_rows} rows" for run_id, one in listed}
        )
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=CHECK_NAME,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if short or not failed else dg.AssetCheckSeverity.WARN,
        description=(f"{len(failed)} of {len(found)} runs are incomplete" if failed else None),
        metadata=metadata,
    )
