"""Pictures of the slow mode itself: does it point along the line, and does it decay as it should.

All are public in `tractable.dynamics.plots`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tractable.core.checks import check_count
from tractable.dynamics.plots.canvas import (
    BLACK,
    BLUE,
    GRAY,
    LIGHT,
    SKY,
    THETA,
    VERMILLION,
    Array,
    canvas,
    color_scale,
    legend,
    numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_alignment", "plot_decay"]


def plot_alignment(
    cosines: Array, n_state: int, *, quantity: str = "r₁ and the line", ax: Axes | None = None
) -> Figure:
    r"""Draw the histogram of :math:`|\cos|` beside that of random directions in N dimensions.

    For a uniform unit vector :math:`c = |u \cdot m|` has :math:`c^2 \sim B(1/2, (N-1)/2)`, density

    .. math:: p(c) = \frac{2\,\Gamma(N/2)}{\sqrt\pi\,\Gamma((N-1)/2)} (1 - c^2)^{(N-3)/2}.

    Parameters
    ----------
    cosines : array, shape (P,)
        Cosines in [-1, 1]; their modulus is drawn.
    n_state : int, >= 2
        N, the dimension of the vectors.
    quantity : str
        What the cosine is between.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shape, NaN, a cosine outside [-1, 1].

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), figure 4d.

    Examples
    --------
    From library objects: ``plot_alignment(modes.right[:, :, 0].real @ line.axis, N)``.

    >>> figure = plot_alignment([0.9, -0.8], 256)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['measured, median 0.85', 'random directions, N = 256', 'their 99 % quantile, 0.16']
    """
    from scipy import stats

    from tractable import plot

    cosines = np.abs(numbers("cosines", cosines, ("P",)))
    check_count("n_state", n_state, 2)
    if (cosines > 1 + 1e-9).any():
        raise ValueError(f"cosines must be in [-1, 1], got modulus {cosines.max():.6g}")
    square = stats.beta(0.5, (n_state - 1) / 2)
    quantile = float(np.sqrt(square.ppf(0.99)))
    c = np.linspace(1e-6, 1 - 1e-3, 1000)
    caption = (
        f"Alignment of {quantity} at the points, beside that of random directions in "
        f"{n_state} dimensions."
    )

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        edges = np.linspace(0, 1, 26)
        counts, _ = np.histogram(np.minimum(cosines, 1), edges)
        height = counts / max(len(cosines), 1) / np.diff(edges)
        middle = f", median {np.median(cosines):.2f}" if len(cosines) else ""
        label = f"measured{middle}"
        ax.stairs(height, edges, fill=True, color=SKY, alpha=0.8, zorder=1, label=label)
        density = 2 * c * square.pdf(c**2)
        name = f"random directions, N = {n_state}"
        plot.theory(ax, c, density, color=BLACK, label=name)
        ax.axvline(
            quantile,
            color=VERMILLION,
            linestyle=":",
            linewidth=1.4,
            label=f"their 99 % quantile, {quantile:.2f}",
        )
        top = max(float(height.max()), float(density[c < 0.98].max()))
        ax.set(
            xlim=(0, 1),
            ylim=(0, 1.06 * top),
            xlabel=f"|cos| of {quantity}",
            ylabel="probability density",
        )
        legend(ax, where="above", columns=1)
        return figure


def plot_decay(
    steps: Array,
    measured: Array,
    theory: Array,
    *,
    theta: Array | None = None,
    theta_label: str = THETA,
    n_curves: int = 7,
    log: bool = False,
    unit: str = "steps",
    ax: Axes | None = None,
) -> Figure:
    r"""Draw what remains of a perturbation along the slow mode, theory beside measurement.

    Theory is :math:`\lambda_1^k` of a perturbation :math:`\epsilon r_1`; the measurement is the
    nonlinear network, :math:`l_1 (h_k - h^0_k) / \epsilon`.

    Parameters
    ----------
    steps : array, shape (K,)
        Times since the perturbation.
    measured, theory : array, shape (P, K)
        Fraction that remains, at P points.
    theta : array, shape (P,), optional
        Color of the points; their index by default.
    theta_label : str
        Name of ``theta`` at the color bar.
    n_curves : int, >= 1
        Of more points, this many are drawn, evenly picked along theta.
    log : bool
        Logarithmic vertical axis; measured values <= 0 are left out.
    unit : str
        Unit of ``steps``.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Wrong shapes or NaN.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> k = np.arange(20)
    >>> figure = plot_decay(k, [0.91**k], [0.9**k], theta=[0.3])
    >>> figure.axes[0].get_xlabel()
    'time since the perturbation (steps)'
    """
    from tractable import plot

    steps = numbers("steps", steps, ("K",))
    measured = numbers("measured", measured, ("P", len(steps)))
    theory = numbers("theory", theory, measured.shape)
    theta = None if theta is None else numbers("theta", theta, (len(measured),))
    check_count("n_curves", n_curves)
    P = len(measured)
    place = np.arange(P) if theta is None else theta
    ranked = np.argsort(place, kind="stable")
    chosen = ranked[np.unique(np.linspace(0, P - 1, min(P, int(n_curves))).round().astype(int))]
    caption = "What remains of a small perturbation along the slow mode."

    with canvas(ax, caption, size=(5.6, 3.6)) as (figure, ax):
        colors: Any = [BLUE] * P
        if theta is not None:
            colors = color_scale(ax, theta, theta_label)(theta)
        elif P > 1:
            colors = color_scale(ax, place, "point", integer=True)(place)
        few = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 21)).round().astype(int))
        for p in chosen:
            plot.theory(ax, steps, theory[p], color=colors[p], label="_")
            shown = few[measured[p, few] > 0] if log else few
            plot.measurement(
                ax, steps[shown], measured[p, shown], color=colors[p], markersize=4, label="_"
            )
        if log:
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
        else:
            ax.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
        key = BLUE if P == 1 and theta is None else GRAY
        ax.plot([], [], "-", color=key, linewidth=1.6, label="theory, linearized")
        ax.plot([], [], "o", color=key, markersize=4, label="measured, nonlinear")
        ax.set(xlabel=f"time since the perturbation ({unit})", ylabel="fraction that remains")
        legend(ax, where="above", columns=2)
        return figure
