"""Every test here ends with a search for the key in all that was logged, printed and written."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def the_key_stays_inside(
    sentinel_key: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[None]:
    """The key is in no log at DEBUG, no output and no file, plain or as Basic credentials."""
    caplog.set_level(logging.DEBUG)
    yield
    basic = base64.b64encode(f"api:{sentinel_key}".encode()).decode().rstrip("=")
    out, err = capfd.readouterr()
    logged = "\n".join(
        [caplog.text, *(f"{record.msg!r} {record.args!r}" for record in caplog.get_records("call"))]
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".secret"]
    texts = [logged, out, err, *(path.read_bytes().decode("latin-1") for path in files)]
    for form in (sentinel_key, basic, sentinel_key[:8]):
        assert not any(form in text for text in texts)
