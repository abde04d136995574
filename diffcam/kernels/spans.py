"""The renderer's CPU path: a blur disc as horizontal spans, O(radius) per pixel instead of O(radius^2).

Along one image row a disc's weight rises at its left edge and falls at its right one, and is flat between. Writing only
its differences, and taking one running sum per row at the end, touches a ring of O(radius) pixels, each weighted with
the true soft edge. The sums are float64: in float32, what remains of a bright span after its end would drown the dark
pixels behind it. Only the rows that a source can reach are held at a time, so memory is O(radius * width) per thread.

The compiled functions run on one thread, without the GIL; ``torch.get_num_threads()`` of them share an image's rows.
No thread outlives a call, so a process may fork between calls, and a DataLoader worker, where torch has one thread,
starts none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import AREA_OFFSET, EDGE_SLOPE, polygon_ratio
from diffcam.kernels.lanes import LANES, add_difference, add_lanes

OUTSIDE, INSIDE = 1.5, 1.0
"""Pixels outside and inside the edge within which weights come from the profile; beyond, they are 0 (from 6e-6) or 1
(from 0.9997). ``OUTSIDE`` must exceed the square root of 2: all that a source in focus reaches."""

STEP = 256
"""Entries of the profile per pixel."""

EDGE = 0.5 + 0.5 * np.tanh(EDGE_SLOPE * (np.arange(round((OUTSIDE + INSIDE) * STEP) + 2) / STEP - OUTSIDE))
"""The edge profile: weight against inset, the depth inside the disc, from ``-OUTSIDE`` on."""

_jit = numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
_inline = numba.njit(inline="always", nogil=True, fastmath=True, error_model="numpy")


@_inline
def _entry(inset):
    """Index of an inset in the edge profile."""
    return np.uintp((inset + OUTSIDE) * STEP + 0.5)


@_inline
def _bounds(size, dy, reach):
    """Last offset of a row with any weight, and last one of full weight (-1 where there is none)."""
    outer = min(int(math.sqrt((size + OUTSIDE) ** 2 - dy * dy)), reach)
    full = size - INSIDE
    inner = int(math.sqrt(full * full - dy * dy)) if full >= abs(dy) else -1
    return outer, min(inner, outer)


@_inline
def _round_row(spans, steps, edge, size, dy, reach):
    """Row ``dy`` of a disc as nested spans [start, end) and what each adds to the weight; returns their number."""
    outer, inner = _bounds(size, dy, reach)
    count, last = 0, 0.0
    for dx in range(outer, max(inner, 0) - 1, -1):
        weight = 1.0 if dx == inner else edge[_entry(size - math.sqrt(dy * dy + dx * dx))]
        spans[count, 0], spans[count, 1], steps[count] = -dx, dx + 1, weight - last
        count, last = count + 1, weight
    return count


@_jit
def _shaped_row(spans, steps, edge, size, dy, reach, ratio, smallest, cut_y, cut_x):
    """The same for any convex opening; steps are negative where the weight falls, and all spans end together."""
    outer, _ = _bounds(size, dy, reach)
    # A disc inside the opening, whatever its shape: full weight, nothing to evaluate.
    core = min(size * smallest, size - math.hypot(cut_y, cut_x))
    inner = min(_bounds(core, dy, reach)[1], outer) if core >= abs(dy) else -1
    count, last, dx = 0, 0.0, -outer
    while dx <= outer:
        start, weight = dx, 0.0
        if inner >= 0 and dx == -inner:
            weight, dx = 1.0, inner
        else:
            inset = size * ratio[dy, dx] - math.sqrt(dy * dy + dx * dx)
            inset = min(inset, size - math.hypot(dy - cut_y, dx - cut_x))
            if inset > -OUTSIDE:
                weight = edge[_entry(min(inset, INSIDE))]
        if weight != last:
            spans[count, 0], spans[count, 1], steps[count] = start, outer + 1, weight - last
            count, last = count + 1, weight
        dx += 1
    return count


@_inline
def _row(spans, steps, edge, size, dy, reach, shape, cut_y, cut_x):
    """Spans of row ``dy`` of a source's disc: see ``_round_row``."""
    if shape is None:
        return _round_row(spans, steps, edge, size, dy, reach)
    ratio, smallest, cat_eye = shape
    return _shaped_row(spans, steps, edge, size, dy, reach, ratio, smallest, cat_eye * cut_y, cat_eye * cut_x)


