"""LightningModules, and what they take."""

from diffcam.tasks.defocus import DefocusTask
from diffcam.tasks.muon import Muon
from diffcam.tasks.refocus import Losses, RefocusTask
from diffcam.tasks.sharding import ShardedStrategy
from diffcam.tasks.stacking import SharpnessWeighting, StackingConstraint
from diffcam.tasks.stopping import StoppingTask

__all__ = ["DefocusTask", "Losses", "Muon", "RefocusTask", "ShardedStrategy", "SharpnessWeighting"]
__all__ += ["StackingConstraint", "StoppingTask"]
