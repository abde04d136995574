"""Scenes from photographs and generated pictures, with disparity from maps or an estimator."""
