r"""
When to stop training
=====================

A linear network that trains too long learns the noise. On nearly linear problems the best time to
stop, and the error to expect, follow from one singular value decomposition of the training data
(Lampinen and Ganguli 2019, arXiv:1809.10374). No validation set is needed.
"""

import matplotlib.pyplot as plt
import numpy as np

from tractable import plot
from tractable.linear import generalization_curve, noisy_task, optimal_stopping, train_students
from tractable.linear.plots import plot_errors, plot_singular_values

# %%
# A task with three signals, 100 inputs and 50 outputs, and noise in every target.
snr = [6.0, 4.0, 2.0]
tasks = [noisy_task(snr, n_in=100, n_out=50, seed=seed) for seed in range(4)]
report = optimal_stopping(
    tasks[0].X, tasks[0].Y, learning_rate=0.01, norm="sum", init_strength=1e-5
)
print(f"signals found: {report.detected_rank}, strengths {report.snr.round(1)}")
print(f"stop at step {report.step}; expected error of the map {report.expected_test:.3f}")

# %%
# Four networks are trained on four such tasks, and the theory is drawn through them. Optimal
# shrinkage, which needs no training, is the bar that no stopping time can reach: the three signals
# are best at three different times.
trained = train_students(
    np.stack([task.cov_yx for task in tasks]),
    np.stack([task.teacher for task in tasks]),
    learning_rate=0.01,
    steps=800,
)
theory = generalization_curve(snr, 0.5, np.linspace(0, 8, 200), n_in=100)
plt.style.use(plot.STYLE)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
plot_errors(
    theory.t,
    theory.test,
    train=theory.train,
    t_opt=theory.t_opt,
    shrinkage=theory.test_shrinkage,
    t_measured=trained.t,
    test_measured=trained.test,
    train_measured=trained.train,
    ax=left,
)
left.set_ylim(bottom=0.004)  # room for the legend
plot_singular_values(report.s_data, report.aspect, n_bins=20, ax=right)
