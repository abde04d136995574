"""Shards: tar files in webdataset's layout, written atomically and read by an index of their scenes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import groupby
from pathlib import Path

from webdataset.tariterators import base_plus_ext

from diffcam.data.encoding import IMAGE_FORMATS, decode_record, decode_scene, encode_scene
from diffcam.data.schema import Scene
from diffcam.data.tar import Members, walk_members
from diffcam.errors import DiffcamError, first_line, refusal
from diffcam.files import file_sha256, unfinished


def write_shard(path: str | Path, scenes: Iterable[Scene], image_format: str = "jpg", quality: int = 95) -> str:
    """Write scenes to a shard and return the file's SHA-256 in hex; equal scenes give equal bytes.

    The file appears under its name only when it is complete and on disk: a killed writer leaves no half shard.

    Args:
        path: The ``.tar`` to write; one of that name is replaced. Missing folders are made.
        scenes: What to write; read one at a time.
        image_format: ``jpg`` or ``png``, see :func:`diffcam.data.encoding.encode_scene`.
        quality: JPEG quality.

    Raises:
        ValueError: If two scenes have one key, or the format is unknown.

    Examples:
        >>> scene = Scene("000000", torch.zeros(3, 48, 64), torch.zeros(1, 48, 64), source="camera", kind="photo")
        >>> len(write_shard("train-000000.tar", [scene]))  # hex digits
        64
        >>> [scene.key for scene in read_shard("train-000000.tar")]
        ['000000']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    keys: set[str] = set()
    with unfinished(path) as partial, tarfile.open(partial, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for scene in scenes:
            if scene.key in keys:
                raise ValueError(f"{path}: two scenes have the key {scene.key!r}")
            keys.add(scene.key)
            for name, data in encode_scene(scene, image_format, quality).items():
                info = tarfile.TarInfo(name)  # owner and time stay 0: bytes depend on the scenes alone
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    return file_sha256(path)


@dataclass(frozen=True)
class SceneEntry:
    """Place of a scene in a shard.

    Args:
        shard: Path of the tar.
        key: The scene's key.
        start: Position of its first tar header, bytes.
        stop: Position after its last member, bytes.
        kind: The scene's kind, for the mixture schedule.
        samples: How many benchmark samples it has.

    Examples:
        >>> entry = index_shard("data_shards/train-photo-000000.tar").entries[0]
        >>> entry.kind, entry.read().key
        ('photo', '000000')
    """

    shard: str
    key: str
    start: int
    stop: int
    kind: str
    samples: int

    @property
    def name(self) -> str:
        """Unique name of the scene: name of the shard and key."""
        return f"{Path(self.shard).stem}/{self.key}"

    def read(self) -> Scene:
        """Decode the scene with its stored variants.

        Raises:
            DiffcamError: If the file or a member is damaged; the message names both.
        """
        with self.open() as members:
            return decode_scene(self.key, members)

    @contextmanager
    def open(self) -> Iterator[Mapping[str, bytes]]:
        """The scene's members by name, read from the file when asked for; errors inside are given the shard's name.

        Raises:
            DiffcamError: If the file cannot be read.
        """
        try:
            with open(self.shard, "rb") as file:
                yield Members(file, walk_members(file, self.start, self.stop))
        except DiffcamError as error:
            raise DiffcamError(f"{self.shard}: {error}") from error
        except (tarfile.TarError, OSError) as error:
            raise DiffcamError(f"{self.shard}: {_tar_reason(error)}") from error


@dataclass(frozen=True)
class ShardIndex:
    """The scenes of one shard.

    Args:
        path: The shard.
        entries: Its complete scenes, in file order.
        damage: One line for each incomplete scene, naming shard and member.
        foreign: One line for each group of members that are not of a scene, naming shard and members.
        whole: False where the tar is truncated, so that scenes are missing.

    Examples:
        >>> index_shard("data_shards/train-photo-000000.tar").whole
        True
    """

    path: str
    entries: tuple[SceneEntry, ...]
    damage: tuple[str, ...]
    foreign: tuple[str, ...]
    whole: bool


def index_shard(path: str | Path) -> ShardIndex:
    """Find a shard's scenes by reading its tar headers and JSON records; no pixel is decoded, nothing is raised.

    Damaged scenes and foreign members are listed; of a truncated tar, all scenes but the last are kept.

    Examples:
        >>> index = index_shard("data_shards/train-photo-000000.tar")
        >>> index.entries[0].name, index.damage
        ('train-photo-000000/000000', ())
    """
    path = str(path)
    entries: list[SceneEntry] = []
    damage: list[str] = []
    foreign: list[str] = []
    whole = True
    try:
        with open(path, "rb") as file:
            stop = 0
            # a run of members that share a key; the last one of a truncated tar is left out, as it may be incomplete
            for key, group in groupby(walk_members(file), lambda member: base_plus_ext(member.name)[0] or member.name):
                members, start = list(group), stop
                names, stop = [member.name for member in members], members[-1].stop
                own = (f"{key}.image.", f"{key}.disparity.")
                if f"{key}.json" not in names and not any(name.startswith(own) for name in names):
                    foreign.append(f"{path}: {', '.join(names)}: not a scene")
                    continue
                entry = SceneEntry(path, key, start, stop, kind="", samples=0)
                try:
                    with entry.open() as contents:
                        record = decode_record(key, contents)
                    if f"{key}.disparity.png" not in names:
                        raise DiffcamError(f"{path}: {key}.disparity.png: missing")
                    if not any(f"{key}.image.{extension}" in names for extension in IMAGE_FORMATS):
                        raise DiffcamError(f"{path}: {key}.image.jpg: missing")
                except DiffcamError as error:
                    damage.append(str(error))
                else:
                    entries.append(replace(entry, kind=record["kind"], samples=len(record["samples"])))
    except (tarfile.TarError, OSError) as error:
        damage.append(f"{path}: {_tar_reason(error)}; {len(entries)} whole scenes before that are kept")
        whole = False
    return ShardIndex(path, tuple(entries), tuple(damage), tuple(foreign), whole)


def read_shard(path: str | Path) -> Iterator[Scene]:
    """Every scene of a shard, in file order.

    Raises:
        DiffcamError: If anything in the shard is damaged or foreign; the message names shard and member.

    Examples:
        >>> scene = next(read_shard("data_shards/train-photo-000000.tar"))
        >>> scene.kind, scene.image.shape == (3, *scene.disparity.shape[1:])
        ('photo', True)
    """
    index = index_shard(path)
    for line in index.damage + index.foreign:
        raise DiffcamError(line)
    for entry in index.entries:
        yield entry.read()


def _tar_reason(error: tarfile.TarError | OSError) -> str:
    if isinstance(error, tarfile.TarError):
        return f"not a whole tar file ({first_line(error)})"
    return f"cannot be read ({refusal(error)})"
