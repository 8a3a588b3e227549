"""Deep linear networks, solved: learning, generalization, transfer, semantic development.

Sources: Saxe, McClelland, Ganguli 2019, arXiv:1810.10531; Lampinen, Ganguli 2019, arXiv:1809.10374.
"""

from __future__ import annotations

from tractable.linear.bulk import bulk_average, bulk_density, bulk_edges, bulk_quantile
from tractable.linear.generalization import GeneralizationCurve, generalization_curve
from tractable.linear.noise import bulk_misfit, detection_edge, estimate_noise
from tractable.linear.shrinkage import ShrinkInfo, optimal_shrinkage
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
from tractable.linear.transfer import TransferResult, transfer_benefit, transfer_threshold
from tractable.linear.transfer_data import TransferEstimate, transfer_from_data

__all__ = [
    "GeneralizationCurve",
    "HeldOut",
    "NoisyTask",
    "ShrinkInfo",
    "SpikeResult",
    "StoppingReport",
    "StudentCurves",
    "TaskPair",
    "TransferEstimate",
    "TransferResult",
    "UnequalLayers",
    "aligned_tasks",
    "bulk_average",
    "bulk_density",
    "bulk_edges",
    "bulk_misfit",
    "bulk_quantile",
    "deep_strength",
    "detection_edge",
    "detection_threshold",
    "estimate_noise",
    "generalization_curve",
    "learning_time",
    "noisy_task",
    "optimal_shrinkage",
    "optimal_stopping",
    "permute_examples",
    "shrink",
    "shuffle_entries",
    "spike_forward",
    "spike_inverse",
    "train_students",
    "transfer_benefit",
    "transfer_from_data",
    "transfer_threshold",
    "two_layer_product",
    "unequal_layers",
]
