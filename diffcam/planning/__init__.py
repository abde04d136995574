"""What training and refocusing cost, counted before anything is loaded: operations and memory."""

from diffcam.planning.memory import MemoryPlan, MetaStep, click_flops, click_memory, plan_memory

__all__ = ["MemoryPlan", "MetaStep", "click_flops", "click_memory", "plan_memory"]
