"""The cases without a model."""

PARTS = {}
