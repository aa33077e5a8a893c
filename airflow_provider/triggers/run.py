"""The trigger that waits for a run without holding a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider.triggers.base import WandbTrigger

if TYPE_CHECKING:
    from wandb_ops import Api


class WandbRunTrigger(WandbTrigger):
    """Look at a run until it has ended, then send one event, whose result is `wandb_ops.steps.RunStatus`.

    :param run: entity/project/run_id.
    :param waiting: as for `WandbTrigger`.
    """

    def __init__(self, *, run: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.run_path = run

    def arguments(self) -> dict[str, Any]:
        """The run."""
        return {"run": self.run_path}

    @property
    def subject(self) -> str:
        """The end of the run."""
        return f"the end of {self.run_path}"

    def look(self, api: Api) -> dict[str, Any] | None:
        """The run's status, once it has ended."""
        from wandb_ops import steps

        status = steps.run_status(api, run=self.run_path)
        return status.to_json() if status.terminal else None
