"""When a category can be learned: the coherence of a block of shared features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.linear._worlds import numbers
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PUBLISHED = "Saxe, McClelland, Ganguli 2019, arXiv:1810.10531"
LAW = "(L22), with the overlaps of a spiked matrix"


@dataclass(frozen=True)
class SemanticCoherence(Study):
    """Category coherence: a category is learned when its coherence exceeds 1, else never."""

    paper: ClassVar = Paper(
        "Saxe, McClelland, Ganguli",
        2019,
        "A mathematical theory of semantic development in deep neural networks",
        arxiv="1810.10531",
    )
    presets: ClassVar = {
        "smoke": {
            "n_items": 100,
            "n_features": 160,
            "k_items": 30,
            "k_features": 40,
            "n_draws": 2,
        },
        "paper": {
            "n_items": 1000,
            "n_features": 1600,
            "k_items": 200,
            "k_features": 240,
            "n_draws": 20,
        },
    }

    n_items: Annotated[int, Range(10, 5000, log=True)] = 500
    """Items of the table."""
    n_features: Annotated[int, Range(10, 10_000, log=True)] = 800
    """Features of the table."""
    k_items: Annotated[int, Range(1, 5000, log=True)] = 100
    """Members of the category."""
    k_features: Annotated[int, Range(1, 10_000, log=True)] = 120
    """Features that they share."""
    p_values: Annotated[tuple[float, ...], Range(0.0, 1.0)] = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    """Probabilities of a feature inside the category."""
    q: Annotated[float, Range(0.01, 0.99)] = 0.3
    """Probability of a feature outside."""
    n_draws: Annotated[int, Range(1, 1000, log=True)] = 4
    """Tables of each kind."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for block, whole in (("k_items", "n_items"), ("k_features", "n_features")):
            if getattr(self, block) > getattr(self, whole):
                raise ValueError(
                    f"{block} must be at most {whole} = {getattr(self, whole)}, "
                    f"got {getattr(self, block)}"
                )

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        points = [
            {
                "p": float(p),
                "q": self.q,
                "shape": [self.n_items, self.n_features, self.k_items, self.k_features],
                "n_draws": self.n_draws,
                "seed": run.seed + 1000 * k,
            }
            for k, p in enumerate(self.p_values)
        ]
        return xr.concat(run.map(draw_tables, points), "p")

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        import xarray as xr

        from tractable.linear import coherence

        def law(p: float) -> tuple[float, float, float]:
            size = (self.n_items, self.n_features, self.k_items, self.k_features)
            found = coherence(*size, p, self.q)
            return found.coherence, found.overlap_items**2, found.overlap_features**2

        points = np.array([law(float(p)) for p in self.p_values])
        dense = np.linspace(min(self.p_values), max(self.p_values), 200)
        curve = np.array([law(float(p)) for p in dense])
        return xr.Dataset(
            {
                "coherence": numbers(points[:, 0], "p"),
                "items": numbers(points[:, 1], "p"),
                "features": numbers(points[:, 2], "p"),
                "curve_coherence": numbers(curve[:, 0], "dense"),
                "curve_items": numbers(curve[:, 1], "dense"),
                "curve_features": numbers(curve[:, 2], "dense"),
            },
            coords={"p": list(self.p_values)},
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        clear = theory.coherence > 2  # close to 1 the finite-size correction is large
        for name in ("items", "features"):
            gap = abs(measured[name].mean("draw") - theory[name]).where(clear)
            yield Check(
                f"squared overlap of {name}, learnable categories, worst error",
                float(gap.max().fillna(1.0)),
                0.03,
                kind="at_most",
                source=LAW,
            )
            hidden = measured[name].mean("draw").where(theory.coherence < 0.5)
            if bool((theory.coherence < 0.5).any()):
                yield Check(
                    f"squared overlap of {name} where C < 0.5",
                    float(hidden.max()),
                    0.05,
                    kind="at_most",
                    source=PUBLISHED,
                )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        ratio = self.k_items * self.k_features / np.sqrt(self.n_items * self.n_features)
        needed = self.q + np.sqrt(self.q * (1 - self.q) / ratio)
        yield (
            f"A category of {self.k_items} items that share {self.k_features} features can be "
            f"learned if its members have them with a probability above {needed:.3f}, where "
            f"everything else has {self.q:g}."
        )
        single = np.sqrt(self.n_items * self.n_features) * self.q / (1 - self.q)
        yield (
            f"A single item with features of its own, which it always has, needs {single:.0f} of "
            "them to be told from chance; a category shares the burden among its members."
        )
        rows = []
        for k, p in enumerate(theory.p.values):
            found = [measured[name].mean("draw").values[k] for name in ("items", "features")]
            rows.append(
                (
                    f"{p:g}",
                    f"{float(theory.coherence[k]):.2f}",
                    f"{float(theory['items'][k]):.3f}",
                    f"{found[0]:.3f}",
                    f"{float(theory['features'][k]):.3f}",
                    f"{found[1]:.3f}",
                )
            )
        header = ("p", "coherence", "items, theory", "tables", "features, theory", "tables")
        yield Table("Squared overlaps with the true category", header, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        figure, ax = plot.new(size=(5.2, 3.5))
        for name, color in (("items", "#0072B2"), ("features", "#D55E00")):
            plot.theory(
                ax,
                theory.curve_coherence,
                theory[f"curve_{name}"],
                color=color,
                label=f"theory, {name}",
            )
            values = measured[name]
            spread = values.std("draw") if measured.sizes["draw"] > 1 else None
            plot.measurement(
                ax,
                theory.coherence,
                values.mean("draw"),
                error=spread,
                color=color,
                label=f"tables, {name}",
            )
        ax.axvline(1.0, color="#7F7F7F", lw=0.8, ls=":")
        ax.set(xlabel="coherence C", ylabel="squared overlap with the category")
        ax.legend()
        figure.set_label(
            "How much of a category the strongest mode holds, against its coherence; below 1 "
            "(dotted) it is lost in chance. Bars: standard deviation over tables."
        )
        return {"coherence": figure}

    def cost(self, run: Run) -> Cost:
        import time

        started = time.perf_counter()
        size = [self.n_items, self.n_features, self.k_items, self.k_features]
        draw_tables(0.5, self.q, size, 1, 0)
        seconds = time.perf_counter() - started
        n = len(self.p_values) * self.n_draws
        each = 2.0 * self.n_items**2 * self.n_features + 10.0 * self.n_items**3
        return Cost(n * each, 24.0 * self.n_items * self.n_features + 1e8, n * seconds)


def draw_tables(p: float, q: float, shape: list[int], n_draws: int, seed: int) -> xr.Dataset:
    """Draw tables with one category, and measure how much of it the strongest mode holds."""
    import xarray as xr
    from scipy.sparse.linalg import svds

    n_items, n_features, k_items, k_features = shape
    items, features = [], []
    for k in range(n_draws):
        random = np.random.default_rng([seed, k])
        Y = (random.random((n_items, n_features)) < q).astype(float)
        Y[:k_items, :k_features] = random.random((k_items, k_features)) < p
        U, _, Vt = svds(Y - q, k=1, v0=random.standard_normal(min(n_items, n_features)))
        items.append(float(U[:k_items, 0].sum() ** 2 / k_items))
        features.append(float(Vt[0, :k_features].sum() ** 2 / k_features))
    return xr.Dataset(
        {"items": numbers(items, "draw"), "features": numbers(features, "draw")}, coords={"p": p}
    )
