"""Reading a long history: this project and the real wandb client, side by side on the same embedded server.

Run it with `make bench`, or `python -m benchmarks.history --rows 200000 --rounds 3`. The server has a process
of its own. Every reading is made in a fresh interpreter, all of a table in turns, so that none profits from a
quiet minute; medians are shown, and the ratios of the medians. The clock runs from the call that reads to the
last row: before it, both sides have imported what they need, opened their connection and looked the run up.
CPU is that of the client with its child processes (the wandb client does its work in one). Peak is the
resident memory of the interpreter alone, imports included.

What was read is checked in each child: the number of rows and the sum of a column.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._readings import cpu as _cpu
from benchmarks._server import (
    ENTITY,
    EXPORTED,
    KEY,
    PAGES,
    PROJECT,
    embedded,
    log_configs,
    log_runs,
    proxied,
    serve_in_process,
)

SHORT, RUNS, CONFIGS = "short", 120, "configs"
_ROOT = Path(__file__).resolve().parents[1]


def measure(reading: str, run: str, url: str, expected: tuple[int, float]) -> dict[str, float]:
    """One reading in an interpreter of its own, checked."""
    with tempfile.TemporaryDirectory() as home:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        places = {f"WANDB_{name}_DIR": home for name in ("CACHE", "DATA", "CONFIG", "ARTIFACT")}
        env = (
            clean
            | places
            | {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_DIR": home, "WANDB_SILENT": "true"}
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks._readings", reading, run],
            cwd=_ROOT, env=env, capture_output=True, text=True, timeout=1200, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{reading} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    if (figures["rows"], round(figures["sum"], 6)) != (expected[0], round(expected[1], 6)):
        raise SystemExit(
            f"{reading} read {figures['rows']:.0f} rows with sum {figures['sum']}, not {expected}"
        )
    return figures


def compare(
    title: str, readings: list[str], run: str, url: str, expected: tuple[int, float], rounds: int
) -> list[dict[str, Any]]:
    """One table: medians of each reading, and how many times slower than the first it is."""
    seen: dict[str, list[dict[str, float]]] = {reading: [] for reading in readings}
    for _ in range(rounds):
        for reading in readings:
            seen[reading].append(measure(reading, run, url, expected))
    print(f"\n{title} ({expected[0]:,} rows, median of {rounds})")
    print(f"  {'':<15}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'wall x':>8}{'CPU x':>8}")
    results = []
    for reading in readings:
        middle = {k: statistics.median(f[k] for f in seen[reading]) for k in ("wall", "cpu", "peak_mb")}
        first = results[0] if results else middle
        ratio = {"wall_x": middle["wall"] / first["wall"], "cpu_x": middle["cpu"] / first["cpu"]}
        results.append({"work": title, "reading": reading, **middle, **ratio})
        print(
            f"  {reading:<15}{middle['wall']:>9.3f}{middle['cpu']:>9.3f}{middle['peak_mb']:>9.0f}"
            f"{ratio['wall_x']:>8.2f}{ratio['cpu_x']:>8.2f}",
            flush=True,
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds; 0 leaves that table out")
    parser.add_argument("--latency-rows", type=int, default=50_000)
    parser.add_argument("--ours-only", action="store_true", help="leave the wandb client out")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    with embedded() as url:
        results = tables(options, url)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def tables(options: argparse.Namespace, url: str) -> list[dict[str, Any]]:
    def theirs(*names: str) -> list[str]:
        return [] if options.ours_only else list(names)

    rounds = options.rounds
    expected = (options.rows, log_runs(url, options.rows))
    results: list[dict[str, Any]] = []
    for title, run, readings in (
        ("dicts, from pages", PAGES, ["ours_scan", *theirs("wandb_scan"), "limit_pages", "limit_parser"]),
        ("DataFrame, from pages", PAGES, ["ours_frame", *theirs("wandb_frame")]),
        ("dicts, from Parquet exports", EXPORTED, ["ours_scan", *theirs("wandb_scan")]),
        (
            "DataFrame, from Parquet exports",
            EXPORTED,
            ["ours_frame", *theirs("wandb_frame"), "limit_parquet", "limit_download"],
        ),
    ):
        results += compare(title, readings, run, url, expected, rounds)
    if options.latency:
        expected = (options.latency_rows, log_runs(url, options.latency_rows, (SHORT,)))
        with proxied(url, options.latency) as (slow, _):
            title = f"DataFrame, from pages, {options.latency * 1000:.0f} ms latency"
            results += compare(title, ["ours_frame", *theirs("wandb_frame")], SHORT, slow, expected, rounds)
    results += requests_of(url, ["ours_configs", *theirs("wandb_configs", "wandb_whole_configs")])
    return results


def requests_of(url: str, readings: list[str]) -> list[dict[str, Any]]:
    """How many requests it takes to see config and summary of many runs, making the client included."""
    expected = (RUNS, log_configs(url, CONFIGS, RUNS))
    print(f"\nconfig and summary of {RUNS} runs\n  {'':<20}{'requests':>9}{'wall s':>9}{'CPU s':>9}")
    results = []
    with proxied(url) as (address, counted):
        for reading in readings:
            counted.clear()
            figures = measure(reading, CONFIGS, address, expected)
            asked = len(counted)
            results.append({"work": CONFIGS, "reading": reading, "requests": asked, **figures})
            print(f"  {reading:<20}{asked:>9}{figures['wall']:>9.3f}{figures['cpu']:>9.3f}", flush=True)
    return results


__all__ = [
    "ENTITY",
    "EXPORTED",
    "KEY",
    "PAGES",
    "PROJECT",
    "_cpu",
    "log_runs",
    "serve_in_process",
]

if __name__ == "__main__":
    main()
