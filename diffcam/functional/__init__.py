"""Pure functions on tensors, each with the equation it computes; they need torch alone."""

from diffcam.functional.bokeh import boost_highlights, defocus_radius, render_bokeh_reference
from diffcam.functional.flow import (
    interpolate,
    logit_normal_timesteps,
    sampling_timesteps,
    shift_timesteps,
    velocity,
    velocity_from_clean,
)
from diffcam.functional.frame import Frame, resize
from diffcam.functional.sharpness import laplacian, laplacian_variance, luminance
from diffcam.functional.stacking import downsample_masks, sharpness_weighted_loss, stack, stack_masks, stacking_loss
from diffcam.functional.tokens import apply_rotary, focus_positions, grid_positions, patchify, rotary_table, unpatchify

__all__ = ["Frame", "apply_rotary", "boost_highlights", "defocus_radius", "downsample_masks", "focus_positions"]
__all__ += ["grid_positions", "interpolate", "laplacian", "laplacian_variance", "logit_normal_timesteps", "luminance"]
__all__ += ["patchify", "render_bokeh_reference", "resize", "rotary_table", "sampling_timesteps"]
__all__ += ["sharpness_weighted_loss", "shift_timesteps", "stack", "stack_masks", "stacking_loss", "unpatchify"]
__all__ += ["velocity", "velocity_from_clean"]
