from __future__ import annotations

import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffcam.pipeline import RefocusPipeline
from diffcam.ui import PageServer, PhotoDesk


@pytest.fixture(scope="session")
def pipeline(model_folder: Path) -> RefocusPipeline:
    return RefocusPipeline.from_pretrained(model_folder)


@pytest.fixture
def desk(pipeline: RefocusPipeline) -> PhotoDesk:
    return PhotoDesk(pipeline, capacity=2)


@pytest.fixture
def server(desk: PhotoDesk) -> Iterator[PageServer]:
    """The page, served on a free port by a thread until the test ends."""
    with PageServer(("127.0.0.1", 0), desk, max_upload=500_000) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def photo_bytes() -> bytes:
    """A JPEG of 96 x 72 pixels whose EXIF asks for a quarter turn: 72 x 96 when upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
    Image.fromarray(pixels).save(stream, "JPEG", exif=exif, quality=95)
    return stream.getvalue()
