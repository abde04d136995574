"""Shards of scenes, how training pairs are drawn from them, and the data module."""

from diffcam.data.batch import RefocusBatch, RefocusSample, collate
from diffcam.data.schema import Sample, Scene, Variant, decode_scene, encode_scene
from diffcam.data.shards import SceneEntry, ShardIndex, index_shard, read_shard, write_shard

__all__ = [
    "RefocusBatch",
    "RefocusSample",
    "Sample",
    "Scene",
    "SceneEntry",
    "ShardIndex",
    "Variant",
    "collate",
    "decode_scene",
    "encode_scene",
    "index_shard",
    "read_shard",
    "write_shard",
]
