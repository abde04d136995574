"""Shards of scenes, how training pairs are drawn from them, and the data module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffcam.data.batch import RefocusBatch, RefocusSample, collate
from diffcam.data.encoding import decode_scene, encode_scene
from diffcam.data.filing import Filing
from diffcam.data.mixture import EqualThenLinear, Mixture, Proportional, SingleKind
from diffcam.data.pairing import ContinuousPairing, GridPairing, Pairing, StoredPairing
from diffcam.data.perturbation import (
    DepthDropout,
    GaussianNoise,
    OneOf,
    Perturbation,
    RandomMasking,
    RandomRectangle,
    Sequential,
)
from diffcam.data.rendering import BokehRenderer
from diffcam.data.schema import Sample, Scene, Surface, Variant
from diffcam.data.shards import SceneEntry, ShardIndex, index_shard, read_shard, write_shard

if TYPE_CHECKING:
    from diffcam.data.datamodule import RefocusDataModule

__all__ = ["BokehRenderer", "ContinuousPairing", "DepthDropout", "EqualThenLinear", "Filing", "GaussianNoise"]
__all__ += [
    "GridPairing",
    "Mixture",
    "OneOf",
    "Pairing",
    "Perturbation",
    "Proportional",
    "RandomMasking",
    "RandomRectangle",
]
__all__ += ["RefocusBatch", "RefocusDataModule", "RefocusSample", "Sample", "Scene", "SceneEntry", "Sequential"]
__all__ += ["ShardIndex", "SingleKind", "StoredPairing", "Surface", "Variant", "collate", "decode_scene"]
__all__ += ["encode_scene", "index_shard", "read_shard", "write_shard"]


def __getattr__(name: str) -> Any:
    """Import the data module, and Lightning with it, only where it is used: loading processes do without."""
    if name == "RefocusDataModule":
        from diffcam.data.datamodule import RefocusDataModule

        return RefocusDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
