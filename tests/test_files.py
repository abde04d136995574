"""Files appear whole or not at all; fingerprints change with names, sizes and contents, and with nothing else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from diffcam.files import file_sha256, files_sha256, fingerprint, unfinished


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


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with unfinished(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")

    def fail() -> None:
        with unfinished(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with unfinished(path) as one, unfinished(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one", "the last to finish"
    assert list(tmp_path.iterdir()) == [path]


def test_hashes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"abc")
    other.write_bytes(b"")
    parts = [hashlib.sha256(content) for content in (b"abc", b"")]
    assert file_sha256(one) == parts[0].hexdigest()
    assert files_sha256([one, tmp_path, other]) == hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()
    assert files_sha256([tmp_path]) == ""
