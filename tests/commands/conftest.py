"""Photos and a small edition, as the tests of the simulation and of the benchmark have them."""

from tests.benchmark.conftest import edition, psnr_fixture, shard
from tests.simulation.conftest import photo_folder

__all__ = ["edition", "photo_folder", "psnr_fixture", "shard"]
