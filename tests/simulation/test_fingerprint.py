"""A folder's fingerprint changes with names, sizes and contents, and with nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from diffcam.simulation.fingerprint import fingerprint


def of(folder: Path) -> dict[str, object]:
    return fingerprint(folder, sorted(path for path in folder.rglob("*") if path.is_file()))


def test_the_same_content_elsewhere_has_the_same_fingerprint(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "more").mkdir(parents=True)
        (tmp_path / place / "more" / "photo.jpg").write_bytes(b"one")
        (tmp_path / place / "other.jpg").write_bytes(b"two")
    os.utime(tmp_path / "b" / "other.jpg", (1, 1))
    assert of(tmp_path / "a") == of(tmp_path / "b")
    assert of(tmp_path / "a")["count"] == 2


def test_other_content_of_the_same_name_and_size_has_another(tmp_path: Path) -> None:
    path, draw = tmp_path / "photo.jpg", np.random.default_rng(0)
    seen = set()
    for size in (1, 100, 5000, 65536, 3_000_000):
        for _ in range(2):
            path.write_bytes(draw.bytes(size))
            seen.add(of(tmp_path)["sha256"])
    assert len(seen) == 10
    data = bytearray(draw.bytes(60000))
    for place in range(0, len(data), 997):  # of a small file every byte counts
        data[place] ^= 1
        path.write_bytes(data)
        seen.add(of(tmp_path)["sha256"])
    assert len(seen) == 10 + 61


def test_a_file_that_cannot_be_read_ends_nothing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"one")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert of(tmp_path)["count"] == 1
