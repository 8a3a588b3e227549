"""Deep linear networks, solved: learning, generalization, transfer, semantic development.

Sources: Saxe, McClelland, Ganguli 2019, arXiv:1810.10531; Lampinen, Ganguli 2019, arXiv:1809.10374.
"""

from __future__ import annotations

from tractable.linear.agreement import Agreement
from tractable.linear.bulk import bulk_average, bulk_density, bulk_edges, bulk_quantile
from tractable.linear.correlations import Correlations, correlations
from tractable.linear.flow import FlowResult, balanced_flow
from tractable.linear.generalization import GeneralizationCurve, generalization_curve
from tractable.linear.mode_dynamics import ModeDynamics
from tractable.linear.noise import bulk_misfit, detection_edge, estimate_noise
from tractable.linear.semantics import (
    CategoryTypicality,
    Coherence,
    Conservation,
    Differentiation,
    Illusions,
    ItemTable,
    Structure,
    TreeSpectrum,
    category_coherence,
    category_typicality,
    coherence,
    conservation,
    differentiation_order,
    eight_things,
    gaussian_structure,
    hierarchical,
    illusions,
    mds_trajectory,
    project_item,
    project_property,
    prototypes,
    read_items,
    structures,
    toy_items,
    tree_spectrum,
    typicality,
)
from tractable.linear.shrinkage import ShrinkInfo, optimal_shrinkage
from tractable.linear.simulation import Simulation
from tractable.linear.spikes import (
    SpikeResult,
    detection_threshold,
    shrink,
    spike_forward,
    spike_inverse,
)
from tractable.linear.stopping import StoppingReport, optimal_stopping
from tractable.linear.strengths import (
    UnequalLayers,
    deep_strength,
    learning_time,
    two_layer_product,
    unequal_layers,
)
from tractable.linear.students import HeldOut, StudentCurves, train_students
from tractable.linear.teachers import (
    NoisyTask,
    TaskPair,
    aligned_tasks,
    noisy_task,
    permute_examples,
    shuffle_entries,
)
from tractable.linear.training import simulate
from tractable.linear.transfer import TransferResult, transfer_benefit, transfer_threshold
from tractable.linear.transfer_data import TransferEstimate, transfer_from_data
from tractable.linear.weights import effective_init

__all__ = [
    "Agreement",
    "CategoryTypicality",
    "Coherence",
    "Conservation",
    "Correlations",
    "Differentiation",
    "FlowResult",
    "GeneralizationCurve",
    "HeldOut",
    "Illusions",
    "ItemTable",
    "ModeDynamics",
    "NoisyTask",
    "ShrinkInfo",
    "Simulation",
    "SpikeResult",
    "StoppingReport",
    "Structure",
    "StudentCurves",
    "TaskPair",
    "TransferEstimate",
    "TransferResult",
    "TreeSpectrum",
    "UnequalLayers",
    "aligned_tasks",
    "balanced_flow",
    "bulk_average",
    "bulk_density",
    "bulk_edges",
    "bulk_misfit",
    "bulk_quantile",
    "category_coherence",
    "category_typicality",
    "coherence",
    "conservation",
    "correlations",
    "deep_strength",
    "detection_edge",
    "detection_threshold",
    "differentiation_order",
    "effective_init",
    "eight_things",
    "estimate_noise",
    "gaussian_structure",
    "generalization_curve",
    "hierarchical",
    "illusions",
    "learning_time",
    "mds_trajectory",
    "noisy_task",
    "optimal_shrinkage",
    "optimal_stopping",
    "permute_examples",
    "project_item",
    "project_property",
    "prototypes",
    "read_items",
    "shrink",
    "shuffle_entries",
    "simulate",
    "spike_forward",
    "spike_inverse",
    "structures",
    "toy_items",
    "train_students",
    "transfer_benefit",
    "transfer_from_data",
    "transfer_threshold",
    "tree_spectrum",
    "two_layer_product",
    "typicality",
    "unequal_layers",
]
