"""A run's summary: a dict to read and change, saved by `update()`.

Changes are local until `summary.update()` or `run.update()`. What is then sent are this object's own changes,
put onto what the server holds at that moment: keys that others wrote meanwhile stay, keys deleted here are
deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from wandb_ops.public.encode import to_stored

if TYPE_CHECKING:
    from wandb_ops.public.media.rows import RunMedia
    from wandb_ops.transport.session import Transport


def _clean(key: Any) -> Any:
    return key.strip() if isinstance(key, str) else key


class SummarySubDict(MutableMapping[str, Any]):
    """A dict inside the summary; also `summary.outer.inner`."""

    _root: HTTPSummary
    _path: tuple[str, ...]

    def __init__(self, root: HTTPSummary, path: tuple[str, ...]) -> None:
        self._root = root
        self._path = path

    @property
    def _json_dict(self) -> dict[str, Any]:
        """The plain dict as it will be stored, large or not."""
        place: Any = self._root._stored
        for key in self._path:
            place = place.get(key) if isinstance(place, dict) else None
        return place if isinstance(place, dict) else {}

    def __getitem__(self, key: str) -> Any:
        value = self._json_dict[_clean(key)]
        return SummarySubDict(self._root, (*self._path, _clean(key))) if isinstance(value, dict) else value

    def __setitem__(self, key: str, value: Any) -> None:
        key = _clean(key)
        if isinstance(value, SummarySubDict):
            value = value._json_dict
        value = self._root._without_media(".".join((*self._path, str(key))), value)
        self._writable()[key] = to_stored(value, where=".".join(("summary", *self._path, str(key))))
        self._root._touched.add((*self._path, key))

    def __delitem__(self, key: str) -> None:
        del self._json_dict[_clean(key)]
        self._root._touched.add((*self._path, _clean(key)))

    def _writable(self) -> dict[str, Any]:
        place = self._root._stored
        for key in self._path:
            inner = place.get(key)
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place = inner
        return place

    def __contains__(self, key: object) -> bool:
        return _clean(key) in self._json_dict

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._json_dict))

    def __len__(self) -> int:
        return len(self._json_dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The summary has no {'.'.join((*self._path, name))}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self[name] = value

    def update(  # type: ignore[override]  # W&B's signature: one dict, and a switch
        self, key_vals: Mapping[str, Any] | None = None, overwrite: bool = True
    ) -> None:
        """Set the given values, then save the whole summary's changes.

        Args:
            key_vals: Values to set; None saves what was changed before.
            overwrite: False leaves keys alone that were set through this object.
        """
        for key, value in (key_vals or {}).items():
            if overwrite or (*self._path, _clean(key)) not in self._root._touched:
                self[key] = value
        self._root._owner._save_summary()

    def __repr__(self) -> str:
        return repr(self._json_dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return (SummarySubDict, (self._root, self._path))


class SummaryOwner(Protocol):
    """Whoever holds a summary's values and can save them: a `Run`."""

    @property
    def path(self) -> list[str]: ...

    def _summary_values(self) -> dict[str, Any]: ...

    def _save_summary(self) -> None: ...


class HTTPSummary(SummarySubDict):
    """The summary of one run; a view of the values that the run holds.

    Args:
        owner: The run.
    """

    _owner: SummaryOwner
    _touched: set[tuple[str, ...]]
    _media: RunMedia | None  # what is to be stored before the values are saved

    def __init__(self, owner: SummaryOwner) -> None:
        super().__init__(self, ())
        self._owner = owner
        self._touched = set()
        self._media = None

    @property
    def _stored(self) -> dict[str, Any]:
        return self._owner._summary_values()

    def _without_media(self, key: str, value: Any) -> Any:
        """`value` with JSON in place of tables, images and pages; they are stored by the next save."""
        from wandb_ops.public.media.base import Media
        from wandb_ops.public.media.rows import RunMedia, holds_media

        if not holds_media(value, (Media,)):
            return value
        if self._media is None:
            entity, project, run_id = self._owner.path
            self._media = RunMedia(entity, project, run_id)
        return self._media.row({key: value}, None)[key]

    def _store_media(self, transport: Transport) -> None:
        """Store what values set since the last save refer to."""
        if self._media is not None:
            self._media.save(transport)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._owner, self._touched, self._media))


def _rebuild(owner: SummaryOwner, touched: set[tuple[str, ...]], media: RunMedia | None) -> HTTPSummary:
    summary = HTTPSummary(owner)
    summary._touched.update(touched)
    summary._media = media
    return summary
