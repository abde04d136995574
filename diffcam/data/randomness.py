"""Random generators that depend on what they are for and on nothing that happened before."""

from __future__ import annotations

import hashlib

import torch


def derived_generator(*parts: int | str) -> torch.Generator:
    """A generator seeded by the hash of its parts, such as ``("sample", seed, index)``.

    Neighbouring parts give unrelated streams, and any draw can be repeated without repeating those before it.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)  # manual_seed takes 63 bits
