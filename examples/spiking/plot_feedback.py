r"""
What must hidden neurons hear of the error?
===========================================

The same task and the same net of eight hidden neurons, with symmetric, random and uniform feedback.
The cosine of each update with the full surrogate gradient says how much of the gradient the pathway
carries; the cost says whether that is enough.
"""

import matplotlib.pyplot as plt

from tractable import plot
from tractable.spiking import (
    Random,
    RMaxProp,
    SpikeEvents,
    SpikingNet,
    SuperSpike,
    Symmetric,
    Uniform,
    gradient_angle,
    learn,
    poisson_frozen,
)
from tractable.spiking.plots import plot_learning

inputs = poisson_frozen(100, 10.0, 500.0, seed=5).raster()
target = SpikeEvents([100.0, 250.0, 400.0], [0] * 3, 1, 500.0).raster()
curves, cosines = {}, {}
for name, feedback in (
    ("symmetric", Symmetric()),
    ("random", Random(seed=3)),
    ("uniform", Uniform()),
):
    net = SpikingNet.of_sizes(100, 8, 1, w0=[40.0, 50.0], seed=3)
    cosines[name] = gradient_angle(net, inputs, target, feedback)[0]
    history = learn(
        SuperSpike(net, feedback=feedback), lambda k: (inputs, target), 200,
        RMaxProp(net.parameters()), schedule=lambda k: 1.0 if k < 150 else 0.1,
    )  # fmt: skip
    curves[f"{name} (cosine {cosines[name]:.2f})"] = history.cost

# %%
# Learning curves; in brackets the cosine of the hidden layer's first update with the gradient.
plt.style.use(plot.STYLE)
figure, ax = plt.subplots(figsize=(6.0, 3.8))
plot_learning(curves, 500.0, initial=3.0, ax=ax)
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()
