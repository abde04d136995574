"""The renderer's compiled CPU loops: a blur disc as horizontal spans, O(radius) per pixel instead of O(radius^2).

Along one image row a disc's weight rises at its left edge and falls at its right one, and is flat between. Writing only
its differences, and taking one running sum per row at the end, touches a ring of O(radius) pixels, each weighted with
the true soft edge. The sums are float64: in float32, what remains of a bright span after its end would drown the dark
pixels behind it. Only the rows that a source can reach are held at a time, so memory is O(radius * width) per thread.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch

from diffcam.functional.disc import soft_edge
from diffcam.kernels.lanes import LANES, add_difference, add_lanes

OUTSIDE, INSIDE = 1.5, 1.0
"""Pixels outside and inside the disc's edge within which weights come from the profile; beyond, they are 0 (exactly:
at most 6e-6) and 1 (at least 0.9997). ``OUTSIDE`` must exceed the square root of 2, the distance of the farthest pixel
that a source in focus reaches. Measured: docs/log.md, "Spans"."""

STEP = 256
"""Entries of the profile per pixel; chosen."""

EDGE = soft_edge(torch.arange(round((OUTSIDE + INSIDE) * STEP) + 2, dtype=torch.float64) / STEP - OUTSIDE).numpy()
"""The edge profile: weight by inset (distance inside the edge), from ``-OUTSIDE`` on, ``STEP`` entries a pixel."""

Array = np.ndarray
Tables = tuple[Array, Array]
"""The edge profile, and the distance of each offset in units of its entries."""

Shape = tuple[Array, float, float]
"""Shape of an opening that is not round: the polygon's ratio by offset, its smallest value, and the cat-eye."""

_jit = numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
_inline = numba.njit(inline="always", nogil=True, fastmath=True, error_model="numpy")


@_inline
def _bounds(size: float, dy: int, reach: int) -> tuple[int, int]:
    """Last offset of a row with any weight, and last one of full weight (-1 where there is none)."""
    # float32 takes half the time; its error is less than half an entry of the profile.
    outer = min(int(math.sqrt(np.float32((size + OUTSIDE) ** 2 - dy * dy))), reach)
    full = size - INSIDE
    inner = int(math.sqrt(np.float32(full * full - dy * dy))) if full >= abs(dy) else -1
    return outer, min(inner, outer)


@_inline
def _visit_span(sums: Array, lanes: Array, step: float, start: int, end: int, gather: bool) -> None:
    """Add ``step * lanes`` to a span of differences, or (the adjoint) the span, of sums to the end, to the lanes."""
    if gather:
        add_difference(lanes, step, sums, start, end)
    else:
        add_lanes(sums, start, step, lanes)
        add_lanes(sums, end, -step, lanes)


@_inline
def _visit_round_rows(
    sums: Array, lanes: Array, tables: Tables, size: float, dy: int, reach: int, below: int, above: int, gather: bool
) -> None:
    """Walk over rows ``dy`` below and above a source, where a disc is the same: nested spans from the outside in."""
    edge, distances = tables
    outer, inner = _bounds(size, dy, reach)
    edge_entry = (size + OUTSIDE) * STEP + 0.5
    last = 0.0
    for dx in range(outer, max(inner, 0) - 1, -1):
        weight = 1.0 if dx == inner else edge[np.uintp(np.int64(edge_entry - distances[dy, dx]))]
        start, end = -dx * LANES, (dx + 1) * LANES
        _visit_span(sums, lanes, weight - last, below + start, below + end, gather)
        if dy > 0:
            _visit_span(sums, lanes, weight - last, above + start, above + end, gather)
        last = weight


@_inline
def _visit_shaped_row(
    sums: Array,
    lanes: Array,
    tables: Tables,
    size: float,
    dy: int,
    reach: int,
    row: int,
    shape: Shape,
    cut_y: float,
    cut_x: float,
    gather: bool,
) -> None:
    """Walk over one row of any convex opening, left to right; all its spans end together, past the last weight."""
    edge, _ = tables
    ratio, smallest, _ = shape
    outer, _ = _bounds(size, dy, reach)
    # A disc inside the opening, whatever its shape: full weight, nothing to evaluate.
    core = min(size * smallest, size - math.hypot(cut_y, cut_x))
    inner = min(_bounds(core, dy, reach)[1], outer) if core >= abs(dy) else -1
    last, dx = 0.0, -outer
    while dx <= outer:
        start, weight = dx, 0.0
        if inner >= 0 and dx == -inner:
            weight, dx = 1.0, inner
        else:
            inset = size * ratio[dy, dx] - math.sqrt(dy * dy + dx * dx)
            inset = min(inset, size - math.sqrt((dy - cut_y) ** 2 + (dx - cut_x) ** 2))
            if inset > -OUTSIDE:
                weight = edge[int((min(inset, INSIDE) + OUTSIDE) * STEP + 0.5)]
        if weight != last:
            _visit_span(sums, lanes, weight - last, row + start * LANES, row + (outer + 1) * LANES, gather)
            last = weight
        dx += 1


