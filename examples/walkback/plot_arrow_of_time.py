r"""
When a network learns the arrow of time
=======================================

A process that turns in a plane runs differently backward. A deep linear network that learns to
predict its next state learns the singular modes of the map one after another. The entropy
production of what it has learned says how much of the arrow of time it has: nothing at first,
then a part with the first mode of the plane, the rest with the second.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.linear import ModeDynamics, effective_init
from tractable.walkback import linear_entropy_production

# %%
# The process: s' = A s + noise, with the noise that keeps the states white. A turns a plane by
# 0.7 and scales its axes by 0.8 and 0.35.
a, b, angle = 0.8, 0.35, 0.7
turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
A = np.diag([a, b]) @ turn
D = np.eye(2) - A @ A.T
print(f"the process produces {linear_entropy_production(A, D):.3f} nats per step")

# %%
# A network with one hidden layer, trained by gradient descent from small weights; the theory of
# its modes from the same start.
task = ModeDynamics.from_correlations(A)
trained = task.simulate(
    0.02, 2000, seeds=1, init="gaussian", n_hidden=32, init_std=1e-4, record_at=range(0, 2001, 40)
)
start = effective_init(A, *(layer[0, 0] for layer in trained.weights))
theory = ModeDynamics.from_correlations(A, init_strength=start)

fine = np.linspace(0, trained.t[-1], 200)
figure, ax = plot.new(size=(5.8, 3.6))
plot.theory(ax, fine, [linear_entropy_production(one, D) for one in theory.map(fine)])
plot.measurement(
    ax, trained.t, [linear_entropy_production(one, D) for one in trained.map()[0]],
    label="trained network", ms=4,
)  # fmt: skip
first = (a * np.sin(angle)) ** 2 * (1 - b**2) / (1 - a**2)
ax.axhline(first, color="0.6", lw=0.8, ls=":", label="first mode alone")
ax.set(xlabel="time, steps x learning rate", ylabel="entropy production, nats/step")
ax.legend(loc="upper left")
plt.show()
