"""Deep linear networks, solved: learning, generalization, transfer, semantic development.

Sources: Saxe, McClelland, Ganguli 2019, arXiv:1810.10531; Lampinen, Ganguli 2019, arXiv:1809.10374.
"""

from __future__ import annotations

from tractable.linear.strengths import (
    UnequalLayers,
    deep_strength,
    learning_time,
    two_layer_product,
    unequal_layers,
)

__all__ = [
    "UnequalLayers",
    "deep_strength",
    "learning_time",
    "two_layer_product",
    "unequal_layers",
]
