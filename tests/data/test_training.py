from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffcam.camera import focus_pixel
from diffcam.data import BokehRenderer, DepthDropout, GridPairing, Pairing, Proportional, StoredPairing, write_shard
from diffcam.data.filing import Filing
from diffcam.data.order import SampleOrder
from diffcam.data.reader import read_index
from diffcam.data.training import TrainingDataset
from diffcam.data.window import Buckets, RandomWindow
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import render_bokeh_reference


def make_dataset(
    shards: str | Path,
    pairing: Pairing | None = None,
    zoom: float = 1.0,
    dropout: float = 0.0,
    share: float = 0.5,
    filing: Filing | None = None,
) -> TrainingDataset:
    order = SampleOrder(read_index([str(shards)], 1.0), 0, Proportional(), 4)
    geometry = Buckets([RandomWindow((16, 16), zoom)], batch=1, seed=0)
    renderer, perturbation = BokehRenderer(), DepthDropout(dropout)
    return TrainingDataset(order, geometry, pairing or GridPairing(), renderer, perturbation, filing, 0, share)


def damage(path: Path, scene: int) -> None:
    """Overwrite the start of a scene's image, behind the tar headers that the index reads."""
    data = bytearray(path.read_bytes())
    places = [place for place in range(len(data)) if data[place : place + 4] == b"IHDR"]
    data[places[2 * scene + 1] : places[2 * scene + 1] + 8] = b"\0" * 8  # disparity.png comes before image.png
    path.write_bytes(data)


@pytest.fixture
def shard(make_scene, tmp_path: Path) -> Path:
    write_shard(tmp_path / "a.tar", [make_scene(str(n), height=24, width=24) for n in range(8)], image_format="png")
    return tmp_path / "a.tar"


def test_only_the_reference_is_filed(shard: Path) -> None:
    clean, filed = (make_dataset(shard, filing=filing)[5] for filing in (None, Filing(noise=(4.0, 4.0))))
    assert torch.equal(clean.targets, filed.targets)
    assert torch.equal(clean.disparity, filed.disparity)
    assert 2 / 255 < float((clean.reference - filed.reference).std()) < 8 / 255


def test_samples_are_renderings_of_one_window(shard: Path, make_scene) -> None:
    dataset = make_dataset(shard, GridPairing(original_references=1.0))
    for index in range(12):
        sample = dataset[index]
        assert sample.index == index
        assert (sample.subtask, sample.source) == ("train", "layered")
        assert sample.scene.startswith("a/")
        for target, camera in zip(sample.targets, sample.cameras, strict=True):
            if camera.bokeh == 0:
                assert torch.equal(target, sample.reference)
                continue
            # The plane is the grid's next to the focus point: the reference renderer makes the same picture.
            row, column = focus_pixel(camera.focus, 16, 16)
            plane = torch.round(sample.disparity[0, row, column] * 20) / 20
            radius = torch.tensor([camera.bokeh * 16 / 512])
            expected = render_bokeh_reference(
                sample.reference[None], sample.disparity[None], plane[None], radius, gamma=4.0
            )
            torch.testing.assert_close(target[None], expected, atol=0.02, rtol=0)


def test_a_sample_depends_on_its_index_alone(shard: Path) -> None:
    one, other = make_dataset(shard, dropout=0.5), make_dataset(shard, dropout=0.5)
    expected = [one[index] for index in range(10)]
    for index in (7, 2, 9):
        again = other[index]
        assert again.cameras == expected[index].cameras
        assert again.scene == expected[index].scene
        for name in ("reference", "targets", "disparity"):
            assert torch.equal(getattr(again, name), getattr(expected[index], name))
    assert len({sample.cameras for sample in expected}) == 10


def test_disparity_is_dropped_after_rendering(shard: Path) -> None:
    kept, dropped = make_dataset(shard), make_dataset(shard, dropout=1.0)
    for index in range(4):
        assert (dropped[index].disparity == 0).all()
        assert torch.equal(dropped[index].targets, kept[index].targets)


def test_stored_variants_are_used_with_magnified_levels(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x", height=24, width=24, variants=6)], image_format="png")
    dataset = make_dataset(tmp_path / "a.tar", StoredPairing(eta=0.3), zoom=2.0)
    levels = set()
    for index in range(60):
        sample = dataset[index]
        for target, camera in zip(sample.targets, sample.cameras, strict=True):
            if camera.bokeh > 0:
                value = target.mean() * 255  # variant n is a flat picture of n + 1 grey levels, level n + 1
                assert target.std() < 1e-6
                magnification = camera.bokeh / float(value)
                assert 1.0 <= magnification <= 2.01
                levels.add(round(float(value)))
    assert levels == set(range(1, 7))


def test_damaged_scenes_are_replaced_and_reported(shard: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = make_dataset(shard)
    scenes = [whole[index].scene for index in range(8)]
    damage(shard, 3)
    dataset = make_dataset(shard)
    samples = [dataset[index] for index in range(16)]
    assert [sample.index for sample in samples] == list(range(16))
    assert "a/3" not in {sample.scene for sample in samples}
    for sample, before in zip(samples, scenes, strict=False):
        assert before == "a/3" or sample.scene == before
    assert caplog.text.count("skipped") == 1
    assert f"{shard}: 3.image.png: not a whole image" in caplog.text
    again = make_dataset(shard)
    assert [again[index].scene for index in range(16)] == [sample.scene for sample in samples]


def test_too_much_damage_stops_the_run(shard: Path) -> None:
    for scene in (5, 3, 1):
        damage(shard, scene)
    dataset = make_dataset(shard, share=0.3)
    with pytest.raises(DiffcamError, match=r"3 of 8 scenes are damaged.*a\.tar: "):
        [dataset[index] for index in range(8)]


def test_only_damaged_scenes_is_an_error(shard: Path) -> None:
    for scene in reversed(range(8)):
        damage(shard, scene)
    with pytest.raises(DiffcamError, match=r"a\.tar: 16 damaged scenes in a row"):
        make_dataset(shard, share=1.0)[0]
