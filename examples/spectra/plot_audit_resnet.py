"""
A residual network: measured, not predicted
===========================================

The theory is one of chains of layers. A residual network with batch normalization is none; the
audit says which layer stands in the way, and measures the whole and each of its blocks.
"""

# %%
# The network
# -----------
# Three blocks of two convolutions with a skip connection, then a linear readout.
import matplotlib.pyplot as plt
import torch
from torch import nn

from tractable.core.seeds import seeded
from tractable.spectra import audit
from tractable.spectra.plots import plot_audit


class Block(nn.Module):
    """Two convolutions and a skip connection."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        """Return the rectified sum of the input and the body."""
        return torch.relu(x + self.body(x))


with seeded(0):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        *[Block(8) for _ in range(3)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    x = torch.randn(32, 3, 8, 8)
    net.train()
    net(x)  # running statistics of the normalization

# %%
# The audit
# ---------
found = audit(net, x, n_samples=2)
print(found)
for block in found.blocks:
    print(f"{block.name} ({block.kind}): mean {block.mean:.2f}, largest {block.s_max:.2f}")

# %%
# Each block keeps the mean eigenvalue of its own Jacobian near 1, because of the skip connection.
plot_audit(found)
plt.show()
