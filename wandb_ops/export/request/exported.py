"""What the export of one run comes to, wherever it went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from wandb_ops.history.ref import RunRef

RunFormat = Literal["parquet", "csv", "jsonl", "delta"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export did, and what the file holds now."""

    path: str  # entity/project/run_id
    url: str
    run_id: str
    uri: str  # an absolute path, or the URL that was asked for; of a lake, the table
    format: RunFormat
    action: Literal["written", "appended", "replaced", "unchanged"]  # two of them for a lake only
    rows: int
    bytes: int
    columns: tuple[tuple[str, str], ...]  # name, Arrow type
    first_step: int  # -1 when there is no row
    last_step: int
    sha256: str  # of the file; "" for a lake
    complete: bool  # False while the run is still being written
    state: str
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> rows not taken


def run_url(app_url: str, ref: RunRef) -> str:
    """The run's page in the W&B app."""
    entity, project, run_id = (quote(part, safe="") for part in (ref.entity, ref.project, ref.run_id))
    return f"{app_url}/{entity}/{project}/runs/{run_id}"
