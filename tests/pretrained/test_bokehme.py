from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from diffcam.errors import DiffcamError
from diffcam.kernels import render_bokeh
from diffcam.pretrained.bokehme import ARNet, BokehMe, IUNet, dilate_defocus


def released_layers(inputs: int, width: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the released checkpoints, written out."""
    layers = {"conv0.conv": (width, inputs), "conv1.conv": (outputs, width)}
    for block in range(3):
        for layer in range(2):
            layers[f"block_stack.blocks.{block}.{layer}.conv"] = (width, width)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        shapes[f"{name}.weight"] = (*shape, 3, 3)
        shapes[f"{name}.bias"] = shape[:1]
    return shapes


def scene() -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    image, disparity = torch.rand(2, 3, 50, 41, generator=draw), torch.rand(2, 1, 50, 41, generator=draw)
    return image, disparity, torch.tensor([0.3, 0.6]), torch.tensor([50.0, 4.0])


@pytest.mark.parametrize(
    ("network", "layers", "parameters"),
    [(ARNet(), released_layers(17, 128, 16), 923_664), (IUNet(), released_layers(20, 64, 12), 240_076)],
)
def test_layers_are_those_of_the_release(network: torch.nn.Module, layers: dict, parameters: int) -> None:
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == layers
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def write_release(folder: Path) -> BokehMe:
    model = BokehMe(ARNet(), IUNet()).eval()
    torch.save({"model": model.arnet.state_dict(), "epoch": 3}, folder / "arnet.pth")
    torch.save({"model": model.iunet.state_dict(), "epoch": 3}, folder / "iunet.pth")
    return model


def test_loads_files_of_the_released_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = write_release(tmp_path)
    torch.testing.assert_close(BokehMe.from_pretrained(tmp_path)(*scene()), model(*scene()))


def test_missing_file_is_named(tmp_path: Path) -> None:
    write_release(tmp_path)
    (tmp_path / "arnet.pth").unlink()
    with pytest.raises(DiffcamError, match=r"arnet\.pth not found: neural rendering needs arnet\.pth and iunet\.pth"):
        BokehMe.from_pretrained(tmp_path)


class Harmful:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("content", ["text", "other network", "no model", "harmful"])
def test_refuses_other_files(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_release(tmp_path)
    if content == "text":
        (tmp_path / "arnet.pth").write_text("not a checkpoint")
    else:
        saved = {"other network": {"model": IUNet().state_dict()}, "no model": {}, "harmful": {"model": Harmful()}}
        torch.save(saved[content], tmp_path / "arnet.pth")
    with pytest.raises(DiffcamError, match=r"arnet\.pth is not BokehMe's arnet\.pth") as raised:
        BokehMe.from_pretrained(tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "made-by-a-pickle").exists()


def test_blends_by_the_error_map() -> None:
    """With constant networks the blend is known: all classical, or all of the upsampling network's grey."""
    model = BokehMe(ARNet(), IUNet())
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        model.iunet.conv1.conv.bias.fill_(0.4)
        model.arnet.conv1.conv.bias.view(4, 4)[:3] = 0.4
        model.arnet.conv1.conv.bias.view(4, 4)[3] = -50.0
    torch.testing.assert_close(model(*scene()), render_bokeh(*scene()))
    with torch.no_grad():
        model.arnet.conv1.conv.bias.view(4, 4)[3] = 50.0
    result = model(*scene())
    torch.testing.assert_close(result, torch.full_like(result, 0.4))


def test_dilated_defocus_equals_a_loop_over_sources() -> None:
    radius = torch.rand(1, 1, 13, 17, generator=torch.Generator().manual_seed(0)) * 12 - 6
    values = radius[0, 0].numpy()
    expected = np.trunc(values)
    for y in range(13):
        for x in range(17):
            for to_y in range(13):
                for to_x in range(17):
                    if abs(values[y, x]) >= np.hypot(to_y - y, to_x - x):
                        expected[to_y, to_x] = max(expected[to_y, to_x], np.trunc(values[y, x]))
    np.testing.assert_array_equal(dilate_defocus(radius)[0, 0].numpy(), expected)
