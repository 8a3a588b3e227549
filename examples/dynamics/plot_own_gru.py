"""
Your own GRU: what does it compute?
===================================

A GRU of 32 units sees noisy evidence, one number at a time, and says at the end which sign it had
on average. How does it remember? The analysis is 12 lines; it finds a line attractor. Any trained
``nn.RNN``, ``nn.GRU`` or ``nn.LSTM`` can take the place of this one.
"""

# %%
# A network to analyze
# --------------------
# Yours comes from a checkpoint. This one is trained here: 40 steps of evidence, a logit at the end.
import matplotlib.pyplot as plt
import torch
from torch import nn

from tractable import plot
from tractable.core.seeds import generator, seeded
from tractable.dynamics import (
    collect_states,
    find_points,
    input_effects,
    linear_check,
    manifold,
    sample_starts,
)
from tractable.dynamics.plots import plot_state_space, plot_time_constants
from tractable.train import fit

N_STEPS = 40


def evidence(n, seed):
    """Return n sequences (n, T, 1) and the sign of their mean (n,), 0 or 1."""
    random = generator(seed)
    drift = 0.3 * torch.randn(n, 1, 1, generator=random)
    noise = torch.randn(n, N_STEPS, 1, generator=random)
    return drift + noise, (drift[:, 0, 0] > 0).float()


def loss(model, batch):
    """Return the cross entropy of the logits after the last step."""
    inputs, labels = batch
    logits = model["readout"](model["gru"](inputs)[0][:, -1])[:, 0]
    return nn.functional.binary_cross_entropy_with_logits(logits, labels)


with seeded(0):
    gru, readout = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1)
model = nn.ModuleDict({"gru": gru, "readout": readout})
fit(
    model,
    loss,
    lambda epoch: [evidence(64, 1 + epoch)],
    steps=250,
    learning_rate=5e-3,
    clip=1.0,
    device="cpu",
)
inputs, labels = evidence(500, 0)
with torch.no_grad():
    correct = (readout(gru(inputs)[0][:, -1])[:, 0] > 0) == labels.bool()
print(f"accuracy {correct.float().mean():.2f}, the best possible is 0.85")

# %%
# The analysis
# ------------
# States that the network visits, points where it moves slowly without input, the curve through
# them, its modes, what an input does to the slowest one, and how much of the network that explains.
trajectory = collect_states(gru, inputs)
starts = sample_starts(trajectory, 256, stratify=readout, generator=generator(0))
points = find_points(gru, starts, kind="slow", tau_c=N_STEPS / 2)
curve = manifold(points, readout=readout)
modes = points.modes(axis=curve.axis)
effects = input_effects(points, modes, torch.tensor([[-1.0], [1.0]]), readout=readout)
check = linear_check(gru, trajectory, points, readout, mode="bag_of_words", labels=labels)

print(f"{curve.pc_fraction:.0%} of the points' variance lies along one line")
print(f"time constants {modes.tau[:, 0].median():.0f} and {modes.tau[:, 1].median():.1f} steps")
print(f"one step of evidence moves the logit by {effects.logit_weight[:, 1].median():+.2f}")
print(f"a bag of words decides like the network in {check.sign_agreement:.0%} of the sequences")

# %%
# The states after the last input in their first two principal components, with the slow points;
# and how long each mode of the network lasts, along the line.
plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6))
plot_state_space(trajectory.last, points.state, labels=labels, theta=curve.theta, ax=left)
plot_time_constants(
    curve.theta, modes.tau, length=N_STEPS, length_label="length of a sequence", ax=right
)
plt.show()
