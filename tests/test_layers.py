"""The house rules that can be read off the source: who imports whom, names, and sizes."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "diffcam"

LAYERS = (
    {"errors", "files"},
    {"camera", "grid"},
    {"functional"},
    {"photo", "kernels"},
    {"pretrained"},
    {"models", "data"},
    {"metrics", "simulation", "session"},
    {"pipeline", "tasks"},
    {"planning"},
    {"callbacks", "benchmark", "ui"},
    {"commands"},
    {"__main__"},
)
"""Lowest first. A part imports from lower layers only, and from its neighbours in SIDEWAYS."""

SIDEWAYS: set[tuple[str, str]] = set()

LIBRARY_HOMES = {
    "lightning": ("data.datamodule", "tasks", "callbacks", "commands"),
    "pytorch_lightning": (),
    "diffusers": ("models", "pretrained", "pipeline"),
    "peft": ("models",),
}
"""Modules in which a library may be imported, at the top or inside a function."""

LAZY_LIBRARIES = {
    "lpips",
    "open_clip",
    "torchvision",
    "mitsuba",
    "ray",
    "spandrel",
    "openai",
    "bitsandbytes",
    "torchao",
}
"""Heavy, optional or broken by a mismatched torch: imported inside the function that uses them."""

DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn", "open_clip": "open-clip-torch"}
"""Distributions that are not called as their module is."""

BROUGHT_ALONG = {"triton", "llvmlite", "drjit"}
"""Lower halves of torch, numba and mitsuba, each tied to one release of its upper half."""

NOT_IMPORTED = {"pytorch-lightning", "torchvision", "lpips"}
"""Declared for a bound on what another library brings, and for the file of weights that lpips ships."""

FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "helper", "common"}

FILE_LINES, FUNCTION_LINES = 300, 50
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "diffcam/data/datamodule.py:__init__": "one line a field of the configuration",
    "diffcam/kernels/gpu.py:_disc_kernel": "one line an argument of the kernel, with its shape",
}
"""What may be longer, each with its reason."""


@dataclass(frozen=True)
class Import:
    """One imported module, as ``diffcam.data.schema`` or ``torch.nn``."""

    importer: str
    module: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"diffcam.{self.importer}, line {self.line}: {self.module}"

    @property
    def library(self) -> str:
        """First part of the name."""
        return self.module.partition(".")[0]


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """``data.schema`` for diffcam/data/schema.py, ``data`` for diffcam/data/__init__.py, "" for diffcam/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def walk(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node with whether it runs only when a function is called (or never, for a type checker alone)."""
    for child in ast.iter_child_nodes(node):
        inside = (
            lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(child)
        )
        yield child, inside
        yield from walk(child, inside)


def is_import_call(node: ast.AST) -> bool:
    """Whether a node is ``import_module`` of a name that is written out."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("import_module", "importlib.import_module")
        and isinstance(node.args[0], ast.Constant)
    )


def find_imports(tree: ast.AST, importer: str) -> Iterator[Import]:
    for node, lazy in walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"diffcam.{importer}, line {node.lineno}: imports are absolute"
            for alias in node.names:  # `from diffcam import data` imports the module diffcam.data
                name = f"{node.module}.{alias.name}" if node.module == "diffcam" else str(node.module)
                yield Import(importer, name, node.lineno, lazy)
        elif is_import_call(node):
            yield Import(importer, node.args[0].value, node.lineno, lazy)


def all_imports() -> list[Import]:
    return [
        found
        for path in source_files()
        for found in find_imports(ast.parse(path.read_text(), str(path)), module_name(path))
    ]


def lies_in(module: str, homes: tuple[str, ...]) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes)


def layer_of(part: str) -> int:
    """Height of a part; what is no part, such as ``diffcam.Camera``, comes from the top."""
    return next((level for level, parts in enumerate(LAYERS) if part in parts), len(LAYERS))


def breaks_layers(found: Import) -> bool:
    """Whether an import inside the package runs upwards, or sideways without leave."""
    if found.library != "diffcam" or found.importer == "":  # diffcam/__init__.py offers names from everywhere
        return False
    if found.module == "diffcam.__version__":
        return False
    importer, imported = found.importer.partition(".")[0], found.module.split(".")[1:2]
    if not imported:  # `import diffcam` inside diffcam: a circle
        return True
    pair = (importer, imported[0])
    return importer != imported[0] and pair not in SIDEWAYS and layer_of(importer) <= layer_of(imported[0])


