r"""
Easy, hard, impossible
======================

At which noise can a rank-one signal be found in a cube of order 3? All fixed points of state
evolution lie on one explicit curve, equation (T22) of the theory page, and its turning points are
the boundaries of the phases. The prior mean :math:`\mu` decides how wide the hard phase is, in
which a better estimate exists than the one that message passing finds.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.tensors import branch_overlaps, fixed_point_curve, phase_diagram, thresholds
from tractable.tensors.plots import plot_overlap_noise, plot_phase_map

# %%
# One column of the map: overlap against noise at the prior mean 0.2.

limits = thresholds((1, 1, 1), "gaussian(0.2)")
noise = np.linspace(0.01, 0.36, 300)
found, best = branch_overlaps(fixed_point_curve((1, 1, 1), "gaussian(0.2)"), noise)
levels = {r"$\Delta_{alg}$": limits.alg, r"$\Delta_{IT}$": limits.it}
with plot.style():
    figure, ax = plt.subplots(figsize=(5.6, 3.8))
    plot_overlap_noise(noise, found[:, 0], best[:, 0], levels=levels, ax=ax)

# %%
# The map. Beyond :math:`\mu = 1/\sqrt 8` nothing jumps.

means, noises = np.linspace(0, 0.5, 40), np.linspace(0.01, 0.55, 40)
diagram = phase_diagram(("mean", means), ("noise", noises))
with plot.style():
    figure, ax = plt.subplots(figsize=(5.6, 4.2))
    plot_phase_map(
        means,
        noises,
        diagram.phase,
        alg=diagram.alg[0],
        it=diagram.it[0],
        dyn=diagram.dyn[0],
        ax=ax,
    )
plt.show()
