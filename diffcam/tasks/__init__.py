"""LightningModules, and what they take."""

from diffcam.tasks.deblurring import DeblurTask
from diffcam.tasks.defocus import DefocusTask
from diffcam.tasks.lens_pairs import LensPairData
from diffcam.tasks.muon import Muon
from diffcam.tasks.refocus import Losses, RefocusTask
from diffcam.tasks.sharding import ShardedStrategy
from diffcam.tasks.stacking import SharpnessWeighting, StackingConstraint

__all__ = ["DeblurTask", "DefocusTask", "LensPairData", "Losses", "Muon", "RefocusTask", "ShardedStrategy"]
__all__ += ["SharpnessWeighting", "StackingConstraint"]
