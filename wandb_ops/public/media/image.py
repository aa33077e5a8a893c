"""`Image`: a picture from a file, bytes, an array, or another library's object."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from wandb_ops.errors import UsageError
from wandb_ops.protocol.storage import name_problem
from wandb_ops.public.media.base import Files, Media, sha256_of
from wandb_ops.public.media.pixels import format_and_size, pixels_of, png_bytes
from wandb_ops.public.media.types import IMAGE, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRITABLE = ("png", "jpg", "jpeg", "bmp")
#: Kinds of files that are known here, by the suffixes of their names.
FORMATS = frozenset({*_WRITABLE, "gif"})
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


class Image(Media):
    """A picture with an optional caption.

    Args:
        data_or_path: A file's path, the bytes of a PNG, JPEG, GIF or BMP file, an array (height x width, or
            with 1, 3 or 4 channels; whole numbers 0-255, fractions of 1, or bools), a Pillow image, or a
            matplotlib figure.
        mode: "L", "RGB" or "RGBA", to be sure of an array's channels.
        caption: Text below it.
        grouping: So many images belong together.
        classes: Not supported, as are `boxes` and `masks`.
        boxes: See `classes`.
        masks: See `classes`.
        file_type: How to store what is no file yet: "png"; "jpg" and "bmp" take Pillow.

    Attributes:
        data: The file's bytes.
        format: Its kind, such as "png".
        width: Pixels.
        height: Pixels.

    Raises:
        UsageError: It is no picture that is known here, or a feature is asked for that is not.
    """

    MAX_ITEMS: ClassVar[int] = 108
    MAX_DIMENSION: ClassVar[int] = 65500
    _log_type: ClassVar[str] = "image-file"
    _wb_type: ClassVar[Type] = IMAGE

    data: bytes
    format: str
    width: int
    height: int

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Sequence[dict[str, Any]] | None = None,
        boxes: dict[str, Any] | None = None,
        masks: dict[str, Any] | None = None,
        file_type: str | None = None,
    ) -> None:
        if classes or boxes or masks:
            raise UsageError(
                "Boxes, masks and classes of images are not supported", hint="Log it without them."
            )
        if file_type is not None and file_type not in _WRITABLE:
            raise UsageError(f"file_type is one of {', '.join(_WRITABLE)}, not {file_type!r}")
        self.caption = caption
        self.grouping = grouping
        self._name: str | None = None
        if isinstance(data_or_path, Image):
            self.data, self.format = data_or_path.data, data_or_path.format
            self._name = data_or_path._name
        elif isinstance(data_or_path, (str, os.PathLike)):
            path = Path(data_or_path)
            if not path.is_file():
                raise UsageError(f"There is no file {str(path)!r}")
            self.data = path.read_bytes()
            self.format = path.suffix.lstrip(".")
            self._name = None if name_problem(path.name) else path.name
        elif isinstance(data_or_path, (bytes, bytearray, memoryview)):
            self.data, self.format = bytes(data_or_path), ""
        else:
            self.data = _encoded(data_or_path, mode, file_type or "png")
            self.format = file_type or "png"
        found = format_and_size(self.data)
        if found is None:
            raise UsageError(
                "These bytes are no PNG, JPEG, GIF or BMP file",
                hint="Convert it first; Html shows other markup, such as SVG.",
            )
        kind, self.width, self.height = found
        self.format = self.format or kind
        if max(self.width, self.height) >= self.MAX_DIMENSION:
            raise UsageError(f"An image is at most {self.MAX_DIMENSION} pixels wide and high")

    @property
    def image(self) -> Any:
        """The picture as a Pillow image.

        Raises:
            UsageError: Pillow is not installed.
        """
        return _pillow().open(io.BytesIO(self.data))

    def _stored(self, files: Files) -> dict[str, Any]:
        found: dict[str, Any] = {
            "_type": self._log_type,
            "sha256": sha256_of(self.data),
            "format": self.format,
        }
        if files.in_run:
            found["size"] = len(self.data)
        found |= {"width": self.width, "height": self.height}
        if self.caption is not None:
            found["caption"] = self.caption
        if self.grouping:
            found["grouping"] = self.grouping
        return {**found, "path": files.put("images", self.data, self.format, name=self._name)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        return (self.data, self.caption, self.grouping) == (other.data, other.caption, other.grouping)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<Image {self.format} {self.width} x {self.height}>"


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise UsageError("This needs Pillow, which is not installed", hint="pip install pillow") from error
    return PIL.Image


def _encoded(value: Any, mode: str | None, file_type: str) -> bytes:
    """The file of something that is none yet."""
    sink = io.BytesIO()
    kind = "jpeg" if file_type == "jpg" else file_type
    if callable(getattr(value, "savefig", None)):  # a matplotlib figure
        value.savefig(sink, format=kind)
        return sink.getvalue()
    if hasattr(value, "getbands") and callable(getattr(value, "save", None)):  # a Pillow image
        value.save(sink, format=kind)
        return sink.getvalue()
    pixels = pixels_of(value)
    if mode is not None and _CHANNELS.get(mode) != pixels.shape[2]:
        raise UsageError(f"An image of mode {mode!r} is not made of {pixels.shape[2]} channels")
    if file_type == "png":
        return png_bytes(pixels)
    _pillow().fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(sink, format=kind)
    return sink.getvalue()


def images_group(images: Sequence[Image], files: Files) -> dict[str, Any]:
    """Several images of one key, as W&B shows them side by side."""
    shown = [image._stored(files) for image in images]
    found: dict[str, Any] = {
        "_type": "images/separated",
        "width": images[0].width,
        "height": images[0].height,
        "format": images[0].format,
        "count": len(images),
        "filenames": [each["path"] for each in shown],
    }
    captions = [image.caption for image in images]
    if any(caption is not None for caption in captions):
        found["captions"] = captions
    return found
