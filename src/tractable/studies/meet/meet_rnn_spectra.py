"""A recurrent network's Jacobian over T steps beside the theory of a deep network of T layers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.spectra import JacobianSpectrum

ONE = {"units": "1"}
PROBABILITY = {"units": "1", "long_name": "share of the singular values below"}
SINGULAR = {"units": "1", "long_name": "singular value of the Jacobian over T steps"}
# Where a network stands: critical with little and with much noise, then below and above chi = 1.
POINTS: dict[str, dict[str, float]] = {
    "critical, q* = 0.2": {"q": 0.2},
    "critical, q* = 1": {"q": 1.0},
    "contracting": {"sigma_w": 0.7, "sigma_b": 0.3},
    "chaotic": {"sigma_w": 2.0, "sigma_b": 0.2},
}
ENSEMBLES = ("gaussian", "orthogonal")
WEIGHTS = (*ENSEMBLES, "symmetric")
FREE = "arXiv:1802.09979 for untied layers; powers of R-diagonal elements have the law of products"
CONTROL = "the argument needs weights that are free from their transposes"


@dataclass(frozen=True)
class MeetRnnSpectra(Study):
    """Over T steps a recurrent network has the Jacobian spectrum of a deep one of T layers."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2018,
        "The emergence of spectral universality in deep networks",
        arxiv="1802.09979",
    )
    presets: ClassVar = {
        "smoke": {"n_units": 30, "n_nets": 1, "steps": (1, 2)},
        "paper": {"n_units": 1000, "n_nets": 10, "steps": (1, 2, 4, 8, 16, 32)},
        "explore": {"steps": (1, 4), "n_quantiles": 15},
    }

    n_units: Annotated[int, Range(10, 5000, log=True)] = 200
    """Units of the recurrent networks."""
    steps: Annotated[tuple[int, ...], Range(1, 1000, log=True)] = (1, 2, 4, 8)
    """Steps T of the Jacobian."""
    n_nets: Annotated[int, Range(1, 1000)] = 8
    """Networks of each kind."""
    settle: Annotated[int, Range(0, 10_000)] = 0
    """Steps before the Jacobian begins: a small critical network drifts off its q* meanwhile."""
    n_quantiles: Annotated[int, Range(3, 10_000, log=True)] = 200
    """Quantiles of the theory's laws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.steps)) < len(self.steps) or not self.steps:
            raise ValueError(f"steps must name each number once, got {self.steps}")

    # --- measurement -------------------------------------------------------------------------

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.core.seeds import derive

        wanted = [
            {
                "weights": weights,
                "point": point,
                "n_units": self.n_units,
                "steps": tuple(sorted(self.steps)),
                "settle": self.settle,
                "seed": derive(run.seed, weights, point, k),
            }
            for weights in WEIGHTS
            for point in POINTS
            for k in range(self.n_nets)
        ]
        found = run.map(singular_values, wanted)
        shape = (len(WEIGHTS), len(POINTS), self.n_nets, len(self.steps), self.n_units)
        s = np.stack([one.s.values for one in found]).reshape(shape)
        return xr.Dataset(
            {"s": (("weights", "point", "net", "steps", "unit"), s, SINGULAR)},
            coords={
                "weights": list(WEIGHTS),
                "point": list(POINTS),
                "steps": sorted(self.steps),
            },
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Quantiles of the deep network's singular values, and its chi; of the fields alone."""
        import xarray as xr

        found = [
            [
                [quantiles(weights, point, t, self.n_quantiles) for t in sorted(self.steps)]
                for point in POINTS
            ]
            for weights in ENSEMBLES
        ]
        quantile = [[[s for s, _ in row] for row in rows] for rows in found]
        chi = [[row[0][1] for row in rows] for rows in found]
        dims = ("ensemble", "point", "steps", "p")
        return xr.Dataset(
            {
                "s": (dims, np.array(quantile), SINGULAR),
                "chi": (("ensemble", "point"), np.array(chi, dtype=float), ONE),
            },
            coords={
                "ensemble": list(ENSEMBLES),
                "point": list(POINTS),
                "steps": sorted(self.steps),
                "p": ("p", probabilities(self.n_quantiles), PROBABILITY),
            },
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        gaps = distances(theory, measured)
        for ensemble, bar in (("gaussian", 0.04), ("orthogonal", 0.08)):
            yield Check(
                f"{ensemble}: largest Kolmogorov-Smirnov distance, all points and times",
                float(gaps.sel(weights=ensemble).max()),
                bar,
                kind="at_most",
                source=FREE,
            )
        late = max(self.steps)
        free = float(gaps.sel(weights="gaussian", steps=late).max())
        yield Check(
            f"symmetric weights: distance at T = {late} over that of free ones",
            float(gaps.sel(weights="symmetric", steps=late).min()) / free,
            2.0,
            kind="at_least",
            source=CONTROL,
        )
        growth = np.log((measured.s.sel(weights="gaussian") ** 2).mean(("net", "unit")))
        predicted = np.log(theory.chi.sel(ensemble="gaussian")) * measured.steps
        yield Check(
            "mean squared singular value against chi^T: largest difference of the logarithms",
            float(abs(growth - predicted).max()),
            0.25,
            kind="at_most",
            source="arXiv:1711.04735: chi^L, the mean squared singular value of L layers",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        gaps = distances(theory, measured)
        yield (
            "The weights of a recurrent network are the same at every step, those of a deep one "
            "are not; the spectrum of the Jacobian does not tell them apart: the largest distance "
            "is "
            f"{float(gaps.sel(weights='gaussian').max()):.3f} with Gaussian and "
            f"{float(gaps.sel(weights='orthogonal').max()):.3f} with orthogonal weights."
        )
        yield (
            "So the initialization that makes a deep network learn, orthogonal at the critical "
            "point, conditions backpropagation through time in the same way. It does not with "
            "symmetric weights."
        )
        rows = [
            (point, int(t), *(float(gaps.sel(weights=w, point=point, steps=t)) for w in WEIGHTS))
            for point in POINTS
            for t in measured.steps.values
        ]
        yield Table(
            "Kolmogorov-Smirnov distance to the deep network of T layers",
            ("network", "T", *WEIGHTS),
            tuple(rows),
        )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        return {
            "spectra": draw(theory, measured, "gaussian"),
            "orthogonal": draw(theory, measured, "orthogonal"),
        }

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        small = min(self.n_units, 100)
        singular_values("gaussian", "chaotic", small, (1,), 1, 0)
        one = (time.perf_counter() - started) * (self.n_units / small) ** 3
        n = len(WEIGHTS) * len(POINTS) * self.n_nets
        jobs = n * (len(self.steps) + max(self.steps) / 10)
        operations = n * self.n_units**3 * (20 * len(self.steps) + 2 * max(self.steps))
        return Cost(operations, 8 * 6 * self.n_units**2, one * jobs)


@functools.lru_cache(maxsize=128)  # with the table of its distribution
def law(weights: str, point: str, depth: int) -> JacobianSpectrum:
    """Return the theory of a deep network at a point."""
    from tractable.core.checks import quiet
    from tractable.spectra import JacobianSpectrum

    with quiet():  # q* repels at small q: the networks here start at it
        return JacobianSpectrum("tanh", depth, weights, **POINTS[point])  # type: ignore[arg-type]  # numbers by name


def probabilities(n: int) -> np.ndarray:
    """Return the probabilities of n quantiles."""
    return (np.arange(n) + 0.5) / n


@functools.lru_cache(maxsize=256)
def quantiles(weights: str, point: str, depth: int, n: int) -> tuple[np.ndarray, float]:
    """Return n quantiles of the singular values of a deep network at a point, and its chi."""
    deep = law(weights, point, depth)
    return deep.quantile(probabilities(n)) ** 0.5, float(deep.chi)


def singular_values(
    weights: str, point: str, n_units: int, steps: tuple[int, ...], settle: int, seed: int
) -> xr.Dataset:
    """Return the singular values of a recurrent network's Jacobian after each number of steps."""
    import xarray as xr

    at = law("gaussian", point, 1)
    random = np.random.default_rng(seed)
    matrix = draw_weights(weights, n_units, random) * at.sigma_w
    bias = random.normal(0, at.sigma_b, n_units)
    u = random.normal(0, np.sqrt(at.q), n_units)
    for _ in range(settle):
        u = matrix @ np.tanh(u) + bias
    jacobian, found = np.eye(n_units), []
    for t in range(1, max(steps) + 1):
        jacobian = matrix @ ((1 - np.tanh(u) ** 2)[:, None] * jacobian)
        u = matrix @ np.tanh(u) + bias
        if t in steps:
            found.append(np.linalg.svd(jacobian, compute_uv=False))
    return xr.Dataset({"s": (("steps", "unit"), np.array(found), SINGULAR)})


def draw_weights(weights: str, n: int, random: np.random.Generator) -> np.ndarray:
    """Return a matrix with entries of variance 1/n."""
    entries = random.normal(0, n**-0.5, (n, n))
    if weights == "gaussian":
        return entries
    if weights == "symmetric":
        return (entries + entries.T) / np.sqrt(2)
    q, r = np.linalg.qr(entries)
    return q * np.sign(np.diag(r))


def distances(theory: xr.Dataset, measured: xr.Dataset) -> xr.DataArray:
    """Return Kolmogorov-Smirnov distances; symmetric weights are held against the Gaussian law."""
    import xarray as xr

    out = np.zeros((len(WEIGHTS), len(POINTS), len(measured.steps)))
    p = theory.p.values
    for i, weights in enumerate(WEIGHTS):
        ensemble = "gaussian" if weights == "symmetric" else weights
        for j, point in enumerate(POINTS):
            for k, t in enumerate(measured.steps.values):
                sample = np.sort(measured.s.sel(weights=weights, point=point, steps=t).values, None)
                quantile = theory.s.sel(ensemble=ensemble, point=point, steps=t).values
                # Shares of the sample at and just below the law's quantiles: an atom of the law
                # is a jump that the sample shares.
                above = np.searchsorted(sample, quantile * (1 + 1e-9), side="right") / len(sample)
                below = np.searchsorted(sample, quantile * (1 - 1e-9), side="left") / len(sample)
                gap = np.maximum(p - above, below - p).max()
                out[i, j, k] = max(gap, 0.0)
    return xr.DataArray(
        out,
        dims=("weights", "point", "steps"),
        coords={"weights": list(WEIGHTS), "point": list(POINTS), "steps": measured.steps.values},
    )


def draw(theory: xr.Dataset, measured: xr.Dataset, weights: str) -> Figure:
    """Draw distributions of singular values: theory as lines, networks as markers."""
    from tractable import plot

    figure, axes = plot.new(1, len(POINTS), sharey=True)
    for ax, point in zip(axes, POINTS, strict=True):
        for k, t in enumerate(measured.steps.values):
            line = theory.s.sel(ensemble=weights, point=point, steps=t)
            plot.theory(ax, line, theory.p, label=f"T = {t}", color=f"C{k % 7}")
            sample = np.sort(measured.s.sel(weights=weights, point=point, steps=t).values, None)
            share = np.linspace(0.03, 0.97, 16)
            plot.measurement(
                ax, np.quantile(sample, share), share, label="", color=f"C{k % 7}", marker="o",
                markersize=4,
            )  # fmt: skip
        widest = float(theory.s.sel(ensemble=weights, point=point).max())
        ax.set(title=point, xlabel="singular value", xscale="log", xlim=(2e-3 * widest, 2 * widest))
    axes[0].set_ylabel("share below")
    axes[-1].legend(fontsize="small", loc="lower right")
    figure.set_label(
        f"Singular values of the Jacobian of recurrent networks with {weights} weights over T "
        "steps (markers), and of deep networks of T layers in theory (lines)."
    )
    return figure
