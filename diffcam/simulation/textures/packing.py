"""A folder of photos shrunk to a few megabytes, to be carried to the machine that trains."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TextIO

from diffcam.errors import DiffcamError
from diffcam.simulation.jobs.progress import RunProgress
from diffcam.simulation.textures.photos import MIN_SHORT_SIDE, list_photos, load_reduced, reduced

SHORT_SIDES = (1024, 768, 640, 512, 448, 384, 320, 256, 192, 128, MIN_SHORT_SIDE)
"""Short sides in pixels, tried from the largest on; the largest is twice the 512 that training shows."""

QUALITY = 85
"""Of the JPEG files, 1 to 100: below it, blocks show in textures."""


def pack_photos(folder: Path, output: Path, megabytes: float, *, log: TextIO) -> int:
    """Write every photo of a folder as ``000000.jpg``, ``000001.jpg``, ..., all at the largest short side that fits.

    Smaller photos keep their size. Nothing of their EXIF data comes along.

    Args:
        folder: Searched with its subfolders.
        megabytes: Limit of all files together, in 10^6 bytes.

    Returns:
        The short side in pixels.

    Raises:
        DiffcamError: If there is no photo, one is damaged, the output is there already, or nothing fits.
    """
    if output.exists():
        raise DiffcamError(f"{output}: is there already; give a new folder")
    paths, photos = list_photos(folder), []
    with RunProgress(len(paths), 0, log, unit="photos") as progress:
        for path in paths:
            photos.append(load_reduced(path, SHORT_SIDES[0]))
            progress.add(1)
    for side in SHORT_SIDES:
        files: list[bytes] = []
        for photo in photos:
            buffer = io.BytesIO()
            reduced(photo, side).save(buffer, "JPEG", quality=QUALITY, optimize=True)
            files.append(buffer.getvalue())
            if sum(map(len, files)) > megabytes * 1e6:
                break
        else:
            output.mkdir(parents=True)
            for number, content in enumerate(files):
                (output / f"{number:06d}.jpg").write_bytes(content)
            return side
    raise DiffcamError(f"{len(photos)} photos do not fit into {megabytes:g} MB: take fewer, or raise --megabytes")
