"""Files that are written whole or not at all, and told from others by what they hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

SAMPLED_BLOCKS = 16
"""Blocks of each file that :func:`fingerprint` reads, spread evenly over it: all of a file below 64 kB."""

BLOCK_BYTES = 4096
"""Length of such a block."""


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Where to write what is to appear as ``path``, whole and on disk, when the block ends without an error.

    The place is a file beside it, ``.NAME.ID.unfinished`` with another ID each time: processes that write the same path
    do not meet, and the last to finish has its file there. Only a killed process leaves such a file behind.
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.unfinished")
    try:
        yield partial
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and a rename needs no synchronising
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed have left of :func:`unfinished` files; nobody may be writing them."""
    for leftover in path.parent.glob(f".{path.name}.*.unfinished"):
        leftover.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 in hex over the contents of those paths that are files; "" if none is."""
    digests = [bytes.fromhex(file_sha256(path)) for path in paths if path.is_file()]
    return hashlib.sha256(b"".join(digests)).hexdigest() if digests else ""


def fingerprint(root: Path, paths: Iterable[Path]) -> dict[str, Any]:
    """Count of files, and a SHA-256 over their names relative to ``root``, their sizes and samples of their bytes.

    A file that cannot be read counts by its name and size alone: it is named where its scene is made.
    """
    entries = []
    for path in paths:
        digest, size = hashlib.sha256(), path.stat().st_size
        try:
            with path.open("rb") as file:
                for block in range(SAMPLED_BLOCKS):
                    file.seek(block * size // SAMPLED_BLOCKS)
                    digest.update(file.read(BLOCK_BYTES))
            content = digest.hexdigest()
        except OSError:
            content = ""
        entries.append((path.relative_to(root).as_posix(), size, content))
    digests = repr(sorted(entries)).encode()
    return {"count": len(entries), "sha256": hashlib.sha256(digests).hexdigest()}
