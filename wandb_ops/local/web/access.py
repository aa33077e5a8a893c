"""Whose page it is: the account that the door let in, and the entity that the address names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

    from wandb_ops.local.accounts.accounts import Account


def account_of(request: Request) -> Account:
    """Who looks at the page."""
    account: Account = request.state.account
    return account


def entity_of(request: Request) -> str:
    """The entity in the address, the account's own without one; :class:`NotFound` when he does not see it."""
    return account_of(request).check_entity(request.path_params.get("entity"))
