"""Run every benchmark, each in a process of its own: `python -m benchmarks [name ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; the exit status is that of the worst."""
    here = Path(__file__).parent
    known = sorted(path.stem for path in here.glob("[a-z]*.py"))
    unknown = set(names) - set(known)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    worst = 0
    for name in names or known:
        print(f"\n== {name}", flush=True)
        worst = max(
            worst, subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        )
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
