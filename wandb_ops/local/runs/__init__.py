"""Runs: rows, how they are found, their files and alerts, and what a test may read of them."""
