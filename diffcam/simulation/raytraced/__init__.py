"""Ray-traced scenes with exact disparity and true lens pictures."""
