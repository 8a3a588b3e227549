r"""
Message passing, predicted sweep by sweep
=========================================

State evolution, equation (T18) of the theory page, says how good the factors are after each sweep,
before there are any data. Long modes are recovered worse: each of their entries is seen in fewer
entries of the array.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable.tensors import SpikedTensor, amp, state_evolution
from tractable.tensors.plots import plot_evolution

SHAPE, PRIOR, NOISE, N_DRAWS = (60, 120, 240), "gaussian(0.4)", 0.3, 4
theory = state_evolution(SHAPE, PRIOR, NOISE)

# %%
# Draw tensors whose factors have exactly the moments of the prior, and follow the overlaps.

model = SpikedTensor(SHAPE, priors=PRIOR, noise=NOISE)
runs = []
for seed in range(N_DRAWS):
    sample = model.sample(seed, moment_matched=True)
    truth = [x[:, 0] for x in sample.factors]
    overlaps = [theory.M[0, :, 0, 0]]

    def follow(state, truth=truth, overlaps=overlaps):
        """Keep the overlaps of a sweep."""
        estimate = [x[0, :, 0] for x in state["factors"]]
        pairs = zip(estimate, truth, strict=True)
        overlaps.append(np.array([float(f @ x) / len(x) for f, x in pairs]))

    amp(
        sample.Y,
        1,
        priors=model.priors,
        noise=NOISE,
        units="model",
        init="prior",
        init_scale=0.0,
        callback=follow,
    )
    runs.append(np.stack(overlaps))

length = max(len(run) for run in runs)
runs = np.stack([np.pad(run, ((0, length - len(run)), (0, 0)), "edge") for run in runs])

# %%
# Lines are theory, markers the mean and the standard deviation over draws.

labels = [f"$N_{a + 1}$ = {size}" for a, size in enumerate(SHAPE)]
plot_evolution(theory.M[:, :, 0, 0], runs, labels=labels)
plt.show()
