r"""
A silent neuron learns when to fire
===================================

One neuron, a hundred inputs that repeat the same spikes every half second, five times at which it
should fire. The rule (P13) of the theory page changes each weight by error times eligibility; no
step of the past is stored.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.spiking import RMaxProp, SpikeEvents, SpikingNet, SuperSpike, learn, poisson_frozen
from tractable.spiking.plots import plot_spike_times, plot_voltage

WANTED = [50.0, 150.0, 250.0, 350.0, 450.0]
inputs = poisson_frozen(100, 10.0, 500.0, seed=2).raster()
target = SpikeEvents(WANTED, [0] * 5, 1, 500.0).raster()

# %%
# The initial weights keep the potential below the threshold: learning starts from silence.
net = SpikingNet.of_sizes(100, 1, w0=15.0, seed=2)
before = net.simulate(inputs).layers[0].v[:, 0, 0].numpy()
trials, times = [], []


def watch(k, step):
    """Keep the output spikes of every trial."""
    fired = np.flatnonzero(step.output.spikes[:, 0, 0].numpy()) * net.dt
    trials.extend([k] * len(fired))
    times.extend(fired)


history = learn(
    SuperSpike(net), lambda k: (inputs, target), 300, RMaxProp(net.parameters()), callback=watch
)
print(f"cost: {history.cost[0]:.2f} spikes before, {history.cost[-20:].mean():.2f} after")

# %%
# Output spikes of every trial: scattered at first, then on the targets.
plt.style.use(plot.STYLE)
figure, ax = plt.subplots(figsize=(6.0, 3.8))
plot_spike_times(trials, times, WANTED, ax=ax)
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %%
# The voltage before and after.
figure, axes = plt.subplots(2, 1, figsize=(6.4, 4.4), sharex=True)
after = net.simulate(inputs).layers[0].v[:, 0, 0].numpy()
for ax, v, label in zip(axes, (before, after), ("before", "after"), strict=True):
    plot_voltage(v, target_times_ms=WANTED, ax=ax, label=label)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()