def test_every_part_has_a_layer() -> None:
    parts = {module_name(path).partition(".")[0] for path in source_files()} - {""}
    assert parts == set().union(*LAYERS)


def test_imports_run_downwards() -> None:
    assert [str(found) for found in all_imports() if breaks_layers(found)] == []


def test_functional_needs_torch_alone() -> None:
    allowed = {"torch", "diffcam"} | sys.stdlib_module_names
    strangers = [
        str(found)
        for found in all_imports()
        if lies_in(found.importer, ("functional",)) and found.library not in allowed
    ]
    assert strangers == []


@pytest.mark.parametrize("library", LIBRARY_HOMES)
def test_library_stays_at_home(library: str) -> None:
    homes = LIBRARY_HOMES[library]
    strays = [str(found) for found in all_imports() if found.library == library and not lies_in(found.importer, homes)]
    assert strays == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    eager = [str(found) for found in all_imports() if found.library in LAZY_LIBRARIES and not found.lazy]
    assert eager == []


def declared_distributions() -> tuple[set[str], set[str]]:
    """Names in setup.cfg: what is always installed, and what an extra installs."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")

    def names(text: str) -> set[str]:
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {re.split(r"[\[<>=!~; ]", line)[0].lower().replace("_", "-") for line in lines}

    extras = [names(text) for text in config["options.extras_require"].values()]
    return names(config["options"]["install_requires"]), set().union(*extras)


def test_every_import_is_declared_in_setup_cfg() -> None:
    always, extras = declared_distributions()
    undeclared = []
    for found in all_imports():
        name = DISTRIBUTIONS.get(found.library, found.library).lower().replace("_", "-")
        if found.library in sys.stdlib_module_names | BROUGHT_ALONG | {"diffcam"} or name in always:
            continue
        if not (name in extras and found.lazy):
            undeclared.append(str(found))
    assert undeclared == []


def test_nothing_is_declared_in_vain() -> None:
    always, _ = declared_distributions()
    imported = {DISTRIBUTIONS.get(found.library, found.library).lower().replace("_", "-") for found in all_imports()}
    assert always - imported == NOT_IMPORTED


def test_names_say_what_a_module_is_for() -> None:
    assert [str(path) for path in PACKAGE.rglob("*") if path.stem in FORBIDDEN_NAMES] == []


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    docstring = ast.get_docstring(node, clean=False) is not None
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if docstring else 0)


def file_lines(text: str) -> int:
    """Lines of a file without the examples in its docstrings, which are tests."""
    return re.sub(r'\n\n +Examples:\n.*?(?=\n *""")', "", text, flags=re.DOTALL).count("\n")


def too_long() -> Iterator[tuple[str, int]]:
    for path in source_files():
        text, name = path.read_text(), path.relative_to(ROOT).as_posix()
        if file_lines(text) > FILE_LINES:
            yield name, file_lines(text)
        for node, _ in walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function_lines(node) > FUNCTION_LINES:
                yield f"{name}:{node.name}", function_lines(node)


def test_files_and_functions_stay_short() -> None:
    exceptions = LONG_FILES | LONG_FUNCTIONS
    found = dict(too_long())
    assert {name: lines for name, lines in found.items() if name not in exceptions} == {}
    assert set(exceptions) <= set(found), "an exception that is no longer needed"


SAMPLE = """
import torch
from diffcam.models import codec
def late():
    import ray
    from diffcam import tasks
    importlib.import_module("diffcam.ui")
"""


def test_the_rules_find_what_breaks_them() -> None:
    """The checks above pass on an empty package too; this holds that they see anything at all."""
    found = list(find_imports(ast.parse(SAMPLE), "data.reader"))
    assert [(item.module, item.lazy) for item in found] == [
        ("torch", False),
        ("diffcam.models", False),
        ("ray", True),
        ("diffcam.tasks", True),
        ("diffcam.ui", True),
    ]
    assert [breaks_layers(item) for item in found] == [False, True, False, True, True]
    assert not lies_in("data.reader", LIBRARY_HOMES["lightning"])
    assert lies_in("data.datamodule", LIBRARY_HOMES["lightning"])
    assert (
        file_lines('def f():\n    """One.\n\n    Examples:\n        >>> f()\n        1\n    """\n    return 1\n') == 4
    )
    assert function_lines(ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body[0]) == 2
