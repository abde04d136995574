"""The progress line counts, rates and estimates."""

from __future__ import annotations

import io

from diffcam.simulation.jobs.progress import RunProgress


def test_rate_and_estimate_leave_out_what_an_earlier_run_made() -> None:
    now = [100.0]
    stream = io.StringIO()
    with RunProgress(total=1000, done=200, stream=stream, clock=lambda: now[0]) as progress:
        now[0] += 40
        progress.add(78, 2)
        assert " ".join(stream.getvalue().split()) == "280/1000 scenes, 2.00 a second, 2 skipped 0:06:00 left"
        now[0] += 1000 * 3600
        progress.add(1)
    line = stream.getvalue().splitlines()[1]
    assert line.startswith(" 281/1000 scenes, 0.00 a second, 2 skipped ")
    hours, minutes, _ = map(int, line.split()[-2].split(":"))
    assert hours * 60 + minutes == round(719 * (40 + 1000 * 3600) / 81) // 60
