"""SuperSpike: multilayer spiking networks that learn spike times online, by three local factors."""

from tractable.spiking.encode import (
    SpikeEvents,
    XorTask,
    from_image,
    latency,
    poisson_frozen,
    rate,
)
from tractable.spiking.feedback import BPTT, Fixed, Frozen, Random, Symmetric, Uniform
from tractable.spiking.files import from_tonic, iter_shd, read_ras, write_ras
from tractable.spiking.intervals import interspike_intervals, interval_variation
from tractable.spiking.layer import LayerOutput, LayerState, LIFLayer
from tractable.spiking.learn import History, learn
from tractable.spiking.loss import (
    VanRossum,
    WindowedClassification,
    WindowTarget,
    van_rossum,
    van_rossum_trace,
)
from tractable.spiking.network import NetOutput, SpikingNet
from tractable.spiking.nir_graph import from_nir, to_nir
from tractable.spiking.optimizers import RMaxProp
from tractable.spiking.params import LIFParams
from tractable.spiking.reference import gradient_angle
from tractable.spiking.rule import Heterosynaptic, RuleState, StepResult, SuperSpike
from tractable.spiking.surrogate import surrogate_derivative
from tractable.spiking.theory import (
    alpha_kernel,
    fi_curve,
    fluctuation_driven,
    kernel_autocorrelation,
    membrane_std,
    psp,
    psp_energy,
    zeta_moment,
)

__all__ = [
    "BPTT",
    "Fixed",
    "Frozen",
    "Heterosynaptic",
    "History",
    "LIFLayer",
    "LIFParams",
    "LayerOutput",
    "LayerState",
    "NetOutput",
    "RMaxProp",
    "Random",
    "RuleState",
    "SpikeEvents",
    "SpikingNet",
    "StepResult",
    "SuperSpike",
    "Symmetric",
    "Uniform",
    "VanRossum",
    "WindowTarget",
    "WindowedClassification",
    "XorTask",
    "alpha_kernel",
    "fi_curve",
    "fluctuation_driven",
    "from_image",
    "from_nir",
    "from_tonic",
    "gradient_angle",
    "interspike_intervals",
    "interval_variation",
    "iter_shd",
    "kernel_autocorrelation",
    "latency",
    "learn",
    "membrane_std",
    "poisson_frozen",
    "psp",
    "psp_energy",
    "rate",
    "read_ras",
    "surrogate_derivative",
    "to_nir",
    "van_rossum",
    "van_rossum_trace",
    "write_ras",
    "zeta_moment",
]
