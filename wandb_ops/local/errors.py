"""The refusals that a client may read. Anything else that goes wrong is an internal error without details."""

from __future__ import annotations


class Refused(Exception):
    """The request cannot be done; ``str()`` of it is meant for the client.

    Args:
        message: One sentence for the client.
        status: The HTTP status, where the answer is not GraphQL.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NotFound(Refused):
    """What the request names does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 404)
