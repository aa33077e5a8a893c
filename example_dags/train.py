"""A small model, really trained, that writes tfevents as training scripts do.

A multi-layer perceptron learns scikit-learn's handwritten digits. Each configuration gets a folder with
`train/` and `validation/`, written by tensorboardX: nothing here knows W&B. Run it by itself with
`python -m example_dags.train FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "small-fast": {"hidden": [16], "learning_rate": 0.02, "epochs": 30, "batch_size": 128, "seed": 1},
    "wide": {"hidden": [96], "learning_rate": 0.005, "epochs": 30, "batch_size": 64, "seed": 2},
    "deep": {"hidden": [48, 48], "learning_rate": 0.004, "epochs": 30, "batch_size": 64, "seed": 3},
}


def train(config: dict[str, Any], folder: Path) -> dict[str, float]:
    """Train one configuration, write its tfevents below `folder`, return the last validation metrics."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from tensorboardX import SummaryWriter
    from threadpoolctl import threadpool_limits

    digits = load_digits()
    images = digits.data / 16.0
    x_train, x_val, y_train, y_val = train_test_split(
        images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    model = MLPClassifier(
        hidden_layer_sizes=tuple(config["hidden"]),
        learning_rate_init=config["learning_rate"],
        batch_size=config["batch_size"],
        random_state=config["seed"],
    )
    classes = np.arange(10)
    last: dict[str, float] = {}
    with (
        threadpool_limits(1),  # for matrices as small as these, more threads only wait for each other
        SummaryWriter(str(folder / "train")) as train_log,
        SummaryWriter(str(folder / "validation")) as val_log,
    ):
        for epoch in range(config["epochs"]):
            model.partial_fit(x_train, y_train, classes=classes)  # all batches, in an order of its own
            predicted = model.predict_proba(x_val)
            train_log.add_scalar("loss", log_loss(y_train, model.predict_proba(x_train)), epoch)
            train_log.add_scalar("accuracy", model.score(x_train, y_train), epoch)
            last = {"loss": float(log_loss(y_val, predicted)), "accuracy": float(model.score(x_val, y_val))}
            for name, value in last.items():
                val_log.add_scalar(name, value, epoch)
            if epoch % 10 == 9:
                train_log.add_histogram("weights/first_layer", model.coefs_[0], epoch)
        wrong = np.flatnonzero(predicted.argmax(axis=1) != y_val)[:8]
        if len(wrong):
            strip = np.concatenate([x_val[i].reshape(8, 8) for i in wrong], axis=1)
            val_log.add_image("mistaken_for_another", strip[None], config["epochs"] - 1)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return last


def train_all(root: Path) -> dict[str, dict[str, float]]:
    """Train every configuration into its own folder below `root`."""
    return {name: train(config, root / name) for name, config in CONFIGURATIONS.items()}


if __name__ == "__main__":
    for _name, _metrics in train_all(Path(sys.argv[1])).items():
        print(_name, _metrics)
