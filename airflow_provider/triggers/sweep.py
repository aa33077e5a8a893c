"""The trigger that waits for a sweep without holding a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider.triggers.base import WandbTrigger

if TYPE_CHECKING:
    from wandb_ops import Api


class WandbSweepTrigger(WandbTrigger):
    """Look at a sweep until it has ended; the event's result is `wandb_ops.steps.SweepResult`.

    :param sweep: entity/project/sweep_id.
    :param waiting: as for `WandbTrigger`.
    """

    def __init__(self, *, sweep: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.sweep = sweep

    def arguments(self) -> dict[str, Any]:
        """The sweep."""
        return {"sweep": self.sweep}

    @property
    def subject(self) -> str:
        """The end of the sweep."""
        return f"the end of sweep {self.sweep}"

    def look(self, api: Api) -> dict[str, Any] | None:
        """The sweep, once it has ended."""
        from wandb_ops import steps

        status = steps.sweep_status(api, sweep=self.sweep)
        return status.to_json() if status.ended else None
