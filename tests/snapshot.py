"""The public names with their signatures, as text: ``python tests/snapshot.py`` rewrites ``tests/public_api.txt``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import diffcam

SNAPSHOT = Path(__file__).with_name("public_api.txt")

PARTS = ["diffcam", *sorted(f"diffcam.{part.name}" for part in pkgutil.iter_modules(diffcam.__path__) if part.ispkg)]
"""Modules whose ``__all__`` is public."""


class Annotation:
    """An annotation that is printed as it stands in the source, without quotation marks."""

    def __init__(self, annotation: object) -> None:
        self.text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)

    def __repr__(self) -> str:
        return self.text


def signature(function: Callable[..., object]) -> str:
    """Signature in one line; addresses of default functions, which differ between runs, are left out."""
    found = inspect.signature(function)
    arguments = [
        argument
        if argument.annotation is inspect.Parameter.empty
        else argument.replace(annotation=Annotation(argument.annotation))
        for argument in found.parameters.values()
    ]
    if found.return_annotation is inspect.Signature.empty or inspect.isclass(function):
        result = inspect.Signature(arguments)
    else:
        result = inspect.Signature(arguments, return_annotation=Annotation(found.return_annotation))
    return re.sub(r" at 0x[0-9a-f]+", "", str(result))


def members(cls: type) -> Iterator[str]:
    """One line for each public method, class method and property that a class defines itself."""
    for name, value in sorted(vars(cls).items()):
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(value, property):
            yield f"    {name}: {Annotation(inspect.signature(value.fget).return_annotation)}"
        elif inspect.isfunction(value):
            yield f"    {name}{signature(value)}"
        elif isinstance(value, classmethod | staticmethod):
            yield f"    {type(value).__name__} {name}{signature(value.__func__)}"


def describe(part: str, name: str) -> Iterator[str]:
    """Lines of one public name."""
    value = getattr(importlib.import_module(part), name)
    home = getattr(value, "__module__", "") or ""
    if home.startswith("diffcam") and inspect.isclass(value):
        # A class of errors has its base's signature, which says nothing.
        arguments = "" if issubclass(value, Exception) else signature(value)
        bases = ", ".join(base.__qualname__ for base in value.__bases__ if base is not object)
        yield f"class {name}{arguments}" + (f" extends {bases}" if bases else "")
        yield from members(value)
    elif home.startswith("diffcam") and inspect.isfunction(value):
        yield f"def {name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def snapshot() -> str:
    """The whole file."""
    blocks = []
    for part in PARTS:
        names = sorted(importlib.import_module(part).__all__)
        if names:
            blocks.append("\n".join([f"# {part}", *(line for name in names for line in describe(part, name))]))
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot())
