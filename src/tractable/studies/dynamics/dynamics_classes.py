"""K classes: the dimension of the manifold that a text classifier integrates on."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.dynamics.reviews import SyntheticReviews

ONE = {"units": "1"}
AITKEN = "arXiv:2010.15114"
SHARE = 0.9  # of the variance, that the dimensions of a manifold hold
N_SHOWN = 32  # points at which modes are computed
N_CLOUD = 300  # points kept for the pictures
FINAL_RATE = 0.05


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


def label(n_classes: int, ordered: bool) -> str:
    """Return the name of a case."""
    return f"{n_classes} stars" if ordered else f"{n_classes} classes"


def language(n_classes: int, ordered: bool, length: int) -> SyntheticReviews:
    """Return the language: 5 words for each class, or 5 words of one score."""
    from tractable.dynamics.reviews import SyntheticReviews

    if ordered or n_classes == 2:
        return SyntheticReviews(
            n_words=5,
            n_valenced=(1, 1, 1, 1),
            length=length,
            n_classes=n_classes,
            ordered=ordered,
        )
    return SyntheticReviews(n_words=5 * n_classes, length=length, n_classes=n_classes)


def loss(model: Any, batch: Any) -> Any:
    """Return the cross-entropy of a batch (tokens, lengths, labels)."""
    from torch.nn.functional import cross_entropy

    tokens, lengths, labels = batch
    return cross_entropy(model(tokens, lengths), labels)


def score_variances(counts: np.ndarray) -> np.ndarray:
    """Return the shares of variance of the words' scores over the classes, largest first.

    A word's score for a class is the logarithm of its frequency in texts of the class, less its
    mean over the classes; words count by their frequency.
    """
    known = counts.sum(1) > 0
    counts = counts[known] + 1.0
    score = np.log(counts / counts.sum(0))
    score -= score.mean(1, keepdims=True)
    weight = counts.sum(1) / counts.sum()
    score -= weight @ score
    values = np.linalg.eigvalsh(score.T @ (weight[:, None] * score))[::-1].clip(0)
    return np.asarray(values / values.sum()) if values.sum() > 0 else values


def classify(
    units: int,
    embedding: int,
    length: int,
    n_train: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    n_starts: int,
    n_classes: int,
    ordered: bool,
    largest: int,
    seed: int,
    device: str,
) -> xr.Dataset:
    """Train one classifier and measure the dimension of its slow points."""
    import torch
    import xarray as xr

    from tractable.core.checks import quiet
    from tractable.core.seeds import derive, generator, seeded
    from tractable.dynamics import (
        SequenceClassifier,
        collect_states,
        find_points,
        participation_ratio,
        sample_starts,
    )
    from tractable.dynamics.dimension import local_dimension
    from tractable.train import cosine_decay, fit, minibatches

    texts = language(n_classes, ordered, length)
    train = texts.sample(n_train, seed=derive(seed, "train", n_classes, ordered) % 2**31)
    test = texts.sample(1000, seed=derive(seed, "test", n_classes, ordered) % 2**31)
    with seeded(derive(seed, "weights", n_classes, ordered) % 2**31):
        model = SequenceClassifier(len(texts.vocabulary), "gru", n_embedding=embedding,
                                   n_hidden=units, n_classes=n_classes)  # fmt: skip
        if n_classes == 2:  # two logits, as for all others
            model.readout = torch.nn.Linear(units, 2)
    batches = minibatches(
        train.tokens, train.lengths, train.labels, batch_size=batch_size, seed=seed
    )
    fit(
        model,
        loss,
        batches,
        epochs=1,
        optimizer=functools.partial(torch.optim.AdamW, weight_decay=weight_decay),
        learning_rate=learning_rate,
        schedule=cosine_decay(len(batches), FINAL_RATE),
        clip=1.0,
        seed=seed,
        device=device,
        progress=False,
    )
    model = model.cpu().eval()
    tokens, lengths = torch.as_tensor(test.tokens), torch.as_tensor(test.lengths)
    assert test.ties is not None  # generated texts have them
    with torch.no_grad():
        right = (model(tokens, lengths).argmax(1).numpy() == test.labels)[~test.ties]
        cell = model.cell().to(dtype=torch.float64)
        visited = collect_states(cell, tokens[:300], lengths[:300], embedding=model.embedding,
                                 progress=False)  # fmt: skip
    starts = sample_starts(visited, n_starts, generator=generator(derive(seed, "starts")))
    with quiet():
        points = find_points(cell, starts, kind="slow", tau_c=length / 2, progress=False)
    weight, bias = (part.double() for part in model.state_readout())
    states = points.state
    _, s, axes = torch.linalg.svd(states - states.mean(0), full_matrices=False)
    variance = (s.square() / s.square().sum()).numpy()
    shown = points[np.linspace(0, len(points) - 1, min(N_SHOWN, len(points))).astype(int)]
    modes = shown.modes()
    local = float(np.median(local_dimension(states.numpy(), 12))) if len(states) > 2 else np.nan
    cloud = np.full((N_CLOUD, 2), np.nan)
    flat = ((states - states.mean(0)) @ axes[:2].T).numpy()[:N_CLOUD]
    cloud[: len(flat)] = flat
    group = np.full(N_CLOUD, -1.0)
    group[: len(flat)] = (states @ weight.T + bias).argmax(1).numpy()[:N_CLOUD]
    counts = np.zeros((5 * largest + 2, largest))
    for k in range(n_classes):
        words = train.tokens[train.labels == k].ravel()
        found = np.bincount(words, minlength=len(counts))[: len(counts)]
        found[:2] = 0  # padding and unknown words
        counts[:, k] = found
    tau = np.full((N_SHOWN, largest), np.nan)
    kept = min(largest, modes.tau.shape[1])
    tau[: len(shown), :kept] = modes.tau[:, :kept].clamp(max=1e6)
    n_slow = np.full(N_SHOWN, np.nan)
    n_slow[: len(shown)] = modes.n_slow(length / 2)
    return xr.Dataset(
        {
            "test_accuracy": ((), float(right.mean()), ONE),
            "point_variance": ("component", np.pad(variance, (0, 12))[:12], ONE),
            "participation": ((), participation_ratio(s.square()), ONE),
            "local_dimension": ((), local, ONE),
            "n_slow": ("shown", np.where(np.isnan(n_slow), np.nanmedian(n_slow), n_slow), ONE),
            "tau": (("shown", "mode"), tau, {"units": "words"}),
            "angle_error": ((), angle_error(weight.numpy()), {"units": "degrees"}),
            "word_count": (("word", "class"), counts, ONE),
            "cloud": (("cloud_point", "axis"), cloud, ONE),
            "cloud_class": ("cloud_point", group, ONE),
        }
    )


def angle_error(weight: np.ndarray) -> float:
    """Return the largest deviation of the angles between centered readouts from a simplex's."""
    centered = weight - weight.mean(0)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    k = len(unit)
    cosine = (unit @ unit.T)[np.triu_indices(k, 1)].clip(-1, 1)
    ideal = np.degrees(np.arccos(-1 / (k - 1)))
    return float(np.abs(np.degrees(np.arccos(cosine)) - ideal).max())
