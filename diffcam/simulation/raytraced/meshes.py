"""Triangle meshes of the things in ray-traced scenes; lengths in metres, x to the right, y up, depth is -z."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from diffcam.simulation.draws import Draws
from diffcam.simulation.raytraced.raytracer import Mesh

Point = tuple[float, float, float]


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.places for mesh in meshes]),
    )


def grid(points: np.ndarray, repeats: tuple[float, float] = (1.0, 1.0)) -> Mesh:
    """A sheet through points (rows, columns, 3); the texture fills it ``repeats`` times along rows and columns."""
    rows, columns = points.shape[:2]
    number = np.arange(rows * columns).reshape(rows, columns)
    first, right, below, across = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = np.stack([np.stack([first, below, across], -1), np.stack([first, across, right], -1)]).reshape(-1, 3)
    down, along = np.meshgrid(np.linspace(0, repeats[0], rows), np.linspace(0, repeats[1], columns), indexing="ij")
    return Mesh(points.reshape(-1, 3), faces, np.stack([along, down], -1).reshape(-1, 2))


def wall(depth: float, half_width: float, half_height: float, yaw: float) -> Mesh:
    """An upright rectangle before the camera, turned about its middle by ``yaw`` radians."""
    x, y = np.meshgrid((-half_width, half_width), (half_height, -half_height))
    return grid(np.stack([x * math.cos(yaw), y, x * math.sin(yaw) - depth], -1))


def floor(height: float, depth: float, half_width: float, tile: float) -> Mesh:
    """A horizontal rectangle from the camera to a depth, with the texture once every ``tile`` metres."""
    x, z = np.meshgrid((-half_width, half_width), (-depth, 0.0))
    return grid(np.stack([x, np.full_like(x, height), z], -1), (depth / tile, 2 * half_width / tile))


def crate(foot: Point, size: Sequence[float], yaw: float) -> Mesh:
    """A box on its foot point, of a width, height and thickness; every side shows the whole texture."""
    width, height, thickness = size
    right = np.array([math.cos(yaw), 0, -math.sin(yaw)]) * width / 2
    ahead = np.array([math.sin(yaw), 0, math.cos(yaw)]) * thickness / 2
    up = np.array([0, height, 0])
    corner = {(i, j): np.array(foot) + i * right + j * ahead for i in (-1, 1) for j in (-1, 1)}
    around = [(-1, 1), (1, 1), (1, -1), (-1, -1), (-1, 1)]
    sides = [
        np.array([[corner[a] + up, corner[b] + up], [corner[a], corner[b]]]) for a, b in itertools.pairwise(around)
    ]
    lid = np.array([[corner[-1, -1], corner[1, -1]], [corner[-1, 1], corner[1, 1]]]) + up
    return merge([grid(side) for side in [*sides, lid]])


def vase(foot: Point, height: float, radii: np.ndarray) -> Mesh:
    """A body of revolution on its foot point; ``radii`` in metres from top to bottom."""
    angle = np.linspace(0, 2 * math.pi, 41)
    ring = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)
    rise = np.linspace(height, 0, len(radii))[:, None, None] * np.array([0.0, 1.0, 0.0])
    return grid(np.array(foot) + rise + radii[:, None, None] * ring)


def stick(path: np.ndarray, radii: np.ndarray) -> Mesh:
    """A round bar along points (n, 3) that is not parallel to x everywhere."""
    along = np.gradient(path, axis=0)
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, (0.31, 0.17, 0.94))  # a direction that no bar of a scene runs in
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    angle = np.linspace(0, 2 * math.pi, 9)[:, None]
    ring = np.cos(angle) * side[:, None] + np.sin(angle) * np.cross(along, side)[:, None]
    return grid(path[:, None] + radii[:, None, None] * ring, (max(1.0, len(path) / 4), 1.0))


def leaf(root: np.ndarray, forward: np.ndarray, side: np.ndarray, length: float, bend: float) -> Mesh:
    """A pointed blade from its root along ``forward``, drooping by ``bend`` lengths; both directions of length 1."""
    along = np.linspace(0, 1, 9)
    half = 0.24 * np.sin(along**0.8 * math.pi)
    middle = root + length * (along[:, None] * forward - bend * along[:, None] ** 2 * np.array([0, 1, 0]))
    across = length * half[:, None] * side
    return grid(np.stack([middle - across, middle + across], 1))


def sprig(draws: Draws, start: np.ndarray, end: np.ndarray, leaves: int, length: float) -> Mesh:
    """A twig between two points with leaves of about a length, turned every way."""
    along = np.linspace(0, 1, 12)[:, None]
    bow = draws.uniforms((1, 3), -0.25, 0.25) * np.linalg.norm(end - start)
    path = start + (end - start) * along + bow * np.sin(along * math.pi)
    parts = [stick(path, np.linspace(0.035, 0.012, 12) * length * 2)]
    for _ in range(leaves):
        forward, side = draws.normals((3,)), draws.normals((3,))
        forward = forward / np.linalg.norm(forward)
        side = side - forward * (side @ forward)
        side = side / np.linalg.norm(side)
        root = path[draws.integer(1, 11)]
        parts.append(leaf(root, forward, side, length * draws.uniform(0.6, 1.3), draws.uniform(0.0, 0.4)))
    return merge(parts)


def fence(draws: Draws, foot: Point, width: float, height: float, yaw: float) -> Mesh:
    """Upright bars joined by two rails, its middle on the foot point."""
    bars, right = draws.integer(5, 12), np.array([math.cos(yaw), 0, math.sin(yaw)])
    radius = width / bars * draws.uniform(0.05, 0.16)
    middle, up, ends = np.array(foot), np.array([0.0, height, 0.0]), np.array([-0.5, 0.5])[:, None]
    parts = [
        stick(np.array([middle + place * right, middle + place * right + up]), np.full(2, radius))
        for place in (np.arange(bars) + 0.5 - bars / 2) * width / bars
    ]
    for share in (draws.uniform(0.15, 0.3), draws.uniform(0.65, 0.85)):
        parts.append(stick(middle + share * up + ends * width * right, np.full(2, radius * 0.8)))
    return merge(parts)


def grass(draws: Draws, foot: Point, width: float, height: float) -> Mesh:
    """Thin bent blades that rise around the foot point."""
    blades, rise = [], np.linspace(0, 1, 8)[:, None]
    for x, z, bend, tall, thick, turn in draws.uniforms((draws.integer(18, 45), 6)):
        root = np.array(foot) + np.array([(x - 0.5) * width, 0, (z - 0.5) * 0.4 * width])
        length, angle = height * (0.5 + 0.5 * tall), math.pi * turn
        lean = np.array([math.cos(7 * angle), 0, 0.3 * math.sin(7 * angle)]) * (0.1 + 0.6 * bend) * length
        middle = root + rise * np.array([0, length, 0]) + rise**2 * lean
        across = (0.008 + 0.02 * thick) * height * (1 - rise**2) * np.array([math.cos(angle), 0, math.sin(angle)])
        blades.append(grid(np.stack([middle - across, middle + across], 1)))
    return merge(blades)
