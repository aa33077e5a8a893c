"""The README's examples run as they are written, in order, in one session."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
TUTORIAL = re.compile(r"<!-- runs as written -->\n```python\n(.*?)```", re.DOTALL)


def test_the_tutorial_runs_as_written_and_again(wandb_env, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = TUTORIAL.findall(README.read_text())
    assert len(blocks) == 4
    for _ in range(2):
        namespace = {}
        for block in blocks:
            exec(compile(block, "README.md", "exec"), namespace)
    shown = capsys.readouterr().out
    assert "1000 rows, written" in shown
    assert "1000 rows, unchanged" in shown
    assert "best loss: 0.001" in shown


def test_every_file_that_the_readme_names_exists():
    text = README.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(links) > 10
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_every_command_that_the_readme_names_exists():
    from wandb_ops.cli.main import cli

    named = set(re.findall(r"`wandb-ops ([a-z][a-z-]*)", README.read_text()))
    assert named <= set(cli.commands)
    assert set(cli.commands) <= named
