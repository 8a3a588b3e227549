"""
The spectrum of a deep network
==============================

Singular values of the Jacobian of a 32-layer network, in theory and in one sampled network.
Those of orthogonal tanh networks stay near 1; those of Gaussian ones cannot.
"""

import matplotlib.pyplot as plt

from tractable import plot
from tractable.spectra import JacobianSpectrum, compare, simulate
from tractable.spectra.plots import plot_density

figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4))
for ax, ensemble in zip(axes, ("orthogonal", "gaussian"), strict=True):
    law = JacobianSpectrum("tanh", 32, ensemble, q=0.0259)
    sampled = simulate("tanh", 32, ensemble, q=0.0259, width=300, seed=0).eigenvalues(32)
    with plot.style():
        plot_density(law, sampled, ax)
    ax.set_title(f"{ensemble}, KS = {compare(law, sampled).ks:.3f}")
plt.show()
