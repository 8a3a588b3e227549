"""Convolutional recurrent graphs with bypassing and gating, searched and held against neurons."""

__all__: list[str] = []
