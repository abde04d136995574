"""The photos that are open in the page, each with its encoded conditions and its latest result. No HTTP in here."""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from diffcam.camera import Camera
from diffcam.errors import DiffcamError
from diffcam.photo import WRITABLE_SUFFIXES, Photo, encode_photo, open_photo
from diffcam.photo.disparity import read_disparity

if TYPE_CHECKING:
    from diffcam.pipeline import RefocusPipeline
    from diffcam.session import PhotoSession

PREVIEW_SIDE = 1600
"""Longest side of the pictures that the page shows; what is downloaded is whole."""


@dataclass
class OpenPhoto:
    """One photo in the page.

    Args:
        session: Its encoded conditions.
        picture: Latest result, None before the first.
        record: How that was made.
        version: Number of that result, 0 before the first.
        step: Sampling steps done of the result in the making.
    """

    photo: Photo
    session: PhotoSession
    picture: Image.Image | None = None
    record: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    step: int = 0

    def original(self) -> Image.Image:
        """The photo as it was given, upright."""
        if self.photo.alpha is None:
            return self.photo.image
        image = self.photo.image.copy()
        image.putalpha(self.photo.alpha)
        return image

    def download(self) -> tuple[str, bytes]:
        """File name and content of the latest result, in the photo's own format where that can hold it.

        Raises:
            DiffcamError: If there is no result yet.
        """
        if self.picture is None:
            raise DiffcamError(f"{self.photo.name}: nothing to download yet; click on the photo first")
        path = Path(self.photo.name)
        suffix = path.suffix.lower() if path.suffix.lower() in WRITABLE_SUFFIXES else ".png"
        if self.photo.alpha is not None and suffix in (".jpg", ".jpeg"):
            suffix = ".png"
        return f"{path.stem}-refocused{suffix}", encode_photo(self.picture, suffix, self.photo, self.record)


class PhotoDesk:
    """Opens and refocuses photos, one at a time; keeps the latest few open.

    Args:
        capacity: Photos kept open; opening one more closes the one that was used least recently.
    """

    def __init__(self, pipeline: RefocusPipeline, capacity: int = 3) -> None:
        self._pipeline = pipeline
        self.steps = pipeline.settings.steps  # sampling steps where the page asks for no number of its own
        self._capacity = capacity
        self._photos: OrderedDict[str, OpenPhoto] = OrderedDict()
        self._working = threading.Lock()  # the model serves one request after the other
        self._listing = threading.Lock()

    def open(self, data: bytes, name: str) -> str:
        """Open the photo in a file's bytes; returns the key it is then known by.

        Raises:
            DiffcamError: If it is no photo that can be read.
        """
        photo = open_photo(BytesIO(data), Path(name).name or "photo")
        with self._working:
            opened = OpenPhoto(photo, self._pipeline.open(photo))
        key = secrets.token_urlsafe(16)  # not to be guessed by other pages of the same browser
        with self._listing:
            self._photos[key] = opened
            while len(self._photos) > self._capacity:
                self._photos.popitem(last=False)
        return key

    def __getitem__(self, key: str) -> OpenPhoto:
        """An open photo.

        Raises:
            DiffcamError: If no photo has this key any more.
        """
        with self._listing:
            if key not in self._photos:
                raise DiffcamError("this photo is no longer open; choose it again")
            self._photos.move_to_end(key)
            return self._photos[key]

    def set_depth(self, key: str, data: bytes, name: str) -> None:
        """Solve this photo with a given disparity map from now on.

        Raises:
            DiffcamError: If it is no disparity map, or does not fit the photo.
        """
        opened = self[key]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (Path(name).name or "map")
            path.write_bytes(data)
            try:
                depth = read_disparity(path)
            except DiffcamError as error:
                raise DiffcamError(str(error).replace(f"{folder}/", "")) from error
        with self._working:
            opened.session = self._pipeline.open(opened.photo, depth)

    def refocus(self, key: str, camera: Camera, steps: int, seed: int) -> OpenPhoto:
        """Refocus an open photo; its picture, record and version are then new."""
        opened = self[key]

        def on_step(step: int, latents: Tensor) -> None:
            opened.step = step + 1

        with self._working:
            opened.step = 0
            opened.picture = opened.session.refocus(camera, steps, seed, on_step)
            opened.record = json.loads(opened.picture.info["diffcam"])
            opened.version += 1
        return opened


def preview(image: Image.Image) -> bytes:
    """A picture as the page shows it: a JPEG, or a PNG where it is transparent, of bounded size."""
    small = image.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
    stream = BytesIO()
    if small.mode == "RGBA":
        small.save(stream, "PNG", compress_level=1)
    else:
        small.convert("RGB").save(stream, "JPEG", quality=92, subsampling="4:4:4")
    return stream.getvalue()
