r"""
A perceptual integrator, in milliseconds
========================================

A rate network in continuous time sums noisy evidence, as neurons of parietal cortex do while an
animal watches moving dots. Each of its units forgets within 100 ms; in the middle of its line of
slow points the network remembers for three seconds. The analysis speaks in units of time: the step
of the simulation drops out.
"""

# %%
# The network
# -----------
# Rates follow :math:`\tau \dot r = -r + \tanh(W r + U x + b)` with :math:`\tau` = 100 ms, in steps
# of 10 ms, for 600 ms. The evidence has a drift and white noise; the target is its integral.
import matplotlib.pyplot as plt
import torch
from torch import nn

from tractable import plot
from tractable.core.seeds import generator, seeded
from tractable.dynamics import (
    RateMap,
    collect_states,
    find_points,
    line_attractor_report,
    manifold,
    sample_starts,
)
from tractable.dynamics.plots import plot_state_space, plot_time_constants
from tractable.train import fit

TAU, DT, DURATION = 100.0, 10.0, 600.0  # ms
N_STEPS = int(DURATION / DT)


def evidence(n, seed):
    """Return n stimuli (n, T, 1) and their integrals over time, in units of 100 ms."""
    random = generator(seed)
    drift = 0.5 * torch.randn(n, 1, 1, generator=random)
    noise = torch.randn(n, N_STEPS, 1, generator=random) * (TAU / DT) ** 0.5
    stimulus = drift + 0.3 * noise
    return stimulus, stimulus.cumsum(1) * DT / TAU


class Rates(nn.Module):
    """The rate network, in Euler steps."""

    def __init__(self, n=64):
        super().__init__()
        self.recurrent = nn.Linear(n, n)
        self.stimulus = nn.Linear(1, n, bias=False)
        self.decision = nn.Linear(n, 1)
        nn.init.normal_(self.recurrent.weight, std=0.8 / n**0.5)

    def forward(self, stimulus):
        """Return the decision variable (n, T, 1)."""
        drive, rate = self.stimulus(stimulus), torch.zeros(len(stimulus), 64)
        decisions = []
        for t in range(stimulus.shape[1]):
            rate = rate + DT / TAU * (torch.tanh(self.recurrent(rate) + drive[:, t]) - rate)
            decisions.append(self.decision(rate))
        return torch.stack(decisions, 1)


def loss(model, batch):
    """Return the mean squared error of the integral at every step."""
    stimulus, integral = batch
    return (model(stimulus) - integral).square().mean()


with seeded(0):
    model = Rates()
result = fit(
    model,
    loss,
    lambda epoch: [evidence(64, 1 + epoch)],
    steps=700,
    learning_rate=5e-3,
    clip=1.0,
    device="cpu",
)
stimulus, integral = evidence(300, 0)
with torch.no_grad():
    explained = 1 - loss(model, (stimulus, integral)) / integral.square().mean()
print(f"{explained:.1%} of the integral's variance is explained")

# %%
# The analysis
# ------------
# The same weights as a map of known step: ``dt`` puts every time constant into milliseconds.
cell = RateMap(
    model.stimulus.weight.detach(),
    model.recurrent.weight.detach(),
    model.recurrent.bias.detach(),
    tau=TAU,
    dt=DT,
)
trajectory = collect_states(cell, stimulus)
starts = sample_starts(trajectory, 256, stratify=model.decision, generator=generator(0))
points = find_points(cell, starts, kind="slow", tau_c=DURATION / 2)
curve = manifold(points, readout=model.decision)
modes = points.modes(axis=curve.axis)
print(line_attractor_report(cell, trajectory, points, model.decision))
slow, next_one = (modes.tau[:, k].median() for k in (0, 1))
print(f"time constants: {slow / 1000:.1f} s, then {next_one:.0f} ms; of a unit {TAU:.0f} ms")

# %%
# The slow points lie on one curve through the states at the end of the stimulus, in the order of
# the evidence (left). One mode lasts for seconds in the middle of it, and about as long as the
# stimulus towards its ends, where rates saturate; the next ones last for 0.3 s (right).
plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6))
plot_state_space(
    trajectory.last, points.state, labels=integral[:, -1, 0] > 0, theta=curve.theta, ax=left
)
plot_time_constants(
    curve.theta, modes.tau, length=DURATION, length_label="duration of the stimulus", ax=right
)
right.set_ylabel("time constant (ms)")
plt.show()
