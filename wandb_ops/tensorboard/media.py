"""Values that are no numbers, in the JSON that W&B's history has for them.

File names are made from their content, so the same folder always gives the same names and an upload that is
repeated replaces itself.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from wandb_ops.tensorboard.columns import Extra, MediaFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FLOAT = struct.Struct("<d")
MAX_BINS = 512  # what W&B draws
_HUGE = 1e300  # TF1 closes its outer bins with the largest double
_NAME_LENGTH = 32  # hex digits of the sha256
_PNG = b"\x89PNG\r\n\x1a\n"
_IMAGE_FORMATS: tuple[tuple[bytes, str], ...] = (
    (_PNG, "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
)
_MAGIC_BYTES = 12
_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
}


def json_bytes(value: Any) -> bytes:
    """JSON as W&B takes it: NaN and the infinities are bare tokens."""
    if isinstance(value, float) and not math.isfinite(value):
        return b"NaN" if math.isnan(value) else (b"Infinity" if value > 0 else b"-Infinity")
    if isinstance(value, list):
        return b"[" + b",".join([json_bytes(item) for item in value]) + b"]"
    if isinstance(value, dict):
        return b"{" + b",".join([orjson.dumps(k) + b":" + json_bytes(v) for k, v in value.items()]) + b"}"
    return orjson.dumps(value)


def floats_json(array: NDArray[np.float64]) -> bytes:
    """A float array as a JSON list; one numpy pass when all are finite."""
    if np.isfinite(array).all():
        return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    return json_bytes(array.tolist())


def rebinned(
    edges: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most MAX_BINS bins: neighbours are joined, counts and the outer edges stay."""
    factor = -(-len(counts) // MAX_BINS)
    if factor <= 1:
        return edges, counts
    starts = np.arange(0, len(counts), factor)
    return np.append(edges[starts], edges[-1]), np.add.reduceat(counts, starts)


def histogram(edges: NDArray[np.float64], counts: NDArray[np.float64]) -> Extra:
    """{_type: histogram}: n + 1 bin edges and n counts."""
    edges, counts = rebinned(edges, counts)
    return Extra(
        b'{"_type":"histogram","bins":' + floats_json(edges) + b',"values":' + floats_json(counts) + b"}"
    )


def proto_histogram(
    limits: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float
) -> Extra | None:
    """A HistogramProto: right edges and counts; None when it has no bins.

    An empty first bin only carries the left edge of the second; otherwise the left edge is the smallest
    value.
    """
    if not len(limits) or len(limits) != len(counts):
        return None
    edges = limits
    if counts[0] == 0 and len(limits) > 1:
        counts = counts[1:]
    else:
        edges = np.concatenate([[min(low, limits[0])], limits])
    if abs(edges[0]) > _HUGE or abs(edges[-1]) > _HUGE:
        edges = edges.copy()
        edges[0] = low if edges[0] < -_HUGE else edges[0]
        edges[-1] = high if edges[-1] > _HUGE else edges[-1]
    return histogram(edges, counts)


def packed_histogram(data: bytes, limits_at: int, counts_at: int, size: int, low: float) -> Extra | None:
    """As `proto_histogram`, of `size` bytes of limits and as many of counts that lie in `data`.

    None when it is not an everyday histogram: no bins, edges at the end of the numbers, NaN.
    """
    bins, torn = divmod(size, 8)
    if torn or not bins:
        return None
    limits = np.frombuffer(data, "<f8", bins, limits_at)
    first, last = float(limits[0]), float(limits[-1])
    if not (-_HUGE < first < _HUGE and -_HUGE < last < _HUGE):
        return None
    if bins > 1 and _FLOAT.unpack_from(data, counts_at)[0] == 0:
        counts, left = np.frombuffer(data, "<f8", bins - 1, counts_at + 8), None
    else:
        counts, left = np.frombuffer(data, "<f8", bins, counts_at), min(low, first)
    if len(counts) > MAX_BINS:
        limits, counts = rebinned(limits if left is None else np.concatenate([[left], limits]), counts)
        left = None
    edges = orjson.dumps(limits, option=orjson.OPT_SERIALIZE_NUMPY)
    if left is not None:
        edges = b"[%b,%b" % (json_bytes(left), edges[1:])
    values = orjson.dumps(counts, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in edges or b"N" in edges or b"n" in values:  # null, NaN or Infinity
        return None
    return Extra(b'{"_type":"histogram","bins":%b,"values":%b}' % (edges, values))


def tensor_histogram(table: NDArray[Any]) -> Extra | None:
    """An n x 3 tensor of (left, right, count); None when it is something else."""
    if table.ndim != 2 or table.shape[1] != 3:
        return None
    rows = table.astype(np.float64)
    if not len(rows):
        return histogram(np.zeros(1), np.zeros(0))
    return histogram(np.append(rows[:, 0], rows[-1, 1]), rows[:, 2])


def packed_tensor_histogram(data: bytes, at: int, bins: int) -> Extra | None:
    """As `tensor_histogram`, of `bins` rows of three doubles that lie in `data`.

    None when it is not an everyday histogram: no bins, too many for W&B, numbers that are not finite.
    """
    if not 0 < bins <= MAX_BINS:
        return None
    table = np.frombuffer(data, "<f8", 3 * bins, at)
    edges = np.empty(bins + 1)
    edges[:bins], edges[bins] = table[0::3], table[-2]
    bounds = orjson.dumps(edges, option=orjson.OPT_SERIALIZE_NUMPY)
    values = orjson.dumps(table[2::3].copy(), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in bounds or b"n" in values:  # null
        return None
    return Extra(b'{"_type":"histogram","bins":%b,"values":%b}' % (bounds, values))


def _media_file(folder: str, data: bytes, suffix: str) -> tuple[MediaFile, str]:
    digest = hashlib.sha256(data).hexdigest()
    return MediaFile(f"media/{folder}/{digest[:_NAME_LENGTH]}.{suffix}", data), digest


def image_format(head: bytes) -> str | None:
    """png, jpg, gif, bmp or webp by the first dozen bytes; None for anything else."""
    for magic, name in _IMAGE_FORMATS:
        if head.startswith(magic):
            return name
    return "webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def images(encoded: Sequence[bytes], width: int, height: int) -> Extra | None:
    """{_type: images/separated}; None when an image is of an unknown format or there is none."""
    formats = [image_format(data[:_MAGIC_BYTES]) for data in encoded]
    if not encoded or None in formats:
        return None
    files = [_media_file("images", data, str(kind))[0] for data, kind in zip(encoded, formats, strict=True)]
    value = {
        "_type": "images/separated",
        "width": width,
        "height": height,
        "format": formats[0],
        "count": len(files),
        "filenames": [file.name for file in files],
    }
    return Extra(orjson.dumps(value), tuple(files))


def packed_image(data: bytes, start: int, size: int, width: int, height: int) -> Extra | None:
    """As `images`, of one that lies in `data` and is not copied: a copy of every image costs as much as its
    hash."""
    kind = image_format(data[start : start + min(size, _MAGIC_BYTES)])
    if kind is None:
        return None
    encoded = memoryview(data)[start : start + size]
    name = f"media/images/{hashlib.sha256(encoded).hexdigest()[:_NAME_LENGTH]}.{kind}"
    text = (
        f'{{"_type":"images/separated","width":{width},"height":{height},"format":"{kind}","count":1,'
        f'"filenames":["{name}"]}}'
    )
    return Extra(text.encode(), (MediaFile(name, encoded),))


def audio(data: bytes, content_type: str) -> Extra | None:
    """{_type: audio-file}; None for a content type that W&B cannot play."""
    found = _clip(data, content_type)
    return None if found is None else Extra(orjson.dumps(found[1]), (found[0],))


def audio_clips(clips: Sequence[bytes], labels: Sequence[bytes]) -> Extra | None:
    """One wave file as `audio`, several as {_type: audio}; labels that say something become captions.

    None when there is no clip, or an empty one.
    """
    found = [_clip(clip, "audio/wav") for clip in clips]
    kept = [item for item in found if item is not None]
    if not kept or len(kept) < len(found):
        return None
    captions = [label.decode("utf-8", errors="replace") for label in labels]
    files = tuple(file for file, _ in kept)
    values = [value for _, value in kept]
    if len(values) == 1:
        caption = {"caption": captions[0]} if any(captions) else {}
        return Extra(orjson.dumps({**values[0], **caption}), files)
    group: dict[str, Any] = {"_type": "audio", "count": len(values), "audio": values}
    if any(captions):
        group["captions"] = captions
    return Extra(orjson.dumps(group), files)


def _clip(data: bytes, content_type: str) -> tuple[MediaFile, dict[str, Any]] | None:
    suffix = _AUDIO_FORMATS.get(content_type.lower() or "audio/wav")
    if suffix is None or not data:
        return None
    file, digest = _media_file("audio", data, suffix)
    return file, {"_type": "audio-file", "path": file.name, "sha256": digest, "size": len(data)}


def pr_curve(table: NDArray[Any]) -> Extra | None:
    """{_type: table-file} of recall and precision, from the plugin's 6 x n tensor; else None."""
    if table.ndim != 2 or table.shape[0] != 6:
        return None
    precision, recall = table[4].astype(np.float64), table[5].astype(np.float64)
    rows = [[r, p] for r, p in zip(recall.tolist(), precision.tolist(), strict=True)]
    data = json_bytes({"columns": ["recall", "precision"], "data": rows})
    file, digest = _media_file("table", data, "table.json")
    value = {
        "_type": "table-file",
        "path": file.name,
        "sha256": digest,
        "size": len(data),
        "ncols": 2,
        "nrows": len(rows),
    }
    return Extra(orjson.dumps(value), (file,))


def pr_chart(key: str) -> dict[str, Any]:
    """The entry of a run's config that draws the table `key` as recall against precision."""
    table = {
        "name": "summaryTable",
        "args": [{"name": "tableKey", "value": key}],
        "fields": [],
    }
    columns: list[dict[str, Any]] = [
        {"name": name, "fields": []} for name in ("id", "name", "_defaultColorIndex")
    ]
    runs = {
        "name": "runSets",
        "args": [{"name": "runSets", "value": "${runSets}"}],
        "fields": [*columns, table],
    }
    return {
        "panel_type": "Vega2",
        "panel_config": {
            "panelDefId": "wandb/line/v0",
            "fieldSettings": {"x": "recall", "y": "precision"},
            "stringSettings": {"title": f"{key}: precision by recall"},
            "transform": {"name": "tableWithLeafColNames"},
            "userQuery": {"queryFields": [runs]},
        },
    }


def text(strings: Sequence[bytes], shape: tuple[int, ...]) -> Extra:
    """A string tensor: one element gives a string, more give a list of strings."""
    decoded = [item.decode("utf-8", errors="replace") for item in strings]
    return Extra(orjson.dumps(decoded[0] if len(decoded) == 1 and len(shape) <= 1 else decoded))
