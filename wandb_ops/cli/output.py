"""How results are shown: for people, or as JSON for programs; and what an error is to a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from wandb_ops import errors
from wandb_ops.redaction import terminal_safe
from wandb_ops.steps.results import Result, json_safe

EXIT_CODES = """\b
Exit codes:
  0   done
  1   failed, and a retry will not help
  2   the call is wrong
  3   no key, a refused key, or no permission
  4   not found
  5   the run, job or sweep waited for ended badly
  75  failed for now: a retry may help
  130 interrupted
"""


def exit_code(error: errors.Error) -> int:
    """The process's exit code for an error; see `EXIT_CODES`."""
    if isinstance(error, (errors.CredentialsError, errors.AuthenticationError, errors.PermissionDenied)):
        return 3
    if isinstance(error, errors.UsageError):
        return 2
    if isinstance(error, errors.NotFoundError):
        return 4
    if isinstance(error, (errors.RunFailed, errors.QueueItemFailed)):
        return 5
    return 75 if error.retryable else 1


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def show(result: Result | Sequence[Result], *, as_json: bool, people: Callable[[], None]) -> None:
    """Print `result` as JSON, or let `people` print it for a reader."""
    if as_json:
        click.echo(json.dumps(json_safe(list(result) if isinstance(result, Sequence) else result), indent=2))
    else:
        people()


def pairs(rows: Iterable[tuple[str, Any]]) -> None:
    """Two columns, the first bold where the terminal can."""
    kept = [(name, value) for name, value in rows if value not in (None, "", {}, ())]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {terminal_safe(str(value))}")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """A plain table on stdout."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(terminal_safe(number(cell))) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a log has no edge to wrap at
        console.width = 200
    console.print(grid)


def number(value: Any) -> str:
    """A cell's text: floats to six digits, None as a dash."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """Bytes for people: 1.2 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")
