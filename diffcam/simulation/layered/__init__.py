"""Scenes of layered surfaces with exact disparity."""