@_inline
def _visit(
    sums: Array,
    lanes: Array,
    tables: Tables,
    shape: Shape | None,
    radius: Array,
    y: int,
    x: int,
    column: int,
    rows: int,
    stride: int,
    gather: bool,
) -> None:
    """Walk over one source's disc in a ring of rows; ``column`` is the place of the source's column in a row."""
    height, width = radius.shape
    size = float(abs(radius[y, x]))
    reach = int(size) + 1
    reach_x = min(reach, width - 1)
    slot = y % rows
    for dy in range(min(reach, rows // 2) + 1):
        below, above = slot + dy, slot - dy
        below, above = below - rows if below >= rows else below, above + rows if above < 0 else above
        below, above = below * stride + column, above * stride + column
        if shape is None:
            _visit_round_rows(sums, lanes, tables, size, dy, reach_x, below, above, gather)
        else:
            cut = shape[2] * radius[y, x] * 2 / math.hypot(height, width)
            cut_y, cut_x = cut * (y - (height - 1) / 2), cut * (x - (width - 1) / 2)
            _visit_shaped_row(sums, lanes, tables, size, dy, reach_x, below, shape, cut_y, cut_x, gather)
            if dy > 0:
                _visit_shaped_row(sums, lanes, tables, size, -dy, reach_x, above, shape, cut_y, cut_x, gather)


@_jit
def _finish_row(sums: Array, start: int, pad: int, light_sum: Array, weight_sum: Array) -> None:
    """Running sum over a row of differences."""
    red = green = blue = alpha = 0.0
    for x in range(-pad, weight_sum.shape[0]):
        i = start + (pad + x) * LANES
        red, green, blue, alpha = red + sums[i], green + sums[i + 1], blue + sums[i + 2], alpha + sums[i + 3]
        if x >= 0:
            # What rounding leaves of a bright span may be negative.
            light_sum[0, x], light_sum[1, x], light_sum[2, x] = max(red, 0.0), max(green, 0.0), max(blue, 0.0)
            weight_sum[x] = alpha


@_jit
def _load_row(sums: Array, start: int, pad: int, values: Array) -> None:
    """Sums of a row of values from each column to the end; the padding before the first holds the whole sum."""
    red = green = blue = 0.0
    for x in range(values.shape[1] - 1, -pad - 1, -1):
        if x >= 0:
            red, green, blue = red + values[0, x], green + values[1, x], blue + values[2, x]
        i = start + (pad + x) * LANES
        sums[i], sums[i + 1], sums[i + 2] = red, green, blue


@_jit
def _ring(radius: Array, strength: Array) -> tuple[int, int, int, Array, Array]:
    """The ring of rows that one source row can reach, its sizes, and distances by offset, in profile entries."""
    height, width = radius.shape
    largest = 0.0
    for y in range(height):
        for x in range(width):
            if strength[y, x] != 0:
                largest = max(largest, abs(radius[y, x]))
    far, pad = min(int(largest) + 1, height - 1), min(int(largest) + 1, width - 1)
    stride = (width + 2 * pad + 1) * LANES
    distances = np.empty((far + 1, pad + 1))
    for dy in range(far + 1):
        for dx in range(pad + 1):
            distances[dy, dx] = STEP * math.hypot(dy, dx)
    return far, pad, stride, np.zeros((2 * far + 1) * stride), distances


@_jit
def scatter_rows(
    light: Array,
    radius: Array,
    strength: Array,
    edge: Array,
    shape: Shape | None,
    first: int,
    last: int,
    light_sum: Array,
    weight_sum: Array,
) -> None:
    """Rows ``first`` up to ``last`` of ``light_sum`` and ``weight_sum``, from every source that reaches them.

    Light is ``(3, H, W)``, all else ``(H, W)``: ``radius`` is signed, ``strength`` is the weight inside the disc, 0 for
    a source that is left out. ``edge`` is ``EDGE``; a ``shape`` of None is round.
    """
    height, width = radius.shape
    far, pad, stride, sums, distances = _ring(radius, strength)
    rows, lanes, tables = 2 * far + 1, np.empty(LANES), (edge, distances)
    for y in range(max(0, first - far), last + far):
        for x in range(width if y < height else 0):
            if strength[y, x] == 0:
                continue
            lanes[3] = strength[y, x]
            lanes[0], lanes[1], lanes[2] = (
                light[0, y, x] * lanes[3],
                light[1, y, x] * lanes[3],
                light[2, y, x] * lanes[3],
            )
            _visit(sums, lanes, tables, shape, radius, y, x, (x + pad) * LANES, rows, stride, False)
        # No later source reaches row y - far.
        start = (y + far + 1) % rows * stride
        if first <= y - far < last:
            _finish_row(sums, start, pad, light_sum[:, y - far], weight_sum[y - far])
        sums[start : start + stride] = 0.0


@_jit
def gather_rows(
    grad: Array, radius: Array, strength: Array, edge: Array, shape: Shape | None, first: int, last: int, result: Array
) -> None:
    """Rows ``first`` to ``last`` of the adjoint of ``scatter_rows``: what each source's disc holds of ``grad``.

    ``grad`` and ``result``, which is written, are ``(3, H, W)``; other arguments as in ``scatter_rows``.
    """
    height, width = radius.shape
    far, pad, stride, sums, distances = _ring(radius, strength)
    rows, lanes, tables = 2 * far + 1, np.empty(LANES), (edge, distances)
    for ahead in range(max(0, first - far), last + far):
        start = ahead % rows * stride
        sums[start : start + stride] = 0.0
        if ahead < height:
            _load_row(sums, start, pad, grad[:, ahead])
        y = ahead - far
        for x in range(width if first <= y < last else 0):
            result[0, y, x] = result[1, y, x] = result[2, y, x] = 0
            if strength[y, x] == 0:
                continue
            lanes[:] = 0.0
            _visit(sums, lanes, tables, shape, radius, y, x, (x + pad) * LANES, rows, stride, True)
            scale = strength[y, x]
            result[0, y, x], result[1, y, x], result[2, y, x] = lanes[0] * scale, lanes[1] * scale, lanes[2] * scale
