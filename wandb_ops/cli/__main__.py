"""`python -m wandb_ops.cli`: the command line without the console script."""

from __future__ import annotations

from wandb_ops.cli.main import main

main()
