"""LightningModules."""

from diffcam.tasks.refocus import Losses, RefocusTask

__all__ = ["Losses", "RefocusTask"]
