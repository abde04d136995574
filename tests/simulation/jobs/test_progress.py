"""The progress line counts, rates and estimates."""

from __future__ import annotations

import io

from diffcam.simulation.jobs.progress import Progress


def test_rate_and_estimate_leave_out_what_an_earlier_run_made() -> None:
    now = [100.0]
    stream = io.StringIO()
    progress = Progress(total=1000, done=200, stream=stream, clock=lambda: now[0])
    now[0] += 40
    progress.add(78, 2)
    assert progress.line() == "280/1000 scenes, 2.00 scenes/s, 6 min 00 s left, 2 skipped"
    assert stream.getvalue().rstrip() == progress.line()
    now[0] += 1000 * 3600
    progress.add(1, 0)
    assert "h " in progress.line()
