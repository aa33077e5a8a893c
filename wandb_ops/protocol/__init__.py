"""W&B's protocol: named GraphQL operations, file streams, files, and how values are written."""

from __future__ import annotations
