"""
Clusters, rings and grids in a hidden layer
===========================================

Items may form groups, a circle, an order, a plane. Features drawn from such a world have the
singular vectors of its graph, equation (L23) of the theory page, and a network that learns the
features lays its items out in the same form. Nobody told it which.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.linear import ModeDynamics, mds_trajectory, structures

worlds = [
    structures.clusters(3, 4),
    structures.ring(12),
    structures.chain(12),
    structures.grid(4, 4),
]
N_FEATURES = 10_000

# %%
# Singular values of 10,000 features against the formula.
for world in worlds:
    measured = np.linalg.svd(world.features(N_FEATURES, 0).Y, compute_uv=False) ** 2 / N_FEATURES
    print(f"{world.name:9s} theory {world.spectrum()[:4].round(2)}  sample {measured[:4].round(2)}")

# %%
# Hidden similarity at the end of learning, laid out by classical scaling.
with plot.style():
    _, axes = plt.subplots(1, 4, figsize=(11, 3))
    for world, ax in zip(worlds, axes, strict=True):
        Y = world.features(N_FEATURES, 0).Y
        task = ModeDynamics.from_correlations(Y.T / (len(Y) * N_FEATURES**0.5), init_strength=1e-6)
        layout = mds_trajectory(task, [1e4])[0]
        for i, j in zip(*np.nonzero(np.triu(world.graph)), strict=True):
            ax.plot(*layout[[i, j]].T, color="0.8", lw=1, zorder=1)
        ax.plot(*layout.T, "o")
        ax.set(title=world.name, xlabel="first coordinate", ylabel="second coordinate")
        ax.set_aspect("equal", adjustable="datalim")
    plt.show()
