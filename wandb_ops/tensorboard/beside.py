"""What a folder gives its run beside rows: the latest values, hyperparameters, and charts to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from wandb_ops.protocol.values import dumps, loads
from wandb_ops.tensorboard.media import pr_chart
from wandb_ops.tensorboard.state import SUMMARY_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.tensorboard.reading import DirectoryReader
    from wandb_ops.tensorboard.state import SyncState

_LONGEST = 9 << 20  # bytes of a summary; W&B takes one of as many as a line


class Beside:
    """Gathers it from pass to pass, and puts it into the run's summary and config."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}  # key -> JSON text of its last value
        self._hparams: list[tuple[str, dict[str, Any]]] = []
        self._charts: set[str] = set()  # keys of tables to be drawn
        self._drawn: set[str] = set()  # those that the run's config has

    def take(self, readers: list[DirectoryReader]) -> None:
        """What the readers of a whole pass have seen."""
        newest: dict[str, float] = {}
        for reader in readers:
            for tag, (wall, text) in reader.rows.last.items():
                key = reader.rows.key(tag)
                if key not in newest or wall >= newest[key]:
                    newest[key] = wall
                    self._values[key] = text
                if reader.context.tags.tags[tag] in reader.context.pr_curves:
                    self._charts.add(key)
        self._hparams = [(reader.directory.name, reader.context.hparams) for reader in readers]

    def config(self, before: Mapping[str, Any]) -> dict[str, Any] | None:
        """The run's config with what the folder adds to it; None when that is nothing."""
        added = self._new_hparams(before)
        if not added and self._charts <= self._drawn:
            return None
        config = {**before, **added}
        if self._charts:
            own = config.get("_wandb") or {}
            drawn = {key: pr_chart(key) for key in sorted(self._charts)}
            config["_wandb"] = {**own, "visualize": {**own.get("visualize", {}), **drawn}}
        return config

    def config_is_sent(self) -> None:
        """The run has the charts now."""
        self._drawn = set(self._charts)

    def _new_hparams(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Hyperparameters that the run's config does not have; a key that two directories disagree on gets
        a prefix."""
        wanted: dict[str, Any] = {}
        for directory, hparams in self._hparams:
            for key, value in hparams.items():
                if key not in wanted:
                    wanted[key] = value
                elif wanted[key] != value:
                    wanted[f"{directory}/{key}"] = value
        return {key: value for key, value in wanted.items() if key not in before}

    def summary(self, before: Mapping[str, Any], last_line: bytes, state: SyncState) -> str:
        """The JSON text of the run's summary with what the folder adds to it.

        Args:
            before: The summary as it was found.
            last_line: The last history line that was made; empty when there was none.
            state: How far the sync is; stands in the summary too.
        """
        texts = {key: dumps(value).encode() for key, value in before.items() if key != "_wandb"}
        texts.update(self._values)
        internal = dict(before.get("_wandb") or {})
        if last_line:
            row = loads(last_line)
            for key in ("_step", "_timestamp", "_runtime", "global_step"):
                texts[key] = dumps(row[key]).encode()
            internal["runtime"] = int(row["_runtime"])
        internal[SUMMARY_KEY] = state.to_json()
        texts["_wandb"] = dumps(internal).encode()
        room = _LONGEST - sum(len(text) + 6 * len(key) for key, text in texts.items())
        if room < 0:  # the largest values are in the history only
            for key in sorted(self._values, key=lambda key: -len(self._values[key])):
                if room >= 0:
                    break
                room += len(texts.pop(key)) + 6 * len(key)
        return (
            b"{" + b",".join([orjson.dumps(key) + b":" + text for key, text in texts.items()]) + b"}"
        ).decode()
