"""The examples in docstrings: they run as they stand, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import diffcam

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "diffcam"

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text()
)
"""Modules with an example; the others are not imported, so that none asks for a GPU or an optional library."""

PARTS = ("diffcam", "diffcam.functional", "diffcam.kernels", "diffcam.photo", "diffcam.data", "diffcam.models")
"""Modules whose public classes and functions have an example each; abstract classes are shown by their subclasses."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's examples see its own names, ``torch`` and ``diffcam``, and lie in a folder with ``data_shards``."""
    (tmp_path / "data_shards").symlink_to(ROOT / "data_shards")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {"torch": torch, "diffcam": diffcam} | vars(module)
    runner = doctest.DocTestRunner()
    found = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
    report: list[str] = []
    for test in found:
        runner.run(test, out=report.append)
    assert found
    assert runner.failures == 0, "".join(report)


def is_abstract(value: object) -> bool:
    return inspect.isabstract(value) or bool(getattr(value, "_is_protocol", False))


@pytest.mark.parametrize("part", PARTS)
def test_every_public_name_has_an_example(part: str) -> None:
    module = importlib.import_module(part)
    values = {name: getattr(module, name) for name in module.__all__}
    shown = {name for name, value in values.items() if ">>> " in (getattr(value, "__doc__", None) or "")}
    wanted = {
        name
        for name, value in values.items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and not is_abstract(value)
    }
    assert sorted(wanted - shown) == []
