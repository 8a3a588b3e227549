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
from tractable.spiking.layer import LayerOutput, LayerState, LIFLayer
from tractable.spiking.learn import History, learn
from tractable.spiking.loss import VanRossum, WindowedClassification, WindowTarget, van_rossum
from tractable.spiking.network import NetOutput, SpikingNet
from tractable.spiking.optimizers import RMaxProp
from tractable.spiking.params import LIFParams
from tractable.spiking.rule import Heterosynaptic, RuleState, StepResult, SuperSpike
from tractable.spiking.surrogate import SURROGATES, surrogate_derivative
from tractable.spiking.theory import (
    alpha_kernel,
    fi_curve,
    kernel_autocorrelation,
    membrane_std,
    psp,
    psp_energy,
    zeta_moment,
)

__all__ = [
    "BPTT",
    "SURROGATES",
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
    "from_image",
    "kernel_autocorrelation",
    "latency",
    "learn",
    "membrane_std",
    "poisson_frozen",
    "psp",
    "psp_energy",
    "rate",
    "surrogate_derivative",
    "van_rossum",
    "zeta_moment",
]