@_inline
def _visit_row(sums, lanes, spans, steps, count, start, gather):
    """Add the lanes to a row of differences, or (the adjoint) a row's spans, held as sums to its end, to the lanes."""
    for i in range(count):
        first, end = start + spans[i, 0] * LANES, start + spans[i, 1] * LANES
        if gather:
            add_difference(lanes, steps[i], sums, first, end)
        else:
            add_lanes(sums, first, steps[i], lanes)
            add_lanes(sums, end, -steps[i], lanes)


@_inline
def _visit(sums, lanes, spans, steps, edge, shape, radius, y, x, start, rows, stride, gather):
    """Walk over one source's disc in a ring of rows; ``start`` is the place of the source's column in a row."""
    height, width = radius.shape
    size = float(abs(radius[y, x]))
    reach = int(size) + 1
    reach_x = min(reach, width - 1)
    cut = radius[y, x] * 2 / math.hypot(height, width)
    cut_y, cut_x = cut * (y - (height - 1) / 2), cut * (x - (width - 1) / 2)
    slot = y % rows
    for dy in range(min(reach, rows // 2) + 1):
        below, above = slot + dy, slot - dy
        below, above = below - rows if below >= rows else below, above + rows if above < 0 else above
        count = _row(spans, steps, edge, size, dy, reach_x, shape, cut_y, cut_x)
        _visit_row(sums, lanes, spans, steps, count, below * stride + start, gather)
        if dy == 0:
            continue
        if shape is not None:  # a round disc is the same above and below
            count = _row(spans, steps, edge, size, -dy, reach_x, shape, cut_y, cut_x)
        _visit_row(sums, lanes, spans, steps, count, above * stride + start, gather)


@_jit
def _finish_row(sums, start, pad, light_sum, weight_sum):
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
def _load_row(sums, start, pad, values):
    """Sums of a row of values from each column to the end; the padding before the first holds the whole sum."""
    red = green = blue = 0.0
    for x in range(values.shape[1] - 1, -pad - 1, -1):
        if x >= 0:
            red, green, blue = red + values[0, x], green + values[1, x], blue + values[2, x]
        i = start + (pad + x) * LANES
        sums[i], sums[i + 1], sums[i + 2] = red, green, blue


@_jit
def _ring(radius):
    """Rows of the ring that holds all that one source row can reach, columns of padding, and scratch for spans."""
    height, width = radius.shape
    largest = 0.0
    for row in radius:
        for value in row:
            largest = max(largest, abs(value))
    far, pad = min(int(largest) + 1, height - 1), min(int(largest) + 1, width - 1)
    stride = (width + 2 * pad + 1) * LANES
    spans, steps = np.empty((2 * pad + 2, 2), np.int64), np.empty(2 * pad + 2)
    return far, pad, stride, np.zeros((2 * far + 1) * stride), spans, steps


@_jit
def scatter_rows(light, radius, edge, shape, first, last, light_sum, weight_sum):
    """Rows ``first`` to ``last`` of the sums, from every source that reaches them.

    Args:
        light: ``(3, H, W)``.
        radius: ``(H, W)``, signed.
        edge: ``EDGE``.
        shape: None for a round opening; or the polygon's ratio by offset, the smallest ratio, and the cat-eye.
        first: First row to make.
        last: Row after the last one.
        light_sum: ``(3, H, W)``, written.
        weight_sum: ``(H, W)``, written.
    """
    height, width = radius.shape
    far, pad, stride, sums, spans, steps = _ring(radius)
    rows, lanes = 2 * far + 1, np.empty(LANES)
    for y in range(max(0, first - far), last + far):
        for x in range(width if y < height else 0):
            lanes[3] = 1.0 / (radius[y, x] ** 2 + AREA_OFFSET)
            lanes[0], lanes[1], lanes[2] = (
                light[0, y, x] * lanes[3],
                light[1, y, x] * lanes[3],
                light[2, y, x] * lanes[3],
            )
            _visit(sums, lanes, spans, steps, edge, shape, radius, y, x, (x + pad) * LANES, rows, stride, False)
        # No later source reaches row y - far.
        start = (y + far + 1) % rows * stride
        if first <= y - far < last:
            _finish_row(sums, start, pad, light_sum[:, y - far], weight_sum[y - far])
        sums[start : start + stride] = 0.0


@_jit
def gather_rows(grad, radius, edge, shape, first, last, result):
    """Rows ``first`` to ``last`` of the adjoint of ``scatter_rows``: what each source's disc holds of ``grad``.

    Args:
        grad: ``(3, H, W)``, gradient with respect to ``light_sum``.
        radius, edge, shape, first, last: As in ``scatter_rows``.
        result: ``(3, H, W)``, gradient with respect to ``light``, written.
    """
    height, width = radius.shape
    far, pad, stride, sums, spans, steps = _ring(radius)
    rows, lanes = 2 * far + 1, np.empty(LANES)
    for ahead in range(max(0, first - far), last + far):
        start = ahead % rows * stride
        sums[start : start + stride] = 0.0
        if ahead < height:
            _load_row(sums, start, pad, grad[:, ahead])
        y = ahead - far
        for x in range(width if first <= y < last else 0):
            lanes[:] = 0.0
            _visit(sums, lanes, spans, steps, edge, shape, radius, y, x, (x + pad) * LANES, rows, stride, True)
            scale = 1.0 / (radius[y, x] ** 2 + AREA_OFFSET)
            result[0, y, x], result[1, y, x], result[2, y, x] = lanes[0] * scale, lanes[1] * scale, lanes[2] * scale


def _shape(aperture: Aperture, reach: int, height: int, width: int) -> tuple[np.ndarray, float, float] | None:
    """What ``scatter_rows`` wants to know of an opening; rows and columns of the table count back from its end."""
    if aperture.blades == 0 and aperture.cat_eye == 0:
        return None
    far_y, far_x = min(reach, height - 1), min(reach, width - 1)
    offset_y, offset_x = (np.roll(np.arange(-far, far + 1), -far) for far in (far_y, far_x))
    ratio = polygon_ratio(torch.from_numpy(offset_y)[:, None], torch.from_numpy(offset_x), aperture).numpy()
    smallest = math.cos(math.pi / aperture.blades) if aperture.blades else 1.0
    return ratio, smallest, aperture.cat_eye


def _run(
    rows_of_one: Callable[..., None], values: Tensor, radius: Tensor, aperture: Aperture, out: list[Tensor]
) -> None:
    """Run a compiled function over all images, each in as many bands of rows as torch has threads."""
    height, width = radius.shape[-2:]
    shape = _shape(aperture, int(radius.abs().max()) + 1, height, width)
    threads = torch.get_num_threads()
    edges = np.linspace(0, height, min(threads, height) + 1).astype(int).tolist()
    sources, radii, results = values.numpy(), radius.numpy(), [tensor.numpy() for tensor in out]
    jobs = [
        (sources[b], radii[b, 0], EDGE, shape, first, last, *(result[b] for result in results))
        for b in range(len(radii))
        for first, last in itertools.pairwise(edges)
    ]
    if threads == 1:
        for job in jobs:
            rows_of_one(*job)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda job: rows_of_one(*job), jobs):
            pass


def scatter(light_B3HW: Tensor, radius_B1HW: Tensor, aperture: Aperture) -> tuple[Tensor, Tensor]:
    """As ``functional.bokeh.scatter_discs`` on the CPU, float32 or float64, without autograd."""
    light, radius = light_B3HW.contiguous(), radius_B1HW.contiguous()
    light_sum, weight_sum = torch.empty_like(light), torch.empty_like(radius)
    _run(scatter_rows, light, radius, aperture, [light_sum, weight_sum[:, 0]])
    return light_sum, weight_sum


def gather(grad_B3HW: Tensor, radius_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Gradient of ``scatter`` with respect to its light, from that of its light sum."""
    grad, radius = grad_B3HW.contiguous(), radius_B1HW.contiguous()
    result = torch.empty_like(grad)
    _run(gather_rows, grad, radius, aperture, [result])
    return result
