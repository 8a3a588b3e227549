"""Bayes-optimal decomposition of low-rank tensors by message passing, with its theory beside it."""

from __future__ import annotations

__all__: list[str] = []
