"""What no history row can hold, by real writers: counted by reason, and what stands beside it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import tensorboardX
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wandb_ops.tensorboard import sync_directory

LAYOUT = {"losses": {"both": ["Multiline", ["loss/train", "loss/val"]]}}


@pytest.fixture
def synced(transport, wandb_server):
    """`(folder)` -> the result of a sync, and the rows as the server has them."""

    def sync(folder):
        done = sync_directory(transport, folder, entity=wandb_server.entity, project="tb", run_id="r")
        rows = wandb_server.run("tb", "r").history_rows()
        return done, [{key: row[key] for key in row if key[0] != "_"} for row in rows]

    return sync


def counted(folder):
    """Values that TensorBoard reads, by plugin."""
    accumulator = EventAccumulator(str(folder), {"tensors": 0})
    accumulator.Reload()
    found = {}
    for tag in accumulator.Tags()["tensors"]:
        plugin = accumulator.SummaryMetadata(tag).plugin_data.plugin_name
        found[plugin] = found.get(plugin, 0) + len(accumulator.Tensors(tag))
    return found


def test_layouts_of_custom_scalars_are_counted_and_the_scalars_kept(tmp_path, synced):
    with tensorboardX.SummaryWriter(str(tmp_path)) as writer:
        writer.add_custom_scalars(LAYOUT)
        for step in range(3):
            writer.add_scalar("loss/train", step / 2, step)
    done, rows = synced(tmp_path)
    assert rows == [{"global_step": step, "loss/train": step / 2} for step in range(3)]
    assert dict(done.left_out) == {"tensor of plugin 'custom_scalars'": counted(tmp_path)["custom_scalars"]}


def test_every_tensor_of_a_mesh_is_counted(tmp_path, synced):
    rng = np.random.default_rng(0)
    with tensorboardX.SummaryWriter(str(tmp_path)) as writer:
        for step in range(2):
            writer.add_mesh(
                "solid",
                vertices=rng.random((1, 4, 3), dtype=np.float32),
                colors=rng.integers(0, 255, (1, 4, 3), dtype=np.uint8),
                faces=np.array([[[0, 1, 2], [1, 2, 3]]], dtype=np.int32),
                global_step=step,
            )
            writer.add_scalar("loss", step / 2, step)
    done, rows = synced(tmp_path)
    assert rows == [{"global_step": step, "loss": step / 2} for step in range(2)]
    assert dict(done.left_out) == {"mesh": counted(tmp_path)["mesh"]}
    assert done.left_out["mesh"] >= 6  # vertices, colours and faces of each step
