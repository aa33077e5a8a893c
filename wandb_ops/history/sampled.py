"""Sampled rows, for a look at a run: the only part of this package that is not exact, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import ProtocolError, UsageError
from wandb_ops.history.pages import parse_page, texts_of
from wandb_ops.history.ref import RunRef, fetch_run
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import history as documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.transport.session import Transport

Stream = Literal["default", "system", "events"]


def sampled(
    transport: Transport,
    ref: RunRef,
    *,
    samples: int = 500,
    keys: Sequence[str] | None = None,
    x_axis: str = "_step",
    stream: Stream = "default",
) -> list[dict[str, Any]]:
    """At most about `samples` rows of a run, chosen by the server: one request.

    Args:
        transport: The connection.
        ref: The run.
        samples: Rows wanted.
        keys: Only rows that have all of these, cut down to them and `x_axis`; None returns rows whole.
        x_axis: Key that comes along with `keys`.
        stream: "default" for the history, "system" or "events" for the system metrics.

    Raises:
        UsageError: Arguments that make no sense.
        NotFoundError: There is no such run.
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1, not {samples}")
    if stream not in ("default", "system", "events"):
        raise UsageError(f"stream must be 'default', 'system' or 'events', not {stream!r}")
    if isinstance(keys, str):
        raise UsageError("keys must be a list of names, not one string", hint=f"Write keys=[{keys!r}].")
    if stream != "default":
        if keys:
            raise UsageError("system metrics cannot be chosen by keys", where=ref.path)
        run = fetch_run(transport, ref, documents.FULL_EVENTS, samples=samples)
        return parse_page(texts_of(run.get("events"), ref.path), ref.path)
    if not keys:
        run = fetch_run(transport, ref, documents.FULL_HISTORY, samples=samples)
        return parse_page(texts_of(run.get("history"), ref.path), ref.path)
    spec = {"keys": list(dict.fromkeys((x_axis, *keys))), "samples": samples}
    run = fetch_run(transport, ref, documents.SAMPLED_HISTORY, specs=[values.dumps(spec)])
    return rows_of_spec(run.get("sampledHistory"), ref.path)


def rows_of_spec(answer: Any, where: str) -> list[dict[str, Any]]:
    """The rows of the one spec that was sent; W&B's JSON scalar may hold them parsed or as text."""
    found = answer[0] if isinstance(answer, list) and answer else []
    if isinstance(found, str):
        found = values.loads(found)
    if not isinstance(found, list):
        raise ProtocolError("sampledHistory is not a list of rows", where=where)
    return [values.loads_object(row) if isinstance(row, str) else row for row in found]
