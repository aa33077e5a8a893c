"""TensorBoard event files to W&B history, without tensorboard, protobuf or tensorflow.

`sources` gives bytes, `records` finds whole records in them, `decode` reads events (`template` and `shapes`
many at a time), `restarts` says which values are taken back, `rows` and `merge` make history rows, `writer`
and `sync` send them. numpy and the transport are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_ops.tensorboard.sync import Synced, follow_directory, sync_directory

__all__ = ["Synced", "follow_directory", "sync_directory"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from wandb_ops.tensorboard import sync

        return getattr(sync, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
