r"""
The cube of a flip-flop
=======================

A network that remembers three bits has to hold eight memories. How are they kept apart? Here the
answer is known: each bit is a block of units with a stored pattern, in coordinates that a random
rotation has mixed, so that no unit shows it. The search for fixed points finds
:math:`3^3 = 27` of them: eight memories, and the corners, edges and faces of a cube between.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from tractable import plot
from tractable.dynamics import connectivity, continue_points, find_points
from tractable.dynamics.plots import plot_root_graph
from tractable.dynamics.tasks import block_memory, cube_counts

memory = block_memory((7, 12, 21), (2.0, 1.5, 2.5), n_starts=1024)
points = find_points(memory.cell, memory.starts)
print(points)

# %%
# Each saddle with one unstable direction leads to two memories that differ in one bit.
graph = connectivity(memory.cell, points)
print("counts", np.bincount(graph.n_unstable).tolist(), "ideal", cube_counts(3))
plt.style.use(plot.STYLE)
overlap = points.state @ memory.decoder.T
plot_root_graph(overlap, graph.n_unstable, graph.edges(), labels=("bit 1", "bit 2"))

# %%
# What does it take to change a memory? Push one bit by a constant input: its memory vanishes where
# it meets the saddle beside it, in a fold. The branch turns back there and goes on as the saddle,
# turns again, and becomes the other memory.
W = torch.tensor([[2.0]], dtype=torch.float64)
bit = torch.nn.RNNCell(1, 1, bias=False).double()
bit.weight_hh.data, bit.weight_ih.data = W, torch.ones_like(W)
branches = continue_points(bit, torch.tensor([[-0.99]]), torch.tensor([[-1.0], [1.0]]))
figure, ax = plot.new(size=(5.2, 3.4))
x, h = branches.x_star[:, 0], branches.state[:, 0]
stable = branches.n_unstable == 0
plot.theory(ax, x, np.where(stable, h, np.nan), label="stable")
ax.plot(x, np.where(stable, np.nan, h), ":", color="C1", label="unstable")
plot.measurement(
    ax, branches.event_x_star[:, 0], branches.event_state[:, 0], color="C2", label="fold"
)
ax.set(xlabel="constant input to the bit", ylabel="fixed point")
ax.legend()
print("folds at", branches.event_x_star[:, 0].round(6).tolist())
plt.show()
