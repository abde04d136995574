"""The notebooks run from top to bottom in their own folder, and are kept with their output."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_with_its_output_and_imports_nothing_of_its_own(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/jpeg"}
    assert path.stat().st_size < 1_000_000, "keep pictures as JPEG: python notebooks/execute.py"
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert not re.search(r"[\w.]/\w+/\w+\.py", printed), "a path of the machine that it ran on"
    allowed = ("diffcam", "numpy", "torch", "PIL", "matplotlib", "pathlib")
    for line in "\n".join(cell.source for cell in cells).splitlines():
        if line.startswith(("import ", "from ")):
            assert line.split()[1].split(".")[0] in allowed, line
