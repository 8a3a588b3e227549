"""
Eight things, learned in order
==============================

A network with one hidden layer learns what eight plants and animals can do and have. No example
says that there are plants and animals; the order in which it finds out follows from the singular
values of the table, equations (L3) and (L4) of the theory page.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.linear import (
    ModeDynamics,
    differentiation_order,
    effective_init,
    eight_things,
    illusions,
    mds_trajectory,
)
from tractable.linear.plots import (
    plot_belief,
    plot_decomposition,
    plot_development_tree,
    plot_strengths,
    plot_trajectories,
)
from tractable.linear.semantics import separation_times

table = eight_things()
task = table.dynamics()

# %%
# The table is a sum of modes: a pattern of features, a strength, a pattern of items.
with plot.style():
    plot_decomposition(table.Y, items=table.items, features=table.features)

# %%
# Networks start from small random weights. What such a start is worth in each mode is found from
# its weights; from there on theory (lines) and networks (markers) agree.
networks = task.simulate(0.02, 2200, seeds=3, init="gaussian", init_std=1e-3, n_hidden=64)
starts = [effective_init(task.cov_yx, *[W[k, 0] for W in networks.weights]) for k in range(3)]
theory = ModeDynamics.from_correlations(task.cov_yx, init_strength=np.mean(starts, 0))
with plot.style():
    _, ax = plt.subplots(figsize=(6, 3.6))
    plot_strengths(
        networks.t,
        theory.strengths(networks.t),
        t_measured=networks.t,
        measured=networks.strengths(),
        ax=ax,
    )

# %%
# Broad distinctions come first, and colors, which cut across the tree, before pine and oak.
order = differentiation_order(
    task,
    {
        "plant or animal": "ppppaaaa",
        "bird or fish": "ppppbbff",
        "tree or flower": "ttffaaaa",
        "red, yellow or neither": "nnryryyr",
    },
)
for name, time in zip(order.name, order.time, strict=True):
    print(f"{time:5.1f}  {name}")

# %%
# On the way the network believes what no example has shown: that a pine has leaves, since most
# plants have them. A shallow network has no such illusions.
t = np.linspace(0, 30, 601)
found = illusions(task, t)
print(len(found), "illusions; the deepest:", found.rows()[0])
shallow = table.dynamics(depth=1, init_strength=1e-9)
with plot.style():
    _, ax = plt.subplots(figsize=(5.6, 3.4))
    plot_belief(
        t,
        task.beliefs(t, ["has leaves"], ["pine"])[:, 0, 0],
        0.0,
        shallow=shallow.beliefs(t, ["has leaves"], ["pine"])[:, 0, 0],
        statement="pine has leaves",
        ax=ax,
    )

# %%
# The paths of the items through the hidden layer, and the tree of distinctions in time.
with plot.style():
    _, axes = plt.subplots(1, 2, figsize=(9.2, 3.8))
    frames = mds_trajectory(task, np.linspace(0.5, 30, 120))
    plot_trajectories(frames, items=table.items, groups="ppppaaaa", ax=axes[0])
    plot_development_tree(separation_times(task), items=table.items, ax=axes[1])
    plt.show()
