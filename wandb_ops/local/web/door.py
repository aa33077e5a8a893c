"""Who may see the pages.

The key is given once, at `/login` or as the query of the address that the server prints; a signed cookie
stands for it afterwards, until the key is deleted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from wandb_ops.local.accounts.accounts import Account, Accounts

_COOKIE = "wandb_ops_page"
_COOKIE_SECONDS = 30 * 24 * 3600
_FORM_BYTES = 4096
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Door:
    """Lets in whose cookie is good. It is bound to a key, so that the end of the key ends its sessions.

    ``render`` makes a page of a template, a status and values.
    """

    accounts: Accounts
    render: Callable[..., Response]
    clock: Callable[[], float] = time.time

    def _ticket(self, key: str) -> str | None:
        """A cookie's value, good for a month; None when that is no key."""
        return self.accounts.ticket(key, int(self.clock()) + _COOKIE_SECONDS)

    def _admits(self, ticket: str | None) -> Account | None:
        """Whose cookie that is; None unless it is ours and still good."""
        return self.accounts.by_ticket(ticket, self.clock()) if ticket else None

    def guarded(self, page: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """`page`, run in a thread, for those the door admits; others are sent to `/login`."""

        async def answer(request: Request) -> Response:
            account = await run_in_threadpool(self._admits, request.cookies.get(_COOKIE))
            if account is None:
                target = quote(request.url.path, safe="/")
                return RedirectResponse(f"/login?next={target}", 303)
            request.state.account = account
            try:
                response = await run_in_threadpool(page, request)
            except Refused as refusal:
                response = self.render("error.html", 404, message=str(refusal))
            response.headers.update(_HEADERS)
            return response

        return answer

    async def login(self, request: Request) -> Response:
        """Take the key, from the form or from the address, and set the cookie."""
        body = (await request.body())[:_FORM_BYTES] if request.method == "POST" else b""
        form = parse_qs(body.decode("utf-8", "replace"))
        key = form.get("key", [request.query_params.get("key", "")])[0].strip()
        target = request.query_params.get("next", "/")
        if not target.startswith("/") or target.startswith(("//", "/\\")):
            target = "/"  # never send anyone to another site
        ticket = await run_in_threadpool(self._ticket, key) if key else None
        if ticket is None:
            page = self.render("login.html", 401 if key else 200, wrong=bool(key), next=target)
            page.headers.update(_HEADERS)
            return page
        response = RedirectResponse(target, 303, headers=_HEADERS)
        response.set_cookie(_COOKIE, ticket, max_age=_COOKIE_SECONDS, httponly=True, samesite="lax")
        return response
