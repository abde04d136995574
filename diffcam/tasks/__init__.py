"""LightningModules, and what they take."""

from diffcam.tasks.muon import Muon
from diffcam.tasks.refocus import Losses, RefocusTask
from diffcam.tasks.stacking import SharpnessWeighting, StackingConstraint

__all__ = ["Losses", "Muon", "RefocusTask", "SharpnessWeighting", "StackingConstraint"]
