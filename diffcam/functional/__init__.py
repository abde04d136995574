"""Pure functions on tensors, each with the equation it computes, in modules by subject; they need torch alone."""

from diffcam.functional import (
    blur_stack,
    bokeh,
    deconvolution,
    defocus_fit,
    flow,
    frame,
    occlusion,
    sharpness,
    stacking,
    tokens,
    upsampling,
)

__all__ = ["blur_stack", "bokeh", "deconvolution", "defocus_fit", "flow", "frame"]
__all__ += ["occlusion", "sharpness", "stacking", "tokens", "upsampling"]
