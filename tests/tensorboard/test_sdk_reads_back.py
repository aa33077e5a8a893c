"""What a sync wrote, read by the real wandb SDK."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorboardX

from wandb_ops.tensorboard import sync_directory

READ = """
import json, pathlib, wandb
run = wandb.Api().run("{path}")
rows = list(run.scan_history())
images = [name for row in rows for name in (row.get("media/picture") or {{}}).get("filenames", ())]
contents = [pathlib.Path(run.file(name).download(root="down").name).read_bytes().hex() for name in images]
print(json.dumps({{"state": run.state, "config": run.config, "rows": rows, "images": contents}}))
"""


@pytest.mark.sdk
def test_the_sdk_reads_what_tensorboard_reads(
    wandb_server, transport, tmp_path, append_events, scalar_event, load_events
):
    odd = {3: float("nan"), 5: float("inf"), 7: float("-inf")}
    path = append_events(
        tmp_path / "train" / "events.out.tfevents.1.host",
        [scalar_event("loss", odd.get(n, n / 3), n, 1000.0 + n) for n in range(1_200)],
    )
    rng = np.random.default_rng(0)
    with tensorboardX.SummaryWriter(str(tmp_path / "media")) as writer:
        for step in range(5):
            writer.add_histogram("weights", rng.normal(size=100), step, bins=16)
            writer.add_image("picture", rng.random((3, 4, 5)), step)
            writer.add_text("note", f"step {step}", step)
        writer.add_hparams({"lr": 0.5}, {"m": 1.0}, name="h")
    done = sync_directory(transport, tmp_path, entity=wandb_server.entity, project="tb", run_id="read")
    environment = os.environ | wandb_server.env | {"WANDB_SILENT": "true", "HOME": str(tmp_path / "home")}
    answer = subprocess.run(
        [sys.executable, "-c", READ.format(path=done.path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    read = json.loads(answer.stdout.splitlines()[-1])
    rows = read["rows"]
    assert (read["state"], read["config"], len(rows)) == ("finished", {"lr": 0.5}, done.history_lines)

    def column(key):
        return [(row["global_step"], row[key]) for row in rows if row.get(key) is not None]

    expected = [(event.step, event.summary.value[0].simple_value) for event in load_events(path)]
    found = column("train/loss")
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert all(
        float(ours) == theirs or (math.isnan(float(ours)) and math.isnan(theirs))
        for (_, ours), (_, theirs) in zip(found, expected, strict=True)
    )
    (media,) = (tmp_path / "media").glob("*tfevents*")
    written = {
        kind: [
            (event.step, getattr(value, kind))
            for event in load_events(media)
            for value in event.summary.value
            if value.HasField(kind)
        ]
        for kind in ("histo", "image")
    }
    assert [(step, h["values"]) for step, h in column("media/weights")] == [
        (step, list(histo.bucket)[-len(ours["values"]) :])
        for (step, histo), (_, ours) in zip(written["histo"], column("media/weights"), strict=True)
    ]
    assert [h["bins"][-1] for _, h in column("media/weights")] == [
        histo.bucket_limit[-1] for _, histo in written["histo"]
    ]
    assert read["images"] == [image.encoded_image_string.hex() for _, image in written["image"]]
    assert column("media/note/text_summary") == [(step, f"step {step}") for step in range(5)]
