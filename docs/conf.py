"""Settings of the site that ``make docs`` builds, without reaching the network."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import reduce
from importlib import import_module

from docutils.nodes import TextElement
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring

import diffcam

project = "diffcam"
author = "the diffcam authors"
copyright = "2026, the diffcam authors"
version = release = diffcam.__version__

extensions = ["sphinx.ext.autodoc", "myst_parser"]
html_theme = "furo"
html_title = f"diffcam {version}"
exclude_patterns = ["pictures"]
html_extra_path = ["points.html"]

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
myst_heading_anchors = 3

nitpicky = True


def exists(target: str, modules: Iterable[str]) -> bool:
    """Whether a name can be found: ``torch.Tensor`` anywhere, ``Camera`` or ``Camera.focus`` in one of the modules."""
    parts = target.split(".")
    for count in range(len(parts) - 1, 0, -1):
        with suppress(ImportError, AttributeError):
            return bool(reduce(getattr, parts[count:], import_module(".".join(parts[:count]))) or True)
    for module in modules:
        with suppress(AttributeError):
            return bool(reduce(getattr, parts, sys.modules[module]) or True)
    return False


def leave_unlinked(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: TextElement) -> TextElement | None:
    """Names without a page of their own stay text; those that do not exist remain warnings."""
    modules = [name for name in sys.modules if name.partition(".")[0] == "diffcam"]
    names = [node["reftarget"], f"{node.get('py:class')}.{node['reftarget']}"]
    known = node.get("refdomain") == "py" and any(exists(name, modules) for name in names)
    return shown if known else None


def google_style(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Sections of docstrings. As an extension, napoleon takes words before a colon for an attribute's type."""
    what = "method" if what in ("attribute", "data", "property") else what
    lines[:] = GoogleDocstring(lines, Config(napoleon_use_rtype=False), app, what, name, obj, options).lines()


def readable_defaults(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Defaults that a dataclass makes anew for each object are no Python that can be shown."""
    return signature and signature.replace("<factory>", "..."), result


def setup(app: Sphinx) -> None:
    """Connect the three."""
    app.connect("missing-reference", leave_unlinked)
    app.connect("autodoc-process-signature", readable_defaults)
    app.connect("autodoc-process-docstring", google_style)
