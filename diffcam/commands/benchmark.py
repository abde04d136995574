"""``diffcam benchmark build | run | table``."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from diffcam.benchmark.grids import level_sweep, with_outputs, write_grids
from diffcam.benchmark.paper import TABLES
from diffcam.benchmark.results import read_results
from diffcam.benchmark.run import run_method
from diffcam.benchmark.setup import read_setup
from diffcam.benchmark.tables import paper_table, result_tables
from diffcam.commands.benchmark_build import add_build_arguments, build
from diffcam.commands.cli import CONFIGS
from diffcam.errors import DiffcamError
from diffcam.metrics import Table

DEFAULT_SETUP = CONFIGS / "benchmark.yaml"
"""Edition, metrics and methods of the open benchmark."""

DEFAULT_OUTPUT = Path("outputs/benchmark")
"""Where results are written and read, relative to the working directory."""

FORMATS = {"text": Table.text, "markdown": Table.markdown, "latex": Table.latex}
"""What ``--format`` names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam benchmark``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_build_arguments(actions.add_parser("build", help="make benchmark shards from folders of photos"))
    run_parser = actions.add_parser("run", help="run methods on an edition, print and write the tables and grids")
    table_parser = actions.add_parser("table", help="print tables from a folder of results")
    for subparser in (run_parser, table_parser):
        setup = "edition, metrics and methods; a later file replaces what an earlier one says (default: the shipped "
        setup += f"configs/{DEFAULT_SETUP.name})"
        subparser.add_argument("--config", type=Path, nargs="+", default=[DEFAULT_SETUP], help=setup)
    run_parser.add_argument("--shards", nargs="+", help="other shards than the config's")
    run_parser.add_argument("--resolution", type=int, help="another side of the square than the config's, in pixels")
    run_parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these of the config's methods")
    depth = "what methods are given in place of the exact disparity (table 6): exact, zero, masked, cropped, noisy"
    run_parser.add_argument("--depth", default="exact", help=depth)
    run_parser.add_argument("--name", help="keep one method's results under this name (a row of an ablation table)")
    run_parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder of results")
    run_parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    run_parser.add_argument("--force", action="store_true", help="replace results of other settings")
    table_parser.add_argument("results", type=Path, nargs="?", default=DEFAULT_OUTPUT, help="folder of results")
    papers = sorted({*TABLES, *(part.partition("-")[0] for part in TABLES)})
    paper = "tables of the paper, our rows above its printed figures: a number, or a part of table 1: "
    paper += f"{', '.join(papers)} (none named: all)"
    table_parser.add_argument("--paper", nargs="*", choices=papers, metavar="TABLE", help=paper)
    sources = "only samples of these sources (default: all)"
    table_parser.add_argument("--source", nargs="+", metavar="NAME", help=sources)
    table_parser.add_argument("--format", choices=sorted(FORMATS), default="text")
    table_parser.add_argument("--no-intervals", action="store_true", help="leave the bootstrap intervals away")


def run(args: argparse.Namespace) -> int:
    """Do what the command line says and return the exit status.

    Raises:
        DiffcamError: If the input or an option does not fit.
    """
    return {"build": build, "run": _run, "table": _table}[args.action](args)


def _run(args: argparse.Namespace) -> int:
    setup = read_setup(*args.config)
    edition = setup.edition(args.shards, args.resolution, args.depth)
    names = args.methods or list(setup.methods)
    if unknown := [name for name in names if name not in setup.methods]:
        raise DiffcamError(f"--methods {' '.join(unknown)}: not in the config, which has {', '.join(setup.methods)}")
    if args.workers < 1:
        raise DiffcamError(f"--workers {args.workers}: must be at least 1")
    if args.name and len(names) != 1:
        raise DiffcamError(f"--name {args.name}: names one run; choose one method with --methods")
    every = list(setup.methods)
    for name in names:
        label, total = args.name or name, sum(len(scene.numbers) for scene in edition.scenes())
        with Progress(console=Console(stderr=True), transient=True) as progress:
            run_method(
                label,
                setup.methods[name],
                edition,
                setup.metrics,
                args.output,
                order=every.index(name),
                workers=args.workers,
                force=args.force,
                on_scene=partial(progress.advance, progress.add_task(label, total=total)),
            )
        print(f"{label}: {progress.tasks[0].completed:g} of {total} samples made and scored now", file=sys.stderr)
    results = read_results(args.output)
    title = f"{len(edition.entries)} scenes at {'x'.join(map(str, edition.resolution))}"
    tables = result_tables(results, setup.metrics, title)
    for suffix, form in (("md", Table.markdown), ("tex", Table.latex)):
        (args.output / f"table.{suffix}").write_text("\n".join(map(form, tables)), encoding="utf-8")
    grids = write_grids(edition, results, args.output / "grids")
    shown = edition.scenes()[len(edition.entries) // 2].scene
    grids.append(level_sweep(edition, results, args.output / "grids" / "levels.png", shown, with_outputs(results)))
    print("\n\n".join(table.text() for table in tables))
    print(f"\nwritten: {args.output / 'table.md'}, table.tex, {', '.join(path.name for path in grids)} in grids/")
    return 0


def _table(args: argparse.Namespace) -> int:
    results = read_results(args.results)
    title = args.results.name
    if args.source:
        there = {row.source for one in results.values() for row in one.rows.values()}
        if unknown := sorted(set(args.source) - there):
            raise DiffcamError(f"--source {' '.join(unknown)}: the results have {', '.join(sorted(there))}")
        for one in results.values():
            one.rows = {number: row for number, row in one.rows.items() if row.source in args.source}
        title = f"{title}, {', '.join(args.source)}"
    interval = not args.no_intervals
    if args.paper is None:
        tables = result_tables(results, read_setup(*args.config).metrics, title, interval)
    else:
        chosen = [part for part in TABLES if not args.paper or {part, part.partition("-")[0]} & {*args.paper}]
        tables = [paper_table(part, results, interval) for part in chosen]
    print("\n\n".join(FORMATS[args.format](table) for table in tables))
    return 0
