"""The names that users rely on: in Python, in the shell, and what importing them costs."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import runpy
import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import diffcam
from diffcam.commands.cli import COMMANDS

PACKAGE = Path(diffcam.__file__).parent

SNAPSHOT = Path(__file__).with_name("public_api.txt")

NAMES = {"Aperture", "Camera", "DiffcamError", "PhotoSession", "RefocusPipeline", "ThinLens", "render_bokeh"}
"""What `import diffcam` promises; a new name is added here on purpose, a lost one breaks somebody's code."""

PARTS = sorted(name for _, name, is_package in pkgutil.iter_modules([str(PACKAGE)]) if is_package)


def test_top_level_names() -> None:
    assert set(diffcam.__all__) == NAMES | {"__version__"}
    for name in NAMES:
        assert inspect.getdoc(getattr(diffcam, name)), name


def test_version_is_that_of_the_distribution() -> None:
    assert diffcam.__version__ == version("diffcam")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Kamera"):
        _ = diffcam.Kamera


@pytest.mark.parametrize("part", PARTS)
def test_every_part_names_what_it_offers(part: str) -> None:
    module = importlib.import_module(f"diffcam.{part}")
    assert module.__doc__
    for name in module.__all__:
        value = getattr(module, name)
        assert not inspect.isroutine(value) or inspect.getdoc(value), f"diffcam.{part}.{name} has no docstring"
        assert not inspect.isclass(value) or inspect.getdoc(value), f"diffcam.{part}.{name} has no docstring"


def test_public_surface_is_as_recorded() -> None:
    """A name, a signature or a default that changes is seen in review: the text changes with it."""
    found = runpy.run_path(str(SNAPSHOT.with_name("snapshot.py")))["snapshot"]()
    changed = list(difflib.unified_diff(SNAPSHOT.read_text().splitlines(), found.splitlines(), lineterm="", n=0))
    assert changed == [], "if this is meant, run: python tests/snapshot.py"


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without __init__.py works in a checkout and is missing from what is installed."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_import_is_light() -> None:
    """The camera and the renderer must not cost the import of a training framework."""
    code = (
        "import sys, diffcam; diffcam.Camera((0.5, 0.5), 4); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert "torch" in loaded
    assert (
        loaded & {"lightning", "diffusers", "transformers", "peft", "torchvision", "matplotlib", "webdataset"} == set()
    )


@pytest.mark.parametrize(
    ("command", "target"),
    [("lightning", "diffcam.commands.cli:lightning_main"), ("diffcam", "diffcam.commands.cli:main")],
)
def test_console_script_is_ours(command: str, target: str) -> None:
    """Other distributions (`lightning-sdk`) install a `lightning` script too: the last one installed wins."""
    assert [point.value for point in entry_points(group="console_scripts", name=command)] == [target]
    assert "diffcam.commands.cli" in (Path(sysconfig.get_path("scripts")) / command).read_text()


def test_diffcam_help_names_its_commands() -> None:
    script = Path(sysconfig.get_path("scripts")) / "diffcam"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert set(COMMANDS) <= set(shown.split())
