r"""
Your own cell: a working memory with changing synapses
======================================================

A cell need not be a torch module. Three groups of neurons excite themselves and inhibit one another
through synapses that facilitate (:math:`u`) and tire (:math:`d`), after Mongillo, Barak and Tsodyks
2008 (doi:10.1126/science.1150769):

.. math::
    \tau \dot h = -h + J u\, d\, r - K \textstyle\sum r + I + x, \qquad
    \dot u = \frac{U - u}{\tau_f} + U (1 - u)\, r, \qquad
    \dot d = \frac{1 - d}{\tau_d} - u\, d\, r

A function of a nested state, here a tuple of three tensors, is all that `as_cell` needs; Jacobians
come from automatic differentiation. How many memories does the network hold, and for how long?
"""

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import softplus

from tractable import plot
from tractable.core.seeds import generator
from tractable.dynamics import as_cell, collect_states, find_points, sample_starts

TAU, TAU_F, TAU_D = 0.008, 1.5, 0.2  # s
U, EXCITATION, INHIBITION, BACKGROUND = 0.2, 8.0, 1.0, 3.0
N, DT = 3, 0.001  # groups of neurons; s


def rate(h):
    """Return the firing rate (Hz) at the input current h."""
    return 1.5 * softplus(h / 1.5)


def field(state, x):
    """Return the time derivative of (h, u, d), each (batch, 3), per second."""
    h, u, d = state
    r = rate(h)
    current = EXCITATION * u * d * r - INHIBITION * r.sum(-1, keepdim=True) + BACKGROUND + x
    return (current - h) / TAU, (U - u) / TAU_F + U * (1 - u) * r, (1 - d) / TAU_D - u * d * r


cell = as_cell(field, n_state=(N, N, N), n_input=N, continuous=True, tau=1.0, dt=DT)

# %%
# A cue to one group, or to none, for 0.3 s. Then the input is the same for all.
cues = torch.zeros(4, 1500, N)
for group in range(N):
    cues[group, 200:500, group] = 20.0
rest = cell.pack(torch.zeros(1, N), torch.full((1, N), U), torch.ones(1, N))
trajectory = collect_states(cell, cues, h0=rest[0])

# %%
# Where it stops, from states near those that it visits. Time constants are in seconds, because the
# cell knows its ``dt``.
starts = sample_starts(trajectory, 500, noise=0.5, generator=generator(0))
points = find_points(cell, starts, kind="root", tol=1e-18)
modes = points.modes()
for point, stability in enumerate(points.stability):
    rates = ", ".join(f"{r:4.1f}" for r in rate(cell.unpack(points.state)[0][point]).tolist())
    tau = ", ".join(f"{t:.3f}" for t in modes.tau[point, :3].tolist())
    print(f"{stability:10} rates {rates} Hz   slowest modes {tau} s")

# %%
# Each stable point is the memory of one group. Its slowest modes last 1.5 s: the facilitation of
# the silent groups, which is how long the synapses remember what was held before.
memory = points.stability.index("stable")
time = DT * torch.arange(cues.shape[1])
plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
for group in range(N):
    r = rate(cell.unpack(trajectory.states[0])[0][:, group])
    left.plot(time, r, label=f"group {group + 1}")
left.axvspan(0.2, 0.5, color="0.9", label="cue to group 1")
left.set(xlabel="time (s)", ylabel="rate (Hz)")
left.legend()
plot.measurement(right, torch.arange(1, 3 * N + 1), modes.tau[memory], label="modes of a memory")
for tau, name in ((TAU_F, r"$\tau_f$"), (TAU_D, r"$\tau_d$"), (TAU, r"$\tau$")):
    right.axhline(tau, color="0.5", linestyle=":", linewidth=1)
    right.annotate(name, (3 * N, tau), xytext=(12, -3), textcoords="offset points")
right.set(xlabel="mode of a memory", ylabel="time constant (s)", yscale="log")
plt.show()
