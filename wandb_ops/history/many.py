"""Samples of many runs' histories: several runs per request, several requests at a time.

Run by run, a thousand runs would cost a thousand requests one after the other.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DeadlineExceeded, GraphQLError, ResponseTooLarge, ServerError, UsageError
from wandb_ops.history.pages import parse_page, texts_of
from wandb_ops.history.sampled import rows_of_spec
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import history as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from wandb_ops.history.sampled import Stream
    from wandb_ops.transport.session import Transport

Rows = list[dict[str, Any]]

#: Rows that one answer may come to, about: it bounds the memory, together with the number of requests.
_ROWS_TOGETHER = 10_000
_RUNS_TOGETHER = 50
_REQUESTS_AT_ONCE = 4


def sampled_many(
    transport: Transport,
    entity: str,
    project: str,
    run_ids: Iterable[str],
    *,
    samples: int = 500,
    keys: Sequence[str] | None = None,
    x_axis: str = "_step",
    stream: Stream = "default",
) -> Iterator[tuple[str, Rows]]:
    """For each run, in the order given, about as many rows as `sampled` gives; a run that is gone has none.

    Args:
        transport: The connection.
        entity: User or team that owns the project.
        project: Name of the project.
        run_ids: The runs; taken from as the answers come, never all at once.
        samples: Rows wanted of each run.
        keys: Only rows that have all of these, cut down to them and `x_axis`; None returns rows whole.
        x_axis: Key that comes along with `keys`.
        stream: "default" for the history, "system" or "events" for the system metrics.

    Raises:
        UsageError: Arguments that make no sense.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise UsageError(f"samples is a whole number from 1, not {samples!r}")
    if stream not in ("default", "system", "events"):
        raise UsageError(f"stream is 'default', 'system' or 'events', not {stream!r}")
    if keys is not None and (isinstance(keys, str) or not all(isinstance(key, str) for key in keys)):
        raise UsageError("keys is a list of texts")
    if keys and stream != "default":
        raise UsageError("keys can be asked for in the default stream only")
    asked: dict[str, Any] = {"samples": samples}
    if stream != "default":
        operation, field = documents.MANY_EVENTS, "events"
    elif not keys:
        operation, field = documents.MANY_HISTORIES, "history"
    else:
        operation, field = documents.MANY_SAMPLED_HISTORIES, "sampledHistory"
        spec = {"keys": list(dict.fromkeys((x_axis, *keys))), "samples": samples}
        asked = {"specs": [values.dumps(spec)]}
    where = f"histories of {entity}/{project}"

    def ask(names: list[str]) -> list[tuple[str, Rows]]:
        try:
            return ask_once(names)
        except (ResponseTooLarge, ServerError, DeadlineExceeded, GraphQLError):
            if len(names) == 1:
                raise
        # Too much for one answer, here or at the server: ask for less at a time.
        half = len(names) // 2
        return ask(names[:half]) + ask(names[half:])

    def ask_once(names: list[str]) -> list[tuple[str, Rows]]:
        variables = {
            "entity": entity,
            "project": project,
            "filters": values.dumps({"name": {"$in": names}}),
            "first": len(names),
            **asked,
        }
        data = execute(transport, operation, variables, where=where)
        edges = ((data.get("project") or {}).get("runs") or {}).get("edges") or []
        found = {edge["node"]["name"]: edge["node"].get(field) for edge in edges if edge.get("node")}
        if field == "sampledHistory":
            return [(name, rows_of_spec(found.get(name), f"{where}/{name}")) for name in names]
        return [
            (name, parse_page(texts_of(found.get(name), f"{where}/{name}"), f"{where}/{name}"))
            for name in names
        ]

    return _ordered(_batches(run_ids, max(1, min(_RUNS_TOGETHER, _ROWS_TOGETHER // samples))), ask)


def _batches(names: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for name in names:
        batch.append(name)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _ordered(batches: Iterator[list[str]], ask: Any) -> Iterator[tuple[str, Rows]]:
    """The answers in the order of the questions, a few questions ahead."""
    with workers(_REQUESTS_AT_ONCE, "wandb-ops-histories") as pool:
        going: deque[Future[list[tuple[str, Rows]]]] = deque()
        for batch in batches:
            going.append(pool.submit(ask, batch))
            if len(going) > _REQUESTS_AT_ONCE:
                yield from going.popleft().result()
        while going:
            yield from going.popleft().result()
