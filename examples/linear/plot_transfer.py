r"""
Will learning another task help?
================================

Two tasks share their inputs and a hidden layer. Whether learning B helps with A depends on how
strong each is beside the noise, and on how much of the inputs they share (Lampinen and Ganguli
2019, arXiv:1809.10374). No network is trained to know.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.linear import aligned_tasks, transfer_benefit, transfer_from_data, transfer_threshold
from tractable.linear.plots import plot_transfer

# %%
# A weak task, at the edge of what can be learned alone, and a stronger one: both gain from a
# related task, but the stronger one is harmed by all others.
q = np.linspace(0, 1, 25)
snr_b = np.geomspace(0.3, 30, 20)
plt.style.use(plot.STYLE)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for ax, snr_a in zip(axes, (0.84, 3.0), strict=True):
    benefit = [[transfer_benefit(snr_a, b, x, 0.5).benefit for x in q] for b in snr_b]
    plot_transfer(q, snr_b, benefit, ax=ax)
    ax.set_title(f"task A of strength {snr_a:g}")
print(f"a task of strength 3 helps one like it from q = {transfer_threshold(3, 3, 0.5):.2f}")

# %%
# The same from examples: strengths, overlap and benefit are estimated from the targets alone.
pair = aligned_tasks(3.0, 10.0, q=0.98, n_in=200, n_out_a=100, seed=0)
estimate = transfer_from_data(pair.a.X, pair.a.Y, pair.b.Y)
truth = transfer_benefit(3.0, 10.0, 0.98, 0.5, n_in=200)
print(f"estimated overlap {abs(estimate.overlap[0, 0]):.2f}, in truth 0.98")
print(f"estimated benefit {estimate.benefit:+.3f}, in truth {truth.benefit:+.3f}")
