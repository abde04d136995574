"""Running a method over an edition: scene by scene, in one process or several, resumable sample by sample."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffcam.benchmark.edition import Edition
from diffcam.benchmark.methods import Method, NotAvailableError
from diffcam.benchmark.results import Results
from diffcam.data.batch import RefocusSample, collate
from diffcam.errors import DiffcamError
from diffcam.metrics import Row, SampleMetric, Scores

Outcome = tuple[list[Row], dict[int, str]]
"""What became of a scene: rows of its finished samples, and by number why the others failed."""


@dataclass(eq=False)
class SceneWorker:
    """Makes and scores the outputs of one method, a scene at a time; each process prepares its own method."""

    method: Method
    edition: Edition
    scores: Scores
    results: Results
    prepared: bool = False

    def __call__(self, numbers: Sequence[int]) -> Outcome:
        """Make (unless they are kept already) and score the outputs for some samples of one scene."""
        self.scores.reset()
        failures = {}
        for number in numbers:
            try:
                sample = self.edition[number]
                output_3HW = self._output(sample)
            except NotAvailableError:
                raise
            except DiffcamError as error:
                failures[number] = " ".join(str(error).split())
            else:
                self.scores.update(self.results.name, collate([sample]), output_3HW[None])
        return self.scores.compute() if self.scores.update_called else [], failures

    def _output(self, sample: RefocusSample) -> Tensor:
        output = self.results.load_output(sample.index) if self.method.keeps_outputs else None
        if output is None:
            if not self.prepared:  # not before it is needed: scoring kept outputs anew asks for no weights
                self.method.prepare(self.results.folder)
                self.prepared = True
            output = self.method(sample)
            if output.shape != sample.reference.shape:
                raise DiffcamError(
                    f"output of {tuple(output.shape)} for a reference of {tuple(sample.reference.shape)}"
                )
            if not bool(torch.isfinite(output).all()):
                raise DiffcamError("output holds NaN or infinite values")
            if self.method.keeps_outputs:
                self.results.save_output(sample.index, output)
        return output


def run_method(
    name: str,
    method: Method,
    edition: Edition,
    metrics: Sequence[SampleMetric],
    folder: Path,
    *,
    order: int = 0,
    workers: int = 1,
    force: bool = False,
    on_scene: Callable[[int], None] = lambda samples: None,
) -> Results:
    """Run a method on an edition and score it; what is finished already is not done again.

    Args:
        metrics: What is computed; rows that lack one of them are scored again.
        folder: Of all results; the method's own in it has its name.
        order: Place of the method in tables.
        workers: Processes, for a method that allows several.
        on_scene: Called with the number of samples that were scored, after each scene.

    Raises:
        DiffcamError: If the folder holds results of other settings; with ``force``, they are replaced.

    Examples:
        >>> edition = Edition(["data_shards/heldout-ai-*.tar"], resolution=64)
        >>> results = run_method("copy", diffcam.benchmark.Copy(), edition, [diffcam.metrics.MAE()], Path("results"))
        >>> len(results.rows), round(results.rows[4].scores["mae"], 3)
        (20, 0.014)
    """
    results = Results(folder / name)
    weights = method.fingerprint() or results.record.get("weights", "")  # outputs stay good where weights are gone
    settings = {"edition": edition.identity(), "method": describe(method), "weights": weights}
    results.open(settings, force, order=order)
    worker = SceneWorker(method, edition, Scores(metrics), results)
    columns = {metric.column for metric in worker.scores.available}
    done = {number for number, row in results.rows.items() if columns <= set(row.scores)}
    waiting = []
    for scene in edition.scenes():
        pairs = zip(scene.numbers, scene.subtasks, strict=True)
        if numbers := [number for number, task in pairs if number not in done and method.selects(number, task)]:
            waiting.append(numbers)
    started, reason = time.monotonic(), ""
    failures: dict[int, str] = {}
    try:
        for rows, failed in _outcomes(worker, waiting, workers if method.parallel else 1):
            results.add(rows)
            failures |= failed
            on_scene(len(rows))
    except NotAvailableError as error:
        reason = " ".join(str(error).split())
    finally:
        method.close()
        note = "; ".join(filter(None, (method.note, edition.note)))
        seconds = results.record.get("seconds", 0.0) + time.monotonic() - started
        results.finish(worker.scores.missing, failures, not_available=reason, note=note, seconds=seconds)
    return results


def _outcomes(worker: SceneWorker, waiting: Sequence[Sequence[int]], workers: int) -> Iterator[Outcome]:
    if workers == 1 or len(waiting) < 2:
        yield from map(worker, waiting)
        return
    context = multiprocessing.get_context("forkserver")  # not fork: threads of the renderer do not survive it
    context.set_forkserver_preload([__name__])  # torch and the rest are imported once, not by each worker
    pool = ProcessPoolExecutor(min(workers, len(waiting)), context, _start_worker, (worker,))
    try:
        for future in as_completed([pool.submit(_work, numbers) for numbers in waiting]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted run ends after the scenes in hand


_worker: SceneWorker


def _start_worker(worker: SceneWorker) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = worker


def _work(numbers: Sequence[int]) -> Outcome:
    return _worker(numbers)


def describe(value: object) -> Any:
    """An object's class and public attributes, down to plain values: what its results depend on."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [describe(entry) for entry in value]
    if isinstance(value, Path):
        return value.as_posix()
    ignored = getattr(value, "without_effect", ())
    public = {name: entry for name, entry in vars(value).items() if name[0] != "_" and name not in ignored}
    attributes = {name: describe(entry) for name, entry in public.items()}
    return {"class": f"{type(value).__module__}.{type(value).__qualname__}", **attributes}
