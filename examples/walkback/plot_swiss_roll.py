r"""
A swiss roll, learned by walking back from heat
===============================================

One noisy map learns a law of the plane. It walks away from the data, hotter at each step, and is
taught to go back; then it starts from noise and walks all the way. The theory page has the
objective as (W8) and the bound as (W9).
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from tractable import plot
from tractable.walkback import (
    Schedule,
    fit,
    gaussian_mmd2,
    log_likelihood_bound,
    mlp_operator,
    mmd2,
    sample,
    swiss_roll,
    walkback_path,
)
from tractable.walkback.plots import bound_terms, heat_and_walk, length_curve

law = swiss_roll()
x, new = law.sample(10_000, seed=0), law.sample(1500, seed=1)

torch.manual_seed(0)
operator = mlp_operator(2, (96, 96, 96), sigma=0.05, skip="preconditioned")
schedule = Schedule.geometric(12, factor=1.8, num_cold=4)
learned = fit(operator, x, schedule=schedule, steps=3000, batch_size=32, lr=4e-3, progress=False)
settings = {"schedule": learned.schedule, "prior": learned.prior}

# %%
# Above: data, heated by the operator itself. Below, from right to left: the same operator walks
# from noise back to the data. Both rows have the same temperatures.
random = torch.Generator().manual_seed(0)
heated = walkback_path(learned.ema_operator, torch.from_numpy(new[:800]).float(), schedule,
                       generator=random)  # fmt: skip
walked = sample(learned.ema_operator, 800, record_every=1, generator=random, **settings)
shown = np.array([0, 6, 8, 10, 12, 16])
labels = [f"T = {schedule.temperatures[max(k - 1, 0)]:.3g}" for k in shown]
plt.style.use(plot.STYLE)
figure, axes = plt.subplots(2, len(shown), figsize=(10, 3.9), sharex=True, sharey=True)
heat_and_walk(heated.states[shown], walked.states.flip(0)[shown], labels, axes=axes)
plt.show()

# %%
# What each heating step costs the bound on the log likelihood. The importance estimate of the same
# walks is closer to the truth.
bound = log_likelihood_bound(learned.ema_operator, torch.from_numpy(new[:300]).float(),
                             num_paths=32, generator=random, **settings)  # fmt: skip
figure, ax = plt.subplots(figsize=(5.6, 3.4))
bound_terms(schedule.temperatures, bound.path_terms, ax=ax)
ax.set_title(
    f"bound {bound.mean:.2f}, importance {bound.log_prob_is.mean():.2f}, "
    f"truth {law.mean_log_density():.2f} nats"
)
plt.show()

# %%
# The chain goes on at temperature 1, ten times as long as it was trained.
widths, steps = [0.1, 0.2, 0.5, 1.0, 2.0], (0, 20, 60, 160)
found = [
    mmd2(
        sample(learned.ema_operator, 1500, extra_steps=n, generator=random, **settings), new, widths
    )
    for n in steps
]
figure, ax = plt.subplots(figsize=(5.6, 3.4))
length_curve(steps, {"walkback": [f.value for f in found]},
             errors={"walkback": [f.se for f in found]}, trained=len(schedule),
             levels={"single Gaussian": gaussian_mmd2(law, widths)}, ax=ax)  # fmt: skip
plt.show()
