"""A wheel, installed outside the checkout, has its configs, shards and weights with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
SOURCES = ("diffcam", "configs", "data_shards", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("mine", "__pycache__")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    (folder / "data_shards" / "mine").mkdir()
    (folder / "data_shards" / "mine" / "train.json").write_text("{}")  # what a user simulated stays at home
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts of a fresh environment that holds this wheel, and beside it what diffcam depends on."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    bare = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", bare, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A path in a .pth file is searched, its own .pth files (one of them leads to the checkout) are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def _run(program: Path, *arguments: str, folder: Path) -> str:
    command = [program, *arguments]
    finished = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


@pytest.mark.slow
def test_it_holds_what_the_checkout_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, suffixes in (("configs", {".yaml"}), ("data_shards", {".tar", ".json", ".md"})):
        here = {
            f"diffcam/{path.relative_to(ROOT)}"
            for path in (ROOT / folder).rglob("*")
            if path.suffix in suffixes and "mine" not in path.parts
        }
        assert here
        assert here == {name for name in names if name.startswith(f"diffcam/{folder}/")}


@pytest.mark.slow
def test_it_works_in_an_empty_folder(bin_folder: Path, tmp_path: Path) -> None:
    def run(program: str, *arguments: str) -> str:
        return _run(bin_folder / program, *arguments, folder=tmp_path)

    place = run("python", "-c", "import diffcam; print(diffcam.__file__)").strip()
    assert place.startswith(str(bin_folder.parent)), "the installed wheel, not the checkout"

    small = ("--trainer.limit_test_batches", "2", "--data.init_args.resolution", "96", "--model.init_args.steps", "1")
    printed = run("lightning", "test", "--trainer.accelerator", "cpu", *small)
    assert "PSNR" in printed
    assert list(tmp_path.glob("outputs/refocus/version_0/samples.csv"))

    methods = ("--methods", "copy", "diffcam-tiny")
    edition = ("--shards", "packaged:heldout-stereo-*.tar", "--resolution", "96", "--workers", "1")
    printed = run("diffcam", "benchmark", "run", *methods, *edition)
    assert "diffcam-tiny" in printed

    Image.effect_noise((96, 64), 60).convert("RGB").save(tmp_path / "photo.jpg")
    run("diffcam", "refocus", "photo.jpg", "--focus", "0.4,0.6", "--bokeh", "8", "--depth", "none")
    assert (tmp_path / "photo-refocused.jpg").is_file()
