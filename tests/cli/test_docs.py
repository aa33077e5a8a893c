"""docs/cli.md names every command and every option, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import click

from wandb_ops.cli.main import cli
from wandb_ops.cli.output import EXIT_CODES

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
ROWS = re.findall(r"^\| `([a-z][^`]*)` \|(.*?)\| .* \|$", DOCS, re.MULTILINE)


def commands(group, *above):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield " ".join([*above, name]), command


COMMANDS = dict(commands(cli))


def options_of(command):
    shown = [option for option in command.params if isinstance(option, click.Option)]
    return {name for option in shown for name in (*option.opts, *option.secondary_opts)} - {"--json"}


def documented(words):
    """The command of a row; the longest of its first words that is one."""
    return next(name for n in (2, 1) if (name := " ".join(words.split()[:n])) in COMMANDS)


def test_every_command_has_a_row_and_no_row_is_of_none():
    assert {documented(words) for words, _ in ROWS} == set(COMMANDS)


def test_every_option_is_named_in_its_row_and_exists():
    said = {}
    for words, options in ROWS:
        said.setdefault(documented(words), set()).update(re.findall(r"`(--[a-z-]+)`", options))
    exports = said["export"]
    said["plan"] |= exports - {"--shard"}
    said["verify"] |= exports - {"--shard", "--force"}
    assert said == {name: options_of(command) for name, command in COMMANDS.items()}


def test_the_exit_codes_are_those_of_the_help():
    shown = dict(re.findall(r"^ +(\d+) +(.+)$", EXIT_CODES, re.MULTILINE))
    written = dict(re.findall(r"^\| (\d+) \| (.+) \|$", DOCS, re.MULTILINE))
    assert written == shown


def test_every_command_takes_json_but_the_server():
    without = {name for name, c in COMMANDS.items() if not any("--json" in p.opts for p in c.params)}
    assert without == {"local"}
