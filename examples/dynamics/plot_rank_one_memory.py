r"""
The smallest memory that can be solved
======================================

Tanh units with the weights :math:`W = g\, s s^T / N` store one pattern s. A fixed point is
:math:`h = \kappa s` with :math:`\kappa = \tanh(g \kappa)`, and a perturbation along s is multiplied
by :math:`g (1 - \kappa^2)` in each step: equation (D26) of the theory page. Here both are found by
search, in a network that the search knows nothing about.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from tractable import plot
from tractable.core.seeds import generator
from tractable.dynamics import find_points
from tractable.studies.dynamics.dynamics_rank_one import memory_overlap

N_UNITS = 64
random = generator(0)
pattern = torch.randint(0, 2, (N_UNITS,), generator=random) * 2.0 - 1
along = torch.rand(256, 1, generator=random) * 2.4 - 1.2
starts = along * pattern + 0.1 * torch.randn(256, N_UNITS, generator=random)

# %%
# Fixed points at each gain, with the stability of each. The signs of det(I - J) over all fixed
# points of a tanh network add up to +1: `index_sum` tells whether some are missing. (At g = 1
# itself the three are one, degenerate and hard to find.)
network = nn.RNN(1, N_UNITS, bias=False)
gains = np.array([0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0])
found = []
for gain in gains:
    with torch.no_grad():
        network.weight_hh_l0.copy_(gain * torch.outer(pattern, pattern) / N_UNITS)
    points = find_points(network, starts, kind="root")
    overlap = points.state @ pattern.double() / N_UNITS
    tau = points.modes().tau[:, 0]
    for kappa, time, stability in zip(overlap, tau, points.stability, strict=True):
        found.append((gain, float(kappa), float(time), stability == "stable"))
    print(f"g = {gain:.2f}: {len(points)} fixed points, index sum {points.index_sum:+d}")

# %%
# Theory as lines, what was found as markers. At g = 1 the memory is lost: its time constant there
# is infinite.
g, kappa, time, stable = (np.array(column) for column in zip(*found, strict=True))
fine = np.linspace(0.5, 3.0, 1001)
theory = memory_overlap(fine)
with np.errstate(divide="ignore"):
    forgets = 1 / np.abs(np.log(fine * (1 - theory**2)))
outer = stable & (kappa >= -1e-6)

plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
for sign in (1, -1):
    plot.theory(left, fine, sign * theory, color="C0", label="theory" if sign > 0 else "_")
left.plot(fine[fine > 1], 0 * fine[fine > 1], ":", color="C1", label="theory, unstable")
plot.measurement(left, g[stable], kappa[stable], color="C0", label="found, stable")
plot.measurement(left, g[~stable], kappa[~stable], color="C1", mfc="w", label="found, unstable")
left.set(xlabel="gain g", ylabel=r"overlap with the pattern, $\kappa$")
left.legend(loc="center right", bbox_to_anchor=(1, 0.68))
plot.theory(right, fine, forgets)
plot.measurement(right, g[outer], time[outer], label="found")
right.set(xlabel="gain g", ylabel="time constant (steps)", ylim=(0, 12))
right.legend()
plt.show()
