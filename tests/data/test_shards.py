from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import webdataset

from diffcam.data import Scene, decode_scene, encode_scene, index_shard, read_shard, write_shard
from diffcam.errors import DiffcamError


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_shards_round_trip(make_scene, tmp_path: Path) -> None:
    scenes = [make_scene(f"{n:06d}", variants=n) for n in range(3)]
    write_shard(tmp_path / "new" / "a.tar", scenes, image_format="png")
    back = list(read_shard(tmp_path / "new" / "a.tar"))
    assert [scene.key for scene in back] == ["000000", "000001", "000002"]
    for scene, original in zip(back, scenes, strict=True):
        torch.testing.assert_close(scene.image, original.image, atol=0.51 / 255, rtol=0)
        assert len(scene.variants) == len(original.variants)


def test_equal_scenes_give_one_checksum(make_scene, tmp_path: Path) -> None:
    sums = [write_shard(tmp_path / name, [make_scene("x"), make_scene("y")]) for name in ("a.tar", "b.tar")]
    assert sums[0] == sums[1] == hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {(info.mtime, info.uid, info.gid, info.uname) for info in tar} == {(0, 0, 0, "")}


def test_a_writer_that_fails_leaves_the_old_shard_and_nothing_else(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x")])
    before = (tmp_path / "a.tar").read_bytes()

    def scenes() -> Iterator[Scene]:
        yield make_scene("y")
        raise RuntimeError("out of photos")

    with pytest.raises(RuntimeError, match="out of photos"):
        write_shard(tmp_path / "a.tar", scenes())
    assert os.listdir(tmp_path) == ["a.tar"]
    assert (tmp_path / "a.tar").read_bytes() == before


def test_two_scenes_of_one_key_are_refused(make_scene, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two scenes have the key 'x'"):
        write_shard(tmp_path / "a.tar", [make_scene("x"), make_scene("x")])


def test_webdataset_reads_our_shards(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x", variants=1), make_scene("y")])
    samples = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["x", "y"]
    names = {name for name in samples[0] if not name.startswith("__")}
    assert names == {"disparity.png", "image.jpg", "json", "v000.jpg"}


def test_we_read_webdatasets_shards(make_scene, tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for key in ("x", "y"):
            members = encode_scene(make_scene(key))
            writer.write({"__key__": key} | {name.split(".", 1)[1]: data for name, data in members.items()})
    index = index_shard(tmp_path / "a.tar")
    assert (index.damage, index.foreign, index.whole) == ((), (), True)
    assert [scene.key for scene in read_shard(tmp_path / "a.tar")] == ["x", "y"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("key", ["x", "folder/" + "k" * 80, "folder/" * 15 + "k" * 80])
def test_tars_of_every_form_are_read(make_scene, tmp_path: Path, form: int, key: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        add(tar, f"{key}.notes.txt", b"one more member does not hurt")
        for name, data in encode_scene(make_scene(key)).items():
            add(tar, name, data)
    assert [scene.key for scene in read_shard(tmp_path / "a.tar")] == [key]


def test_entries_are_read_alone_and_lazily(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(key, variants=2, samples=True) for key in "xyz"], image_format="png")
    entry = index_shard(tmp_path / "a.tar").entries[1]
    assert (entry.key, entry.name, entry.kind, entry.samples) == ("y", "a/y", "photo", 3)
    with entry.open() as members:
        assert sorted(members) == ["y.disparity.png", "y.image.png", "y.json", "y.v000.png", "y.v001.png"]
        assert members["y.image.png"] == encode_scene(make_scene("y"), image_format="png")["y.image.png"]
    assert torch.equal(entry.read().variants[1].image, torch.full((3, 24, 32), 2 / 255))


def test_a_shard_cut_anywhere_keeps_its_whole_scenes(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(key) for key in "xyz"])
    data = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        ends = {info.name: info.offset_data + info.size for info in tar}
    stop = index_shard(tmp_path / "a.tar").entries[-1].stop
    # A scene is whole beyond doubt once the next one's first member, or the end mark, follows it.
    safe = {"x": ends["y.disparity.png"], "y": ends["z.disparity.png"], "z": stop + 512}
    cut = tmp_path / "cut.tar"
    for length in [*range(0, len(data), 700), *(end + step for end in safe.values() for step in (-1, 0))]:
        cut.write_bytes(data[:length])
        index = index_shard(cut)
        assert [entry.key for entry in index.entries] == [key for key, end in safe.items() if end <= length]
        assert index.whole is (length >= safe["z"])
        assert len(index.damage) == (0 if index.whole else 1)
        assert all(str(cut) in line for line in index.damage)


def test_foreign_files_are_listed(make_scene, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "README", b"hello")
        for name, data in encode_scene(make_scene("x")).items():
            add(tar, name, data)
        add(tar, "cat.jpg", b"meow")
        members = encode_scene(make_scene("y"))
        for name in ("y.image.jpg", "y.json"):
            add(tar, name, members[name])
    index = index_shard(tmp_path / "a.tar")
    assert [entry.key for entry in index.entries] == ["x"]
    assert index.whole
    assert index.damage == (f"{tmp_path}/a.tar: y.disparity.png: missing",)
    assert [line.removeprefix(f"{tmp_path}/") for line in index.foreign] == [
        "a.tar: README: not a scene",
        "a.tar: cat.jpg: not a scene",
    ]
    with pytest.raises(DiffcamError, match=r"a\.tar: y\.disparity\.png: missing"):
        list(read_shard(tmp_path / "a.tar"))


def test_read_shard_refuses_foreign_files(make_scene, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "README", b"hello")
        for name, data in encode_scene(make_scene("x")).items():
            add(tar, name, data)
    with pytest.raises(DiffcamError, match=r"a\.tar: README: not a scene"):
        list(read_shard(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff\xe0 no tar", b"\x1f\x8b gzip?", b"x" * 5000, b"\0" * 100, b"\xff" * 512]
)
def test_errors_name_a_file_that_is_no_tar(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    index = index_shard(tmp_path / "a.tar")
    assert (index.entries, index.whole) == ((), False)
    assert f"{tmp_path}/a.tar: not a whole tar file" in index.damage[0]


def test_errors_name_a_missing_shard(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x")])
    entry = index_shard(tmp_path / "a.tar").entries[0]
    (tmp_path / "a.tar").unlink()
    with pytest.raises(DiffcamError, match=r"a\.tar: cannot be read \(No such file"):
        entry.read()
    assert "No such file" in index_shard(tmp_path / "a.tar").damage[0]


def test_errors_name_a_damaged_picture_and_its_shard(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x")], image_format="png")
    data = (tmp_path / "a.tar").read_bytes()
    place = data.index(b"IDAT") + 6
    (tmp_path / "a.tar").write_bytes(data[:place] + b"\xaa" * 16 + data[place + 16 :])
    with pytest.raises(DiffcamError, match=r"a\.tar: x\.disparity\.png: not a whole image"):
        index_shard(tmp_path / "a.tar").entries[0].read()


def test_a_damaged_header_is_noticed(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(key) for key in "xyz"])
    data = bytearray((tmp_path / "a.tar").read_bytes())
    start = index_shard(tmp_path / "a.tar").entries[2].start
    for place in (start, start + 130, start + 150, start + 156, start + 258):
        (tmp_path / "a.tar").write_bytes(data[:place] + b"Q" + data[place + 1 :])
        index = index_shard(tmp_path / "a.tar")
        assert [entry.key for entry in index.entries] == ["x"]  # y may lack members that a damaged header hides
        assert index.whole is False


def test_random_damage_is_an_error_in_one_line_or_does_no_harm(make_scene, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, [make_scene(key, variants=2, samples=True) for key in "xyz"], image_format="png")
    whole = path.read_bytes()
    draw, lines = random.Random(0), []
    for _ in range(100):
        data = bytearray(whole)
        place = draw.randrange(len(data))
        data[place : place + draw.choice([1, 4, 64])] = draw.randbytes(draw.choice([0, 1, 4]))
        path.write_bytes(data)
        index = index_shard(path)
        lines += index.damage
        for entry in index.entries:
            try:
                entry.read()
            except DiffcamError as error:
                lines.append(str(error))
    assert len(lines) > 50
    assert all(str(path) in line and "\n" not in line for line in lines)


def test_random_records_are_read_or_refused_in_one_line(make_scene) -> None:
    members = encode_scene(make_scene("x", variants=2, samples=True), image_format="png")
    record = json.loads(members["x.json"])
    draw, lines = random.Random(0), []
    for _ in range(300):
        changed = copy.deepcopy(record)
        place = changed
        while isinstance(place, dict | list) and place:
            key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
            if draw.random() < 0.4 or not isinstance(place[key], dict | list):
                place[key] = draw.choice([None, -1, 0.5, "x", [], {}, [1], True, 1e999, {"focus": 1}])
                break
            place = place[key]
        try:
            decode_scene("x", members | {"x.json": json.dumps(changed).encode()})
        except DiffcamError as error:
            lines.append(str(error))
    assert len(lines) > 150
    assert not any("\n" in line for line in lines)
