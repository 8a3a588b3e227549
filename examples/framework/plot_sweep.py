r"""
A study at every point of a grid
================================

`tractable.sweep.sweep` runs a study many times and returns one labeled dataset. The study here is
`dynamics-rank-one`: a network of N tanh units with the weights :math:`g\, s s^T / N` stores a
pattern above the gain g = 1. Theory says that the overlap with the pattern does not depend on N;
the sweep asks networks of several sizes.
"""

import tempfile

import matplotlib.pyplot as plt

from tractable import plot
from tractable.studies import find
from tractable.sweep import sweep
from tractable.sweep_figures import draw

RankOne = find("dynamics-rank-one")
study = RankOne(n_gains=6, n_starts=32, gain_low=0.5, gain_high=2.5)

with tempfile.TemporaryDirectory() as runs:
    data = sweep(study, {"n_units": "4,16", "seed": "0:2"}, out=runs)
    again = sweep(study, {"n_units": "4,16", "seed": "0:2"}, out=runs)  # found, not computed
print(data.overlap.dims)
print("all checks hold:", bool((data.checks_hold == data.checks).all()))

# %%
# The swept fields are dimensions, so questions to the sweep are questions to the dataset: the
# strongest memory at each gain, its mean and its standard error over sizes and seeds.
strongest = data.overlap.max("root")
deviation = abs(strongest - data.theory_overlap.sel(theory_gain=data.gain)).max()
print(f"largest deviation from theory: {float(deviation):.1e}")

plt.style.use(plot.STYLE)
figure, ax = plt.subplots(figsize=(5.6, 3.4))
gain, overlap = data.theory_gain, data.theory_overlap.isel(n_units=0, seed=0)
plot.theory(ax, gain, overlap)
over = [dim for dim in strongest.dims if dim != "gain"]
plot.measurement(ax, data.gain, strongest.mean(over), error=strongest.std(over))
ax.set(xlabel="gain g", ylabel="overlap with the pattern")
ax.legend()

# %%
# `tractable report` draws small multiples of every variable that has one value, or one row of
# values, at each point; the same pictures are functions.
draw(data, "n_roots", ["n_units", "seed"])
plt.show()
