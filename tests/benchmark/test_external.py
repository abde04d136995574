"""The protocol of external programs, spoken by a real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.benchmark import External, NotAvailableError
from diffcam.errors import DiffcamError

PROGRAM = """
import json, pathlib, sys, time
from PIL import Image
print("loading", file=sys.stderr)
for line in sys.stdin:
    folder = pathlib.Path(line.strip())
    request = json.loads((folder / "request.json").read_text())
    number = int(folder.name)
    if number == 2:
        print("failed no such subject", flush=True)
        continue
    if number == 3:
        sys.exit("out of memory")
    if number == 4:
        time.sleep(60)
    if number != 5:
        picture = Image.open(folder / "reference.png").point(lambda value: 255 - value)
        picture.save(folder / "output.png")
    print("done", flush=True)
"""


@pytest.fixture
def external(tmp_path: Path) -> Iterator[External]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    method = External(f"{sys.executable} {program}", timeout=5, subtasks=("refocus", "add_bokeh"))
    method.prepare(tmp_path)
    yield method
    method.close()


def test_answers(external, edition, tmp_path) -> None:
    for number in (0, 1):
        sample = edition[number]
        expected = 1 - (sample.reference * 255).round() / 255
        torch.testing.assert_close(external(sample), expected, atol=1e-6, rtol=0)
    assert (tmp_path / "log.txt").read_text() == "loading\n", "one program for all samples"


def test_request_holds_what_a_method_may_know(external, edition, tmp_path) -> None:
    import json

    sample = edition[1]
    external(sample)
    folder = tmp_path / "requests" / "000001"
    request = json.loads((folder / "request.json").read_text())
    assert request["focus"] == list(sample.cameras[0].focus)
    assert request["radius"] == pytest.approx(sample.cameras[0].bokeh * 96 / 512)
    row, column = (int(value * 96) for value in reversed(request["focus"]))
    with Image.open(folder / "disparity.png") as picture:
        disparity = np.array(picture) / 65535
    np.testing.assert_allclose(disparity, sample.disparity[0], atol=1e-5)
    assert request["focus_disparity"] == pytest.approx(disparity[row, column], abs=1e-4)


def test_failures_are_one_sample_each(external, edition) -> None:
    with pytest.raises(DiffcamError, match="no such subject"):
        external(edition[2])
    with pytest.raises(DiffcamError, match="ended without an answer"):
        external(edition[3])
    with pytest.raises(DiffcamError, match="no answer in 5 s"):
        external(edition[4])
    with pytest.raises(DiffcamError, match="wrote no"):
        external(edition[5])
    assert external(edition[6]).shape == (3, 96, 96), "the program was started again"


def test_subtasks(external) -> None:
    assert external.selects(0, "refocus")
    assert not external.selects(0, "remove_bokeh")
    assert External("program").selects(0, "remove_bokeh")


def test_no_such_program(tmp_path) -> None:
    with pytest.raises(NotAvailableError, match="cannot start no-such-program"):
        External("no-such-program --fast").prepare(tmp_path)
