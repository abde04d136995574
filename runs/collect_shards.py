"""Gather the openly licensed photos that the shipped shards are made of: data_shards/README.md says from where.

Usage: python runs/collect_shards.py WALLPAPERS PHOTOS

WALLPAPERS holds the pictures of Debian's package lomiri-wallpapers-16.04; PHOTOS is made, with one folder a split.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import skimage
import sklearn

SPLITS = {
    "train": (
        "aitzgorri_by_Aitzol_Berasategi.jpg",
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "sunset_by_Aitzol_Berasategi.jpg",
        "Wine_by_Jakkub_Mede.jpg",
        "Picture_1A_by_freespace.jpg",
        "astronaut.png",
        "coffee.png",
        "rocket.jpg",
        "brick.png",
    ),
    "val": (
        "Picture_0B_by_freespace.jpg",
        "seeding_by_Clements_Engelhardt.jpg",
        "chelsea.png",
        "camera.png",
        "flower.jpg",
    ),
    "heldout": ("life_by_Aitzol_Berasategi.jpg", "friends_by_Aitzol_Berasategi.jpg", "china.jpg"),
}
"""No photo is in two splits."""


def main() -> None:
    """Copy each photo into its split's folder, and the stereo pair's left photo with its measured disparity."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wallpapers", type=Path)
    parser.add_argument("photos", type=Path)
    args = parser.parse_args()
    samples = Path(skimage.__file__).parent / "data"
    places = (args.wallpapers, samples, Path(sklearn.__file__).parent / "datasets" / "images")
    for split, names in SPLITS.items():
        folder = args.photos / split
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(next(place / name for place in places if (place / name).is_file()), folder / name)
    for folder in ("stereo", "stereo-disparity"):
        (args.photos / folder).mkdir(exist_ok=True)
    shutil.copy(samples / "motorcycle_left.png", args.photos / "stereo" / "motorcycle.png")
    with np.load(samples / "motorcycle_disp.npz") as disparity:
        np.save(args.photos / "stereo-disparity" / "motorcycle.npy", disparity["arr_0"])


if __name__ == "__main__":
    main()
