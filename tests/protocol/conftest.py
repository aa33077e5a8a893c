"""Every test here ends with a search for the key in all that was logged, printed and written."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def search_for_the_key(the_key_stays_inside: None) -> None:
    """The search itself is the shared plugin's."""
