"""
A transformer block
===================

The Jacobian of a block of PyTorch's own transformer, from tokens to tokens, exactly, and by
stochastic Lanczos quadrature, which needs only products with vectors and so scales to models whose
Jacobian would not fit into memory.
"""

# %%
# Measured twice
# --------------
import matplotlib.pyplot as plt
import torch
from torch import nn

from tractable import plot
from tractable.core.seeds import seeded
from tractable.spectra import audit, jacobian_spectrum
from tractable.spectra.plots import plot_measured

with seeded(0):
    pre = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
    post = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    tokens = torch.randn(2, 8, 32)
exact = jacobian_spectrum(pre, tokens)
quick = jacobian_spectrum(pre, tokens, method="slq", probes=8, steps=32)
after_norm = jacobian_spectrum(post, tokens)
print(exact)
print(quick, f"resolution {quick.resolution:.2f}")
print(after_norm)

# %%
# What the audit says
# -------------------
found = audit(pre, tokens)
print(found.reason)
for item in found.advice:
    print(f"{item.severity}: {item.sentence}")

# %%
# With normalization first, the skip connection passes everything on: eigenvalues lie around 1. With
# normalization last, two per token are lost, its mean and its scale: 1 in 16 of them is zero.
plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
plot_measured(exact, label="normalization first, exact", ax=left)
plot_measured(quick, label="by quadrature", color="#0072B2", ax=left)
plot_measured(after_norm, label="normalization last, exact", ax=right)
plt.show()
