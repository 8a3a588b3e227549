"""K classes: the dimension of the manifold that a text classifier integrates on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from tractable.studies.dynamics._classes_parts import (
    N_SHOWN,
    ONE,
    classify,
    label,
    loss,
    score_variances,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


AITKEN = "arXiv:2010.15114"
SHARE = 0.9  # of the variance, that the dimensions of a manifold hold


@dataclass(frozen=True)
class DynamicsClasses(Study):
    """Texts of K classes: the dimension of the manifold on which a network integrates them."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Aitken, Ramasesh, Garg, Cao, Sussillo, Maheswaranathan",
        2020,
        "The geometry of integration in text classification RNNs",
        arxiv="2010.15114",
    )
    presets: ClassVar = {
        "smoke": {
            "categorical": (3,),
            "ordered": (),
            "units": 12,
            "embedding": 6,
            "n_train": 600,
            "length": 12,
            "n_starts": 64,
            "signatures": False,
        },
        "paper": {
            "categorical": (2, 3, 4, 5),
            "ordered": (3, 5),
            "units": 256,
            "embedding": 128,
            "n_train": 200_000,
            "n_starts": 1000,
        },
    }

    categorical: Annotated[tuple[int, ...], Range(2, 12)] = (2, 3, 4)
    """Numbers K of classes without order, a network for each."""
    ordered: Annotated[tuple[int, ...], Range(2, 12)] = (5,)
    """Numbers of star levels of one score, a network for each."""
    units: Annotated[int, Range(4, 1024, log=True)] = 64
    """Units of the GRU."""
    embedding: Annotated[int, Range(1, 1024, log=True)] = 16
    """Width of the word vectors."""
    length: Annotated[int, Range(2, 1000, log=True)] = 40
    """Words of a text."""
    n_train: Annotated[int, Range(32, 10_000_000, log=True)] = 48_000
    """Training texts, each seen once."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 32
    """Texts of a training step."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Of AdamW, at the start; it falls to a twentieth."""
    weight_decay: Annotated[float, Range(0.0, 100.0)] = 0.5
    """Decoupled weight decay."""
    n_starts: Annotated[int, Range(16, 100_000, log=True)] = 512
    """Visited states from which slow points are searched."""
    signatures: bool = True
    """Assert the published signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.categorical and not self.ordered:
            raise ValueError("categorical and ordered must name one network or more, got none")

    def cases(self) -> list[tuple[int, bool]]:
        """Return K and whether the classes are ordered, of each network."""
        return [(k, False) for k in self.categorical] + [(k, True) for k in self.ordered]

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        names = ("units", "embedding", "length", "n_train", "batch_size", "learning_rate")
        given = {name: getattr(self, name) for name in (*names, "weight_decay", "n_starts")}
        largest = max(k for k, _ in self.cases())
        points = [
            {
                **given,
                "n_classes": k,
                "ordered": ordered,
                "largest": largest,
                "seed": run.seed,
                "device": str(run.device),
            }
            for k, ordered in self.cases()
        ]
        return xr.concat(run.map(classify, points), "network").assign_coords(
            network=[label(k, ordered) for k, ordered in self.cases()]
        )

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Predict the dimension: K - 1 of classes, or that of the words' scores (D34)."""
        import xarray as xr

        simple = [1 if ordered or k == 2 else k - 1 for k, ordered in self.cases()]
        theory = xr.Dataset(
            {"dimension": ("network", simple, ONE)},
            coords={"network": [label(k, ordered) for k, ordered in self.cases()]},
        )
        if measured is None:
            return theory
        most = measured.sizes["class"]
        shares = np.zeros((len(simple), most))
        for i, (k, _) in enumerate(self.cases()):
            shares[i, :k] = score_variances(measured.word_count.values[i][:, :k])
        dimension = [int(np.searchsorted(np.cumsum(row), SHARE) + 1) for row in shares]
        return theory.assign(
            score_variance=(("network", "class"), shares, ONE),
            score_dimension=("network", dimension, ONE),
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "components of the words' scores against the number of independent scores, largest "
            "difference",
            float(abs(theory.score_dimension - theory.dimension).max()),
            0,
            source=f"{AITKEN}: counting, K - 1 for K classes, 1 for star levels",
        )
        if not self.signatures:
            return
        for i, (k, ordered) in enumerate(self.cases()):
            name, one, known = label(k, ordered), measured.isel(network=i), theory.isel(network=i)
            dimension = int(known.score_dimension)
            yield Check(
                f"{name}: accuracy, ties left out",
                float(one.test_accuracy),
                0.8,
                kind="at_least",
                source="the task is learned",
            )
            share = np.cumsum(one.point_variance.values)
            if ordered and k > 2:
                yield from self._stars(name, k, one, share)
                continue
            yield Check(
                f"{name}: variance of the slow points in {dimension} components",
                float(share[dimension - 1]) if dimension else 0.0,
                SHARE,
                kind="at_least",
                source=f"{AITKEN}: the manifold has the dimension of the words' scores",
            )
            fewer = float(share[dimension - 2]) if dimension > 1 else 0.0
            yield Check(
                f"{name}: variance in one component fewer",
                fewer,
                SHARE,
                kind="at_most",
                source=f"{AITKEN}: and no fewer",
            )
            yield Check(
                f"{name}: slow modes (time constant over half the length), median of the points",
                float(np.median(one.n_slow.values)),
                dimension,
                0.5 if dimension < 3 else 1.0,
                source=f"{AITKEN}: one integrating mode for each dimension",
            )
            if not ordered and k == 3:
                yield Check(
                    f"{name}: angles between the readouts of the classes, largest deviation from "
                    "120 degrees",
                    float(one.angle_error),
                    20.0,
                    kind="at_most",
                    source=f"{AITKEN}: a regular simplex",
                )

    def _stars(self, name: str, k: int, one: xr.Dataset, share: np.ndarray) -> Iterator[Check]:
        """Levels of one score: a line, which may be bent, and so fewer dimensions than classes."""
        yield Check(
            f"{name}: variance of the slow points in 2 components",
            float(share[1]),
            SHARE,
            kind="at_least",
            source=f"{AITKEN}: fewer dimensions than classes; here one score, so a bent line",
        )
        yield Check(
            f"{name}: local dimension of the slow points, median",
            float(np.median(one.local_dimension.values)),
            1.0,
            0.5,
            source="one score decides the level",
        )
        yield Check(
            f"{name}: slow modes (time constant over half the length), median of the points",
            float(np.median(one.n_slow.values)),
            k - 2,
            kind="at_most",
            source=f"{AITKEN}: fewer than for {k} classes without order",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        rows = []
        for i, (k, ordered) in enumerate(self.cases()):
            one, known = measured.isel(network=i), theory.isel(network=i)
            dimension = int(np.searchsorted(np.cumsum(one.point_variance.values), SHARE) + 1)
            rows.append(
                (
                    label(k, ordered),
                    float(one.test_accuracy),
                    int(known.score_dimension),
                    dimension,
                    float(one.participation),
                    float(np.median(one.local_dimension.values)),
                    float(np.median(one.n_slow.values)),
                    float(np.median(one.tau.values[:, 0])),
                )
            )
            yield (
                f"{label(k, ordered)}: the words' scores span {int(known.score_dimension)} "
                f"dimension{'s' * (int(known.score_dimension) != 1)}, and the slow points of the "
                f"trained network {dimension}."
            )
        columns = (
            "classes",
            "accuracy",
            "dimensions of the scores",
            "of the slow points (90 %)",
            "participation ratio",
            "local dimension",
            "slow modes",
            "τ1 (words)",
        )
        yield Table("Dimension of the manifold", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable import plot

        variance, axes = plot.new(1, len(self.cases()), size=(2.5 * len(self.cases()) + 0.4, 2.9),
                                  squeeze=False, sharey=True)  # fmt: skip
        for ax, (i, case) in zip(axes[0], enumerate(self.cases()), strict=True):
            n = max(case[0], 2)
            at = np.arange(1, n + 1)
            predicted = np.cumsum(theory.score_variance.values[i])[:n]
            plot.theory(ax, at, predicted, color="0.4", label="words' scores")
            seen = np.cumsum(measured.point_variance.values[i])[:n]
            plot.measurement(ax, at, seen, label="slow points")
            ax.set(xlabel="components", title=label(*case), xticks=at, ylim=(0, 1.05))
        axes[0, 0].set_ylabel("share of the variance")
        axes[0, -1].legend(loc="lower right")
        variance.set_label(
            "Cumulated share of the variance in principal components: of the words' scores "
            "(predicted from word counts) and of the slow points of the trained networks."
        )
        clouds, axes = plot.new(1, len(self.cases()), size=(2.6 * len(self.cases()) + 0.4, 2.9),
                                squeeze=False)  # fmt: skip
        for ax, (i, case) in zip(axes[0], enumerate(self.cases()), strict=True):
            cloud, group = measured.cloud.values[i], measured.cloud_class.values[i]
            known = np.isfinite(cloud).all(1)
            for k in range(case[0]):
                chosen = known & (group == k)
                ax.plot(*cloud[chosen].T, ".", color=f"C{k}", markersize=3, label=f"class {k}")
            ax.set(xlabel="component 1", title=label(*case))
            ax.set_aspect("equal", adjustable="datalim")
        axes[0, 0].set_ylabel("component 2")
        clouds.set_label(
            "Slow points of the trained networks in the plane of their two largest principal "
            "components, colored by the class that the readout gives them."
        )
        return {"dimension": variance, "manifolds": clouds}

    def cost(self, run: Run) -> Cost:
        import torch

        from tractable.dynamics import SequenceClassifier
        from tractable.train import time_one_step

        k = max(k for k, _ in self.cases())
        model = SequenceClassifier(5 * k + 2, "gru", n_embedding=self.embedding,
                                   n_hidden=self.units, n_classes=k)  # fmt: skip
        tokens = torch.randint(1, 5 * k + 2, (self.batch_size, self.length))
        lengths = torch.full((self.batch_size,), self.length)
        batch = (tokens, lengths, torch.randint(0, k, (self.batch_size,)))
        one = time_one_step(model, loss, batch, device=run.device)
        steps, n = self.n_train // self.batch_size, len(self.cases())
        products = 18.0 * self.n_train * self.length * self.units * (self.units + self.embedding)
        analysis = 40.0 * self.n_starts * self.units**2 + 25.0 * N_SHOWN * self.units**3
        memory = 60.0 * self.n_train * self.length / n + 40.0 * self.units**2 * 64
        return Cost(n * (products + analysis), memory, n * (steps * one + analysis / 1e9))
