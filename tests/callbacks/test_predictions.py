"""``lightning predict`` leaves the pictures that the task makes, one a sample."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.callbacks import PredictionWriter
from diffcam.commands.cli import train
from diffcam.tasks import RefocusTask

ROOT = Path(__file__).parents[2]


def test_the_pictures_of_predict_are_files_named_by_scene_and_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lightning"])
    made: list[torch.Tensor] = []
    generate = RefocusTask.generate

    def kept(self: RefocusTask, batch: object) -> torch.Tensor:
        made.append(generate(self, batch))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(RefocusTask, "generate", kept)
    data = ("--data.init_args.test", "[data_shards/heldout-photo-*.tar]", "--data.init_args.resolution", "96")
    options = ("--trainer.limit_predict_batches", "3", "--trainer.logger", "false", "--trainer.enable_progress_bar",
               "false", "--trainer.default_root_dir", str(tmp_path), "--model.init_args.steps", "1")  # fmt: skip
    cli = train(["predict", *data, *options])
    folder = tmp_path / "predictions"
    assert f"Pictures: {folder}" in capsys.readouterr().out
    names = sorted(path.name for path in folder.iterdir())
    sets = cli.datamodule.predict_dataloader()
    batches = [batch for batch, _ in zip(sets, range(3), strict=False)]
    assert names == [f"{batch.scenes[0].replace('/', '-')}-{int(batch.index[0]):06d}.png" for batch in batches]
    for name, images, batch in zip(names, made, batches, strict=True):
        with Image.open(folder / name) as picture:
            record = json.loads(picture.info["diffcam"])
            expected = images[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
            np.testing.assert_allclose(np.asarray(picture), expected, atol=0.51)
        assert record["bokeh"] == pytest.approx(float(batch.cameras.bokeh[0, 0]))


@pytest.mark.parametrize("config", ["parts/embedded", "flux_512"])
def test_the_configs_write_predictions(config: str) -> None:
    assert f"diffcam.callbacks.{PredictionWriter.__name__}" in (ROOT / "configs" / f"{config}.yaml").read_text()
