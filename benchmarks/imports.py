"""What `import` costs: this package beside the wandb SDK, each in fresh interpreters."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 7
STATEMENTS = {
    "python alone": "pass",
    "import wandb_ops": "import wandb_ops",
    "wandb_ops.Api class": "import wandb_ops; wandb_ops.Api",
    "import wandb": "import wandb",
    "wandb.Api class": "import wandb; wandb.Api",
}


def seconds(statement: str) -> float:
    """Wall time of one fresh interpreter that runs `statement`."""
    # Bytecode is kept, as it is of an installed package: this one is run from its sources.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return time.perf_counter() - begin


def main() -> None:
    """Print medians over interleaved rounds, less the interpreter's own start."""
    rounds = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        seconds(statement)  # fill the bytecode and page caches
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            rounds[name].append(seconds(statement))
    medians = {name: statistics.median(times) for name, times in rounds.items()}
    base = medians.pop("python alone")
    ours = medians["wandb_ops.Api class"] - base
    print(f"{'':22}  seconds  ratio to wandb_ops.Api")
    for name, median in medians.items():
        print(f"{name:22}  {median - base:7.3f}  {(median - base) / ours:6.1f}x")


if __name__ == "__main__":
    main()
