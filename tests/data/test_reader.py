from __future__ import annotations

import logging
import tarfile
from pathlib import Path

import pytest

from diffcam.data import SceneEntry, write_shard
from diffcam.data.reader import DamageCount, find_shards, read_index
from diffcam.errors import DiffcamError


@pytest.fixture
def folder(make_scene, tmp_path: Path) -> Path:
    """Four shards of five scenes."""
    for shard in range(4):
        write_shard(tmp_path / f"s-{shard:02d}.tar", [make_scene(f"{shard}-{n}") for n in range(5)])
    return tmp_path


def test_find_shards_expands_braces_and_globs(folder: Path) -> None:
    names = [str(folder / f"s-{shard:02d}.tar") for shard in range(4)]
    assert find_shards([f"{folder}/s-{{00..03}}.tar"]) == names
    assert find_shards([f"{folder}/s-*.tar"]) == names
    assert find_shards([names[2], f"{folder}/s-0[0-2].tar"]) == [names[2], names[0], names[1]]
    with pytest.raises(DiffcamError, match=r"s-04\.tar: no such shard"):
        find_shards([f"{folder}/s-{{00..04}}.tar"])
    with pytest.raises(DiffcamError, match=r"nothing\*\.tar: no such shard"):
        find_shards([f"{folder}/nothing*.tar"])


def test_all_scenes_are_indexed_in_order(folder: Path) -> None:
    entries = read_index([f"{folder}/*.tar"])
    assert [entry.key for entry in entries] == [f"{shard}-{n}" for shard in range(4) for n in range(5)]


def test_damaged_scenes_are_logged_and_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = (folder / "s-01.tar").read_bytes()
    (folder / "s-01.tar").write_bytes(data[: len(data) // 2])
    (folder / "s-03.tar").write_text("a note that does not belong here")
    with caplog.at_level(logging.WARNING):
        entries = read_index([f"{folder}/*.tar"], max_damaged_share=0.5)
    assert {Path(entry.shard).name for entry in entries} == {"s-00.tar", "s-01.tar", "s-02.tar"}
    kept = len(entries) - 10
    assert 1 <= kept <= 3
    assert f"left out: {folder}/s-01.tar: not a whole tar file" in caplog.text
    assert f"left out: {folder}/s-03.tar: not a whole tar file" in caplog.text
    # The shards lack 5 - kept and 5 scenes beside the whole ones: 10 - kept of 20.
    lost = 10 - kept
    with pytest.raises(DiffcamError, match=rf"about {lost} of 20 scenes are damaged.*the first: {folder}/s-01\.tar"):
        read_index([f"{folder}/*.tar"], max_damaged_share=lost / 20 - 0.01)
    assert len(read_index([f"{folder}/*.tar"], max_damaged_share=lost / 20)) == 20 - lost


def test_foreign_files_are_logged_and_do_not_count_as_damage(
    make_scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(str(n)) for n in range(6)])
    (tmp_path / "readme.txt").write_text("who made this")
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        tar.add(tmp_path / "readme.txt", "readme.txt")
    with caplog.at_level(logging.WARNING):
        assert len(read_index([str(tmp_path / "a.tar")], max_damaged_share=0.0)) == 6
    assert f"left out: {tmp_path}/a.tar: readme.txt: not a scene" in caplog.text


def test_no_undamaged_scene_is_always_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar")
    with pytest.raises(DiffcamError, match="damaged"):
        read_index([str(tmp_path / "a.tar")])
    with pytest.raises(DiffcamError, match="hold no scene"):
        read_index([str(tmp_path / "a.tar")], max_damaged_share=1.0)


def test_damaged_scenes_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    scenes = [SceneEntry("a.tar", str(n), n, n + 1, "photo", 0) for n in range(3)]
    count = DamageCount(scenes=20, max_damaged_share=0.1)
    for entry in (scenes[0], scenes[0], scenes[1], scenes[0]):
        count.add(entry, DiffcamError(f"a.tar: {entry.key}: bad"))
    assert caplog.text.count("skipped") == 2
    with pytest.raises(DiffcamError, match=r"3 of 20 scenes.*a\.tar: 2: bad"):
        count.add(scenes[2], DiffcamError("a.tar: 2: bad"))
