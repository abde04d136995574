"""Write configuration.md beside this file: every field of a config, from the docstrings of the classes that have it.

Usage: python docs/configuration.py
"""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docstring_parser
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.strategies import Strategy
from torch.optim import Optimizer

from diffcam.benchmark.setup import Setup

PAGE = Path(__file__).with_suffix(".md")

PARTS = ("tasks", "data", "models", "callbacks", "metrics", "benchmark")
"""Parts of the package whose public names a config may hold."""

ROOTS = {
    "Tasks: `model`": LightningModule,
    "Data: `data`": LightningDataModule,
    "Callbacks: `trainer.callbacks`": Callback,
    "Strategies: `trainer.strategy`": Strategy,
    "Optimizers: `model.init_args.optimizer`": Optimizer,
    "The benchmark: `diffcam benchmark run --config`": Setup,
}
"""Where a config begins; what the fields of these take has sections of its own."""

INTRODUCTION = """\
# What a config may hold

Written by `python docs/configuration.py` from the docstrings of the classes; do not edit it.

- A config is complete: `lightning fit --config configs/tiny.yaml`. Where none is named, `configs/refocus.yaml` is read.
- `config: parts/embedded.yaml` in the first line names a file, beside this one, that it goes on from. A key with dots
  then changes one thing in it, `data.init_args.piece: 320`; a mapping, as under `data:`, takes the place of all that
  was there.
- The same keys are options: `--data.init_args.piece 320`. A further `--config` changes what the ones before it say
  (`configs/overlays`: how FLUX is trained on which machine), and options change what all of them say.
- `class_path` names a class or a function, of diffcam or of any other package, and `init_args` holds its arguments:
  the fields below. A field without a default must be given.
- `${data.init_args.resolution}`, inside a mapping, is the value that stands there in the end.
- Patterns of shards are relative to the working directory; `packaged:train-*.tar` comes with the package.
- `evaluated_weights` is what `validate`, `test` and `predict` load where neither `--ckpt_path` nor
  `model.init_args.weights` says it: a packaged name, an exported folder or a checkpoint. An untrained model is refused.
- `seed_everything` and all of `trainer` but diffcam's callbacks and strategy are PyTorch Lightning's:
  `lightning fit --help`.
"""


def page() -> str:
    """The whole page in Markdown.

    Raises:
        ValueError: If a field is not documented.
    """
    seen: set[Any] = set()
    queue = list(ROOTS.items())
    sections = [INTRODUCTION]
    while queue:
        title, base = queue.pop(0)
        if base in seen:
            continue
        seen.add(base)
        entries = dict(_offered(base)) or {base.__name__: base}
        sections.append(f"## {title}\n")
        for name, offered in entries.items():
            sections.append("\n".join(_entry(name, offered)))
            queue += [(f"`{inner.__name__}`", inner) for inner in _taken(offered)]
    return "\n".join(sections)


def _offered(base: type) -> Iterator[tuple[str, Any]]:
    """Public names that a field of a type takes: subclasses, and functions that return one."""
    for part in PARTS:
        module = importlib.import_module(f"diffcam.{part}")
        for name in module.__all__:
            value = getattr(module, name)
            made = value if inspect.isclass(value) else _hints(value).get("return")
            if inspect.isclass(made) and _fits(made, base) and not inspect.isabstract(made):
                yield f"diffcam.{part}.{name}", value


def _fits(made: type, base: type) -> bool:
    """Whether a class is another's subclass; where that is a protocol, whether it has the protocol's methods."""
    if not getattr(base, "_is_protocol", False):
        return issubclass(made, base)
    members = [name for name in vars(base) if not name.startswith("_")]
    return not getattr(made, "_is_protocol", False) and all(hasattr(made, name) for name in members)


def _hints(offered: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(offered.__init__ if inspect.isclass(offered) else offered)


def _taken(offered: Callable[..., Any]) -> Iterator[type]:
    """Classes with a section of their own among the types of a callable's fields, inside unions and lists too."""
    types = [hint for name, hint in _hints(offered).items() if name != "return"]
    while types:
        hint = types.pop(0)
        types += typing.get_args(hint)
        if inspect.isclass(hint) and hint.__module__.startswith(("diffcam", "diffusers")) and any(_offered(hint)):
            yield hint


def _entry(name: str, offered: Callable[..., Any]) -> Iterator[str]:
    """Heading, summary and one line a field."""
    yield f"### `{name}`\n"
    yield f"{_plain(docstring_parser.parse(inspect.getdoc(offered) or '').short_description)}\n"
    described: dict[str, str] = {}
    for owner in reversed(offered.__mro__ if inspect.isclass(offered) else (offered,)):
        for field in docstring_parser.parse(owner.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE).params:
            said = field.description or ""
            for argument in field.arg_name.split(", "):
                if argument not in described or not said.startswith("See "):
                    described[argument] = said
    fields = inspect.signature(offered).parameters if _hints(offered) else {}  # object's own constructor has none
    for field in fields.values():
        if field.name not in described:
            raise ValueError(f"{name}: its docstring says nothing of {field.name}")
        default = (
            "" if field.default is field.empty else f" = {getattr(field.default, '__name__', repr(field.default))}"
        )
        yield f"- `{field.name}: {_type(field.annotation)}{default}`: {_plain(described[field.name])}"
    yield ""


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _plain(text: str | None) -> str:
    """One line, with Sphinx's roles and double backquotes as Markdown has them."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join((text or "").split())).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
