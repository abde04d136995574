"""What a photo would be without its lens's blur: where it is blurred and how much, then the blur undone.

B photos, H rows and W columns of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from diffcam.errors import DiffcamError, first_line
from diffcam.models.deblurring import DeblurNet
from diffcam.models.defocus import DefocusNet

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
"""Of each network, by diffusers' name."""

SURE_RADII = (8.0, 16.0)
"""Pixels: without a map, blur that is found is undone in full up to the first radius, not at all from the second on.

Large radii are often found where a surface is smooth. On 16 of the 32 stacks of ``docs/real_optics.md`` this raised the
worst picture from -1.55 to -0.65 dB against copying and the mean from 1.42 to 1.48.
"""

NETWORK_FOLDERS = ("defocus", "deblurring")
"""Folders of the two networks below that of a restoration."""

Network = TypeVar("Network", DefocusNet, DeblurNet)


@dataclass(frozen=True)
class Restored:
    """A photo and what undoing its blur gives.

    Args:
        image: ``(B, 3, H, W)`` display values in [0, 1].
        radius: ``(B, 1, H, W)`` blur radius of the photo in pixels: signed where a map is known, positive in front of
            the focus plane; else its size.
    """

    image: Tensor
    radius: Tensor


class DefocusRemoval(nn.Module):
    """Finds a photo's own blur, where it is not told, and undoes it.

    Args:
        defocus: Finds the blur.
        deblurring: Undoes it.

    Examples:
        >>> restoration = diffcam.models.load_restoration("diffcam-tiny")
        >>> found = restoration(torch.rand(1, 3, 64, 96), torch.zeros(1, 1, 64, 96))
        >>> found.image.shape, found.radius.shape
        (torch.Size([1, 3, 64, 96]), torch.Size([1, 1, 64, 96]))
    """

    def __init__(self, defocus: DefocusNet, deblurring: DeblurNet) -> None:
        super().__init__()
        self.defocus = defocus
        self.deblurring = deblurring

    @torch.no_grad()
    def forward(self, image_B3HW: Tensor, disparity_B1HW: Tensor, taken_B1HW: Tensor | None = None) -> Restored:
        """Find and undo.

        Args:
            image_B3HW: Display values in [0, 1].
            disparity_B1HW: In [0, 1]; the zero map where depth is unknown.
            taken_B1HW: Signed blur radius of the photo in pixels, where its lens is known; None: it is found.
        """
        if image_B3HW.is_meta:  # a step that is only counted: it has no blur to find
            return Restored(image_B3HW, disparity_B1HW)
        if taken_B1HW is not None:
            return Restored(self.deblurring(image_B3HW, taken_B1HW), taken_B1HW)
        known_B = disparity_B1HW.flatten(1).any(1)
        found_B1HW = torch.cat(
            [
                self.defocus.radius(image_13HW, disparity_11HW if known else None)
                for image_13HW, disparity_11HW, known in zip(
                    image_B3HW.split(1), disparity_B1HW.split(1), known_B.tolist(), strict=True
                )
            ]
        )
        surely, hardly = SURE_RADII
        trust_B1HW = ((hardly - found_B1HW.abs()) / (hardly - surely)).clamp(0, 1)
        trust_B1HW[known_B] = 1
        return Restored(torch.lerp(image_B3HW, self.deblurring(image_B3HW, found_B1HW), trust_B1HW), found_B1HW)


def read_restoration(folder: Path) -> DefocusRemoval:
    """Both networks, of a folder that holds one of each; errors are those of the files and of torch."""
    defocus, deblurring = (folder / name for name in NETWORK_FOLDERS)
    return DefocusRemoval(_read_network(DefocusNet, defocus), _read_network(DeblurNet, deblurring))


def _read_network(kind: type[Network], folder: Path) -> Network:
    if not (folder / "config.json").is_file():  # diffusers would ask its hub for it
        raise FileNotFoundError(f"{folder} holds no {kind.__name__}")
    network: Network = kind.from_config(kind.load_config(folder))
    network.load_state_dict({name: weight.float() for name, weight in load_file(folder / WEIGHTS_FILE).items()})
    return network.to(memory_format=torch.channels_last)


def load_defocus(path: str) -> DefocusNet:
    """The network that finds blur, of a folder that its training wrote.

    Args:
        path: That folder.

    Raises:
        DiffcamError: If there is none, or it is damaged.

    Examples:
        >>> network = load_defocus(f"{diffcam.models.checkpoint.packaged('diffcam-tiny')}/restoration/defocus")
        >>> network.radius(torch.rand(1, 3, 64, 96), None).shape
        torch.Size([1, 1, 64, 96])
    """
    return _load_network(DefocusNet, path)


def load_deblurring(path: str) -> DeblurNet:
    """The network that undoes blur, of a folder that its training wrote.

    Args:
        path: That folder.

    Raises:
        DiffcamError: If there is none, or it is damaged.

    Examples:
        >>> network = load_deblurring(f"{diffcam.models.checkpoint.packaged('diffcam-tiny')}/restoration/deblurring")
        >>> network(torch.rand(1, 3, 64, 96), torch.full((1, 1, 64, 96), 3.0)).shape
        torch.Size([1, 3, 64, 96])
    """
    return _load_network(DeblurNet, path)


def _load_network(kind: type[Network], path: str) -> Network:
    try:
        return _read_network(kind, Path(path))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise DiffcamError(f"{path}: no {kind.__name__} there ({first_line(error)})") from error
