"""`Histogram`: counts per bin, as W&B stores them in a summary or a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from wandb_ops.errors import UsageError
from wandb_ops.public.media.types import HISTOGRAM, Type

if TYPE_CHECKING:
    from collections.abc import Sequence


class Histogram:
    """How often values fall into which bin.

    Args:
        sequence: Values to count, any shape that numpy takes.
        np_histogram: A finished `(counts, edges)` pair, as `numpy.histogram` gives it, instead of values.
        num_bins: Bins to make from `sequence`, at most 512.

    Attributes:
        histogram: Count per bin.
        bins: The edges, one more than counts.

    Raises:
        UsageError: Neither or both were given, too many bins, or edges that do not fit the counts.
    """

    MAX_LENGTH: ClassVar[int] = 512
    _log_type: ClassVar[str] = "histogram"
    _wb_type: ClassVar[Type] = HISTOGRAM

    histogram: list[int] | list[float]
    bins: list[float]

    def __init__(
        self,
        sequence: Sequence[Any] | Any | None = None,
        np_histogram: tuple[Any, Any] | None = None,
        num_bins: int = 64,
    ) -> None:
        if (sequence is None) == (np_histogram is None):
            raise UsageError("A Histogram is made either from a sequence or from np_histogram")
        if np_histogram is not None:
            if len(np_histogram) != 2:
                raise UsageError("np_histogram is a pair: counts and bin edges")
            counts, edges = np_histogram
        else:
            if num_bins > self.MAX_LENGTH:
                raise UsageError(f"A histogram has at most {self.MAX_LENGTH} bins, not {num_bins}")
            import numpy as np

            try:
                counts, edges = np.histogram(np.asarray(sequence), bins=num_bins)
            except (ValueError, TypeError) as error:
                raise UsageError(f"No histogram can be made of these values: {error}") from error
        self.histogram = _as_list(counts)
        self.bins = _as_list(edges)
        if len(self.histogram) > self.MAX_LENGTH:
            raise UsageError(f"A histogram has at most {self.MAX_LENGTH} bins, not {len(self.histogram)}")
        if len(self.histogram) + 1 != len(self.bins):
            raise UsageError(
                f"{len(self.histogram)} bins have {len(self.histogram) + 1} edges, not {len(self.bins)}"
            )

    def to_json(self, run: object = None) -> dict[str, Any]:  # noqa: ARG002 - W&B's own signature
        """The form W&B stores: `{"_type": "histogram", "values": [...], "bins": [...]}`."""
        return {"_type": self._log_type, "values": list(self.histogram), "bins": list(self.bins)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]  # mutable, as its lists are

    def __repr__(self) -> str:
        return f"<Histogram {len(self.histogram)} bins>"


def _as_list(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)
