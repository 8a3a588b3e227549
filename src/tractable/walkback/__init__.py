"""Variational Walkback: a learned transition operator, its likelihood and its irreversibility."""

__all__: list[str] = []
