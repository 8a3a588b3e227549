"""
A 100-layer tanh network that does not train
============================================

Gradients of a deep network with Xavier weights vanish. The audit says by how much, and why;
``init_`` puts the network on the critical line with orthogonal weights, and the audit of the result
is the proof. Theory and measurement are drawn in the same axes.
"""

# %%
# Before
# ------
import matplotlib.pyplot as plt
import torch
from torch import nn

from tractable import plot
from tractable.core.seeds import seeded
from tractable.spectra import audit, init_
from tractable.spectra.plots import plot_layers, plot_measured

with seeded(0):
    net = nn.Sequential(*[m for _ in range(100) for m in (nn.Linear(128, 128), nn.Tanh())])
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    x = torch.randn(64, 128)
before = audit(net, x, n_samples=2)
for item in before.advice:
    print(f"{item.severity}: {item.sentence}\n")

# %%
# After
# -----
report = init_(net, target_variance=0.25, input_batch=x)
print(str(report).splitlines()[0])
after = audit(net, x, n_samples=2)
print(after)

# %%
# Before, most eigenvalues of J J^T are far below 1, below what float32 resolves; after, they lie
# around 1. On the right: chi, q, and what each layer adds to the relative variance, afterwards.
plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6))
plot_measured(before.measured, label="before", color="#D55E00", ax=left)
plot_measured(after.measured, predicted=after.predicted, label="after", ax=left)
plot_layers(after, ax=right)
plt.show()
