r"""
Neurons x time x trials
=======================

Components of a generated recording: groups of neurons, their time courses, and their strength in
every trial, with two posterior standard deviations.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.tensors import amp
from tractable.tensors.plots import plot_factors

random = np.random.default_rng(0)
t = np.linspace(0, 1, 60)
time = np.exp(-((t[:, None] - [0.25, 0.5, 0.75]) ** 2) / 0.02)
neurons = random.exponential(size=(40, 3)) * (random.random((40, 3)) < 0.6)
trials = 1 + 0.4 * np.cumsum(random.normal(size=(50, 3)), 0) / 7
Y = np.einsum("ar,br,cr->abc", neurons, time, np.abs(trials))
Y += random.normal(size=Y.shape)

# %%
# The parameters of the priors and the noise are learned.
fit = amp(Y, 3, priors="nonnegative", init="spectral")
print(fit.status, f"noise variance {fit.noise_variance:.3f}")

plt.style.use(plot.STYLE)
figure = plot_factors(fit.factors, fit.std, coordinates=[None, t, None])
plt.show()
