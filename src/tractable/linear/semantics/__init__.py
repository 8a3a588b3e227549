"""Semantic development: what a child, or a deep linear network, believes on the way.

Source: Saxe, McClelland, Ganguli 2019, arXiv:1810.10531.
"""

from __future__ import annotations

from tractable.linear.semantics import structures
from tractable.linear.semantics.categories import (
    CategoryTypicality,
    category_typicality,
    prototypes,
    typicality,
)
from tractable.linear.semantics.coherence import Coherence, category_coherence, coherence
from tractable.linear.semantics.conserved import Conservation, conservation
from tractable.linear.semantics.differentiation import (
    Differentiation,
    class_separation,
    differentiation_order,
    mds_trajectory,
    separation_times,
)
from tractable.linear.semantics.hierarchy import (
    TreeSpectrum,
    hierarchical,
    leaf_similarity,
    tree_spectrum,
    ultrametric_features,
)
from tractable.linear.semantics.illusions import Illusions, bump, false_belief_time, illusions
from tractable.linear.semantics.induction import project_item, project_property
from tractable.linear.semantics.structures import Structure, gaussian_structure
from tractable.linear.semantics.tables import ItemTable, eight_things, read_items, toy_items

__all__ = [
    "CategoryTypicality",
    "Coherence",
    "Conservation",
    "Differentiation",
    "Illusions",
    "ItemTable",
    "Structure",
    "TreeSpectrum",
    "bump",
    "category_coherence",
    "category_typicality",
    "class_separation",
    "coherence",
    "conservation",
    "differentiation_order",
    "eight_things",
    "false_belief_time",
    "gaussian_structure",
    "hierarchical",
    "illusions",
    "leaf_similarity",
    "mds_trajectory",
    "project_item",
    "project_property",
    "prototypes",
    "read_items",
    "separation_times",
    "structures",
    "toy_items",
    "tree_spectrum",
    "typicality",
    "ultrametric_features",
]
