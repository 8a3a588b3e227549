"""
Isometric kernels for a recurrent layer
=======================================

Over T steps a plain convolutional cell multiplies a signal by T Jacobians. With torch's initial
kernels nothing is left of it after a few steps; with delta-orthogonal ones, scaled to the critical
point of the ELU, the singular values stay near 1.
"""

import torch

from tractable import plot
from tractable.spectra import JacobianSpectrum, delta_orthogonal
from tractable.vision.convrnn import ConvRNN, ConvRNNSpec, Node

torch.manual_seed(0)
node = Node("v", 16, op="none", activation="identity", cell="vanilla", cell_args={"norm": False})
net = ConvRNN(ConvRNNSpec.chain([node], n_classes=2), in_shape=(16, 4, 4))
cell = net.layers["v"].cell
drive = torch.zeros(1, 16, 4, 4)
sigma_w = JacobianSpectrum("elu", 1, "orthogonal", q=0.05).sigma_w

figure, ax = plot.new(size=(5.4, 3.6))
for label, kernel in (
    ("torch default", cell.recurrent.weight.detach().clone()),
    ("delta-orthogonal", sigma_w * delta_orthogonal(16, 16, (3, 3)).float()),
):
    with torch.no_grad():
        cell.recurrent.weight.copy_(kernel)
    step, state = net.step_map("v", drive), 0.2 * torch.randn(1, 16, 4, 4)
    total, largest, typical = torch.eye(step.n), [], []
    for _ in range(8):
        total = net.jacobian("v", (state,), drive).detach() @ total
        state = step.states(step(step.flat((state,))).detach())[0]
        s = torch.linalg.svdvals(total)
        largest.append(float(s[0]))
        typical.append(float(s.square().mean().sqrt()))
    ax.plot(range(1, 9), typical, "o-", label=f"{label}, root mean square")
    ax.plot(range(1, 9), largest, "o:", label=f"{label}, largest", color=ax.lines[-1].get_color())
ax.set(xlabel="steps T", ylabel="singular value", yscale="log", ylim=(3e-4, 3))
ax.legend()
