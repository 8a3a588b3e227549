r"""
Message passing against alternating least squares
=================================================

The error of the tensor over the noise: at mild noise both find the same direction, and shrinkage
makes the difference; at high noise least squares loses the signal.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.tensors import (
    Gaussian,
    SpikedTensor,
    amp,
    baselines,
    relative_error,
    state_evolution,
)
from tractable.tensors.cp import cp_tensor
from tractable.tensors.plots import plot_against_noise

noises, shape, prior = np.array([0.05, 0.15, 0.25]), (60, 60, 60), Gaussian(0.4)
errors = {"message passing": [], "ALS, SVD start": []}
for noise in noises:
    samples = [
        SpikedTensor(shape, 1, prior, noise).sample(i, moment_matched=True) for i in range(3)
    ]
    fits = [amp(s.Y, 1, priors=prior, noise=noise, units="model") for s in samples]
    least = [baselines.als(s.Y, 1, max_iter=50) for s in samples]
    errors["message passing"].append(
        [relative_error(f.reconstruct(), s.W) for f, s in zip(fits, samples, strict=True)]
    )
    errors["ALS, SVD start"].append(
        [relative_error(cp_tensor(*f), s.W) for f, s in zip(least, samples, strict=True)]
    )

# %%
# State evolution predicts the error of message passing: 1 minus the product of the overlaps.
fine = np.linspace(0.05, 0.25, 21)
theory = [1 - np.prod(state_evolution(shape, prior, d).overlap[:, 0, 0] / 1.16) for d in fine]

plt.style.use(plot.STYLE)
figure = plot_against_noise(
    noises, errors, theory_noise=fine, theory=theory, quantity="relative squared error"
)
plt.show()
