"""The line files of runs: how they arrive, what they hold, and their Parquet exports."""
