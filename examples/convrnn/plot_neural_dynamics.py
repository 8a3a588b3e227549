"""
Neurons in time, up to their noise
==================================

One map from features to neurons serves all time bins: features that move predict the dynamics of
neurons, the same features averaged over time do not.
"""

# %%
# Neurons that read a few oscillating features each. Their reliability is known.

import matplotlib.pyplot as plt

from tractable import plot
from tractable.vision.convrnn import SyntheticNeurons, ar2_latents, neural_fit
from tractable.vision.convrnn.plots import draw_predictivity

features = ar2_latents(200, 10, 14, drive=0.3, decay=0.95, seed=0)  # images x features x bins
neurons = SyntheticNeurons(n_neurons=20, rate_hz=200.0).record(features, n_repeats=12, seed=1)

# %%
# The same neurons, predicted with one map for all bins.

curves = {}
for name, model in (("features that move", features), ("their mean", features.mean(2))):
    fit = neural_fit(model, neurons.recordings, mapping="shared", splits=4, progress=False)
    curves[name] = (fit.median(), fit.interval(n_boot=300))

figure, ax = plot.new(size=(5.4, 3.6))
draw_predictivity(fit.time_ms, curves, ax=ax)
ax.set(ylabel="corrected correlation", xlabel="time (ms)")
ax.legend(loc="lower center", fontsize=8)

plt.show()
