"""Run the notebooks from top to bottom and keep what they show, small enough to be read on a code page.

Pictures are kept as JPEG where there is one, warnings of libraries are not kept.

Usage: ``python notebooks/execute.py [NAME ...]``
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path) -> None:
    """Run one notebook in its own folder and write it back with its output."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(FOLDER)}}).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # drawn anew otherwise
        cell.metadata.pop("execution", None)  # times
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            for out in cell.outputs:
                if "image/jpeg" in out.get("data", {}):
                    out.data.pop("image/png", None)
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    for notebook_path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) == 1 or notebook_path.stem in sys.argv[1:]:
            execute(notebook_path)
