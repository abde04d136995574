"""Gather the photos of the open benchmark: data_shards/OPEN_BENCHMARK.md says from where.

Usage: python runs/collect_open_benchmark.py WALLPAPERS OPENCV PHOTOS

WALLPAPERS holds the pictures of Debian's package lomiri-wallpapers-16.04, OPENCV the example data of opencv-doc; PHOTOS
is made, with the folders camera, maps/camera and layered.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image

LAYERED = (
    "life_by_Aitzol_Berasategi.jpg",
    "friends_by_Aitzol_Berasategi.jpg",
    "Dragonfly_by_Bolly.jpg",
    "Bridge_by_Sander_Klootwijk.jpg",
    "china.jpg",
    "gravel.png",
    "grass.png",
)
"""Photos that no training scene is made of."""


def main() -> None:
    """Copy the photos, and the measured disparity of two of them with NaN where nothing was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wallpapers", type=Path)
    parser.add_argument("opencv", type=Path)
    parser.add_argument("photos", type=Path)
    args = parser.parse_args()
    samples = Path(skimage.__file__).parent / "data"
    places = (args.wallpapers, samples, Path(sklearn.__file__).parent / "datasets" / "images")
    folders = {name: args.photos / name for name in ("camera", "maps/camera", "layered")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name in LAYERED:
        shutil.copy(next(place / name for place in places if (place / name).is_file()), folders["layered"] / name)
    shutil.copy(samples / "motorcycle_left.png", folders["camera"] / "motorcycle.png")
    with np.load(samples / "motorcycle_disp.npz") as disparity:
        np.save(folders["maps/camera"] / "motorcycle.npy", disparity["arr_0"])
    shutil.copy(args.opencv / "aloeL.jpg", folders["camera"] / "aloe.jpg")
    with Image.open(args.opencv / "aloeGT.png") as picture:
        measured = np.array(picture.convert("L"), dtype=np.float32)
    np.save(folders["maps/camera"] / "aloe.npy", np.where(measured == 0, np.nan, measured))


if __name__ == "__main__":
    main()
