"""Times: integers of milliseconds inside, ISO 8601 in UTC outside."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(milliseconds: int) -> str:
    """``2026-01-31T12:00:00.250Z``: always three decimals, so that texts sort as the times do."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def parse(text: str) -> float:
    """Milliseconds of an ISO text (UTC when it names no zone); raises ``ValueError``."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() * 1000
