r"""
A chain that turns, and what training does to it
=================================================

A noisy map of the plane that rotates its state is out of equilibrium: it dissipates, and
probability flows in circles. Learning to walk back takes that away. The theory page has the
entropy production of a rotation as (W15), the current as (W29), and training as (W22).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from tractable import plot
from tractable.walkback import (
    damped_reversal,
    entropy_production,
    probability_current,
    rotation_entropy_production,
    rotation_operator,
)
from tractable.walkback.plots import current_quiver

# %%
# The current vanishes in equilibrium; here it circulates. The drift E[s' - s] points inward and
# would not vanish in equilibrium either.
turning = rotation_operator(0.8, 0.4, noise=0.36)
random = torch.Generator().manual_seed(0)
start = torch.randn(2000, 2, generator=random, dtype=torch.float64)
field = probability_current(
    turning, bounds=((-3, 3), (-3, 3)), bins=20, start=start, num_steps=100, generator=random
)
figure, axes = plot.new(1, 2, size=(9.2, 4.0))
for ax, what in zip(axes, ("current", "drift"), strict=True):
    current_quiver(
        field.x_edges, field.y_edges, field.density, getattr(field, what), what=what, every=2, ax=ax
    )
plt.show()

# %%
# Entropy production against the angle: exact, from densities, and the lower bound of the
# uncertainty relation, which needs no density.
angles = np.linspace(0.0, 1.2, 5)
found: dict[str, list] = {"density": [], "tur": []}
for theta in angles:
    operator = rotation_operator(0.8, float(theta), noise=0.36)
    for method, kept in found.items():
        kept.append(
            entropy_production(
                operator, start=start, burn_in=10, num_steps=20, num_chains=1000, method=method,
                generator=random,
            )
        )  # fmt: skip
fine = np.linspace(0, 1.2, 100)
figure, ax = plot.new(size=(5.4, 3.6))
plot.theory(ax, fine, [rotation_entropy_production(0.8, float(t)) for t in fine], label="exact")
names = {"density": "density", "tur": "uncertainty bound"}
for i, (method, label) in enumerate(names.items()):
    rate, se = ([getattr(one, key) for one in found[method]] for key in ("rate", "se"))
    plot.measurement(ax, angles, rate, error=se, label=label, color=f"C{i}")
ax.set(xlabel="angle per step, rad", ylabel="entropy production, nats/step")
ax.legend()
plt.show()

# %%
# Partial steps toward the time reversal, as gradient ascent makes them, end in detailed balance.
history = damped_reversal(rotation_operator(0.8, 0.4).A, 0.5 * np.eye(2), np.diag([1.0, 2.0]))
figure, ax = plot.new(size=(5.4, 3.4))
plot.theory(ax, np.arange(61), history.rate[:61], label="entropy production, nats/step")
plot.theory(
    ax, np.arange(61), history.distance[:61], color="C1", label="distance to the data's covariance"
)
ax.set(xlabel="iteration", yscale="log", ylabel="nats/step; units of the data²")
ax.legend()
plt.show()
