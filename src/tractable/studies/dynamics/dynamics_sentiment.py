"""What a recurrent sentiment classifier computes, taken apart on real sentences."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.studies.dynamics._sentiment_parts import (
    ONE,
    accuracy,
    at_most,
    correlation_of,
    frequent,
    loss,
    n_components,
    principal_variances,
    sampled_states,
    simulate,
    spread,
    stored_weights,
    threshold_scan,
    unstable_dimensions,
    word_counts,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tractable.data import Resolved
    from tractable.dynamics import SequenceClassifier
    from tractable.dynamics.text import Documents

N_LINE = 48  # points along the line at which modes are computed
N_SHOWN = 7  # points along the line at which the network is perturbed
FINAL_RATE = 0.05  # of the learning rate, reached by a cosine: the last epochs are quiet

# (training documents, tokens of a document, words): what --dry-run assumes without reading.
NOMINAL = {
    "uci": (2500, 12, 4700),
    "synthetic": (2500, 40, 202),
    "imdb": (25_000, 200, 20_000),
    "yelp": (560_000, 140, 100_000),
    "sst2": (60_000, 10, 12_000),
    "sst": (6920, 19, 8000),
}
# Test accuracy that the classifier must reach, and where the figure is from.
ACCURACY = {
    "uci": (0.80, "bar for a regularized GRU on 500 held-out sentences, less two standard errors"),
    "synthetic": (0.93, "generated language, ties left out"),
    "imdb": (0.8686, "arXiv:1906.10720, Table 1, GRU"),
    "yelp": (0.9584, "arXiv:1906.10720, Table 1, GRU"),
    "sst": (0.8025, "arXiv:1906.10720, Table 1, GRU"),
    "sst2": (0.8025, "arXiv:1906.10720, Table 1, GRU"),
}
# Which weight decay and dropouts make the mechanism plain: real texts, generated language.
REGULARIZATION: tuple[dict[str, float], dict[str, float]] = (
    {"weight_decay": 1.0, "dropout": 0.5, "word_dropout": 0.3},
    {"weight_decay": 0.5, "dropout": 0.0, "word_dropout": 0.0},
)
MWGGS = "arXiv:1906.10720"


@dataclass(frozen=True)
class DynamicsSentiment(Study):
    """What a recurrent sentiment classifier computes: fixed points, a line attractor, words."""

    version: ClassVar[int] = 2
    paper: ClassVar = Paper(
        "Maheswaranathan, Williams, Golub, Ganguli, Sussillo",
        2019,
        "Reverse engineering recurrent networks for sentiment classification reveals line "
        "attractor dynamics",
        arxiv="1906.10720",
    )
    presets: ClassVar = {
        "smoke": {
            "data": "synthetic",
            "n_train": 640,
            "n_test": 60,
            "units": 12,
            "embedding": 8,
            "epochs": 4,
            "learning_rate": 0.02,
            "weight_decay": 0.0,
            "dropout": 0.0,
            "word_dropout": 0.0,
            "max_length": 15,
            "n_starts": 64,
            "signatures": False,
        },
        "overfitted": {"weight_decay": 0.0, "dropout": 0.3, "word_dropout": 0.0, "epochs": 12},
        "paper": {
            "data": "imdb",
            "units": 256,
            "embedding": 128,
            "batch_size": 64,
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "word_dropout": 0.0,
            "epochs": 4,
            "min_count": 5,
            "max_length": 400,
            "n_test": 25_000,
            "n_starts": 500,
        },
    }

    data: str = "auto"
    """auto, uci, synthetic, imdb, yelp, sst2, sst, or a table of yours: .csv, .tsv, .txt, .json."""
    cell: Literal["vanilla", "gru", "lstm", "ugrnn"] = "gru"
    """Recurrent architecture."""
    units: Annotated[int, Range(2, 1024, log=True)] = 64
    """Units of the recurrent layer."""
    embedding: Annotated[int, Range(1, 1024, log=True)] = 64
    """Width of the word vectors."""
    epochs: Annotated[int, Range(1, 1000)] = 20
    """Passes over the training texts."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 32
    """Texts of a training step."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Of AdamW, at the start; it falls to a twentieth."""
    weight_decay: Annotated[float | None, Range(0.0, 100.0)] = None
    """Decoupled weight decay; by default 1 (generated language: 0.5). At 0 the network overfits."""
    dropout: Annotated[float | None, Range(0.0, 0.95)] = None
    """Dropout of the word vectors' entries; by default 0.5 (generated language: 0)."""
    word_dropout: Annotated[float | None, Range(0.0, 0.95)] = None
    """Dropout of whole words; by default 0.3 (generated language: 0)."""
    min_count: Annotated[int, Range(1, 1000)] = 1
    """Rarer words are unknown to the network."""
    max_length: Annotated[int, Range(1, 10_000)] = 200
    """Longer texts are cut to their first words."""
    n_train: Annotated[int, Range(0, 10_000_000)] = 0
    """Training texts; 0: all there are (generated language: 2,500 new ones in every epoch)."""
    n_test: Annotated[int, Range(10, 1_000_000)] = 500
    """Test texts, at most all there are."""
    n_starts: Annotated[int, Range(16, 100_000, log=True)] = 512
    """Visited states from which points are searched."""
    signatures: bool = True
    """Assert the published signatures."""

    # --- measurement -------------------------------------------------------------------------

    def files(self) -> list[Path]:
        """Return the texts that the run depends on."""
        return list(dict.fromkeys([*super().files(), *self.texts.files]))

    @property
    def texts(self) -> Resolved:
        """Which texts ``data`` stands for on this machine."""
        return _resolve(self.data, os.environ.get("TRACTABLE_DATA"))

    @property
    def regularization(self) -> dict[str, float]:
        """Weight decay and dropouts, where not given those that suit the texts."""
        suited = REGULARIZATION[self.texts.choice == "synthetic"]
        given = {name: getattr(self, name) for name in suited}
        return {name: suited[name] if value is None else value for name, value in given.items()}

    @property
    def n_passes(self) -> int:
        """Passes over the training texts; those of the generated language are never repeated."""
        fresh = self.texts.choice == "synthetic" and self.n_train == 0
        return 1 if fresh else self.epochs

    def measure(self, run: Run) -> xr.Dataset:
        import torch
        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.core.seeds import derive, generator
        from tractable.dynamics import collect_states, find_points, sample_starts
        from tractable.dynamics.text import bag_of_words_baseline

        texts = self.texts
        if self.data == "auto" and texts.choice == "synthetic":
            run.say(f"{texts.note} Its words have known valences; it is not real text.")
        train, test = self.documents(run.seed)
        baseline = bag_of_words_baseline(train, test)
        model, history = self.train(run, train, test)
        untrained = self.build(train, run.seed)

        shown = slice(0, 500)
        tokens, lengths = torch.as_tensor(test.tokens[shown]), torch.as_tensor(test.lengths[shown])
        cell, readout = model.cell().to(dtype=torch.float64), model.state_readout()
        weight = readout.weight[0].double()
        with torch.no_grad():
            visited = collect_states(cell, tokens, lengths, embedding=model.embedding)
            control = collect_states(
                untrained.cell().to(dtype=torch.float64),
                tokens,
                lengths,
                embedding=untrained.embedding,
            )
        starts = sample_starts(
            visited,
            self.n_starts,
            stratify=lambda state: state @ weight,
            generator=generator(derive(run.seed, "starts")),
        )
        median_length = float(np.median(test.lengths))
        slow = find_points(
            cell, starts, kind="slow", tau_c=max(median_length / 2, 1.0), readout=weight
        )
        with quiet():  # how many are missing is in the answers
            roots = find_points(cell, starts, kind="root", readout=weight)
        shown_points = slow[spread(slow.state @ weight, N_SHOWN)]
        words = frequent(train)
        dataset = xr.Dataset(
            {
                **history,
                "test_accuracy": ((), accuracy(model, test), ONE),
                "train_accuracy": ((), accuracy(model, train), ONE),
                "bag_of_words_accuracy": ((), baseline.accuracy, ONE),
                "median_length": ((), median_length, {"units": "words"}),
                "n_test": ((), len(test), ONE),
                "index_sum": ((), roots.index_sum or 0, ONE),
                "coefficient": ("word", baseline.coefficients[words], ONE),
                "count": ("word", word_counts(train)[words], ONE),
                "tokens": (("document", "position"), test.tokens[shown], ONE),
                "length": ("document", test.lengths[shown], {"units": "words"}),
                "label": ("document", test.labels[shown], ONE),
                "state_variance": ("unit", principal_variances(visited.valid), ONE),
                "untrained_variance": ("unit", principal_variances(control.valid), ONE),
                **sampled_states(visited, test.labels[shown], run.seed),
                "point_state": (("point", "unit"), slow.state, ONE),
                "point_q": ("point", slow.q, {"units": "1", "convention": slow.q_convention}),
                "point_displacement": ("point", slow.displacement, ONE),
                "root_state": (("root", "unit"), roots.state, ONE),
                "root_q": ("root", roots.q, ONE),
                "root_unstable": ("root", unstable_dimensions(roots), ONE),
                "root_count": ("root", roots.multiplicity, ONE),
                **threshold_scan(slow),
                "shown_state": (("shown", "unit"), shown_points.state, ONE),
                **simulate(model, shown_points, weight, words, median_length),
                **stored_weights(model),
            },
            coords={"word": [train.vocabulary.words[i] for i in words], "token": ("word", words)},
            attrs={
                "texts": texts.choice,
                "source": texts.note,
                "negative": "negative",
                "positive": "positive",
            },
        )
        run.save("model", model.state_dict())
        return dataset

    def documents(self, seed: int) -> tuple[Documents, Documents]:
        """Return training and test documents, encoded with the words of the training texts."""
        from tractable.core.seeds import derive
        from tractable.dynamics.text import Documents, Vocabulary

        texts = self.texts
        if texts.choice == "synthetic":
            from tractable.dynamics.reviews import SyntheticReviews

            language = SyntheticReviews(length=min(40, self.max_length))
            n_train = self.n_train or NOMINAL["synthetic"][0] * self.epochs
            train = language.sample(n_train, seed=derive(seed, "train") % 2**32)
            return train, language.sample(self.n_test, seed=derive(seed, "test") % 2**32)
        data = texts.load()
        if len(data.classes) != 2:
            raise ValueError(
                f"data must have two classes, got {len(data.classes)}: {', '.join(data.classes)}"
            )
        if {"train", "test"} <= set(data.parts):
            train_texts, test_texts = data.part("train"), data.part("test")
        else:
            n_test = min(self.n_test, len(data) // 4)
            train_texts, test_texts = data.random_split(n_test, seed=seed)
        train_texts = at_most(train_texts, self.n_train, seed)
        test_texts = at_most(test_texts, self.n_test, seed)
        vocabulary = Vocabulary.from_texts(train_texts.texts, min_count=self.min_count)
        parts = [
            Documents.from_texts(part.texts, part.labels, vocabulary, max_length=self.max_length)
            for part in (train_texts, test_texts)
        ]
        return parts[0], parts[1]

    def build(self, train: Documents, seed: int) -> SequenceClassifier:
        """Return the untrained classifier."""
        import torch

        from tractable.core.seeds import derive, seeded
        from tractable.dynamics import SequenceClassifier

        with seeded(derive(seed, "weights") % 2**32):
            model = SequenceClassifier(
                len(train.vocabulary),
                self.cell,
                n_embedding=self.embedding,
                n_hidden=self.units,
                dropout=self.regularization["dropout"],
                word_dropout=self.regularization["word_dropout"],
            )
        return model.to(torch.float32)

    def train(
        self, run: Run, train: Documents, test: Documents
    ) -> tuple[SequenceClassifier, dict[str, Any]]:
        """Train the classifier; a run that was killed goes on from its last checkpoint."""
        import torch

        from tractable.dynamics.text import trim_padding
        from tractable.train import cosine_decay, fit, minibatches

        model = self.build(train, run.seed)
        batches = minibatches(
            train.tokens,
            train.lengths,
            train.labels.astype(np.float32),
            batch_size=min(self.batch_size, len(train)),
            seed=run.seed,
            lengths=train.lengths,
            collate=trim_padding,
        )
        steps = self.n_passes * len(batches)
        result = fit(
            model,
            loss,
            batches,
            epochs=self.n_passes,
            optimizer=functools.partial(
                torch.optim.AdamW, weight_decay=self.regularization["weight_decay"]
            ),
            learning_rate=self.learning_rate,
            schedule=cosine_decay(steps, FINAL_RATE),
            clip=1.0,
            seed=run.seed,
            device=run.device,
            record={"accuracy": lambda net: accuracy(net, test.subset(slice(0, 1000)))},
            record_at=sorted({round(steps * i / 20) for i in range(21)}),
            on_record=lambda step, values: run.report(step, float(values["accuracy"])),
            checkpoint=run.checkpoint("training"),
            progress=run.show_progress,
        )
        model = model.cpu().eval()
        history = {
            "learning_step": ("record", result.record_steps, {"units": "updates"}),
            "learning_accuracy": ("record", result.history["accuracy"], ONE),
        }
        return model, history

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Linearize the trained network at its slow points; see the pages of theory, (D1)-(D20)."""
        if measured is None:
            raise ValueError(
                "dynamics-sentiment needs a trained network: its theory takes measured"
            )
        from tractable.studies.dynamics._sentiment_theory import linear_theory

        return linear_theory(self, measured)

    def rebuild(self, measured: xr.Dataset) -> SequenceClassifier:
        """Return the trained classifier from its weights in ``measured``."""
        import torch

        from tractable.dynamics import SequenceClassifier

        weights = {
            variable.attrs["parameter"]: torch.as_tensor(variable.values)
            for name, variable in measured.data_vars.items()
            if str(name).startswith("parameter_")
        }
        model = SequenceClassifier(
            len(weights["embedding.weight"]),
            self.cell,
            n_embedding=self.embedding,
            n_hidden=self.units,
        )
        model.load_state_dict(weights)
        return model.eval()

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        step = abs(theory.decay - measured.decay).sel(lag=1).max()
        yield Check(
            "one step of a small perturbation: linear theory against the network",
            float(step),
            1e-4,
            kind="at_most",
            source="definition of the Jacobian",
        )
        yield Check(
            "left and right vectors: error of L R = 1",
            float(theory.biorthogonality),
            1e-8,
            kind="at_most",
            source="definition of the modes",
        )
        if not self.signatures:
            return
        accuracy, source = ACCURACY.get(measured.attrs["texts"], (0.5, "better than guessing"))
        error = math.sqrt(accuracy * (1 - accuracy) / float(measured.n_test))
        test = float(measured.test_accuracy)
        yield Check("test accuracy", test, accuracy, 2 * error, kind="at_least", source=source)
        yield from self._signatures(theory, measured)

    def _signatures(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        def least(name: str, value: Any, bound: float, where: str) -> Check:
            return Check(name, float(value), bound, kind="at_least", source=f"{MWGGS}, {where}")

        def most(name: str, value: Any, bound: float, where: str) -> Check:
            return Check(name, float(value), bound, kind="at_most", source=f"{MWGGS}, {where}")

        variance = np.cumsum(measured.state_variance.values)
        untrained = np.cumsum(measured.untrained_variance.values)
        yield least("variance of the states in 3 components", variance[2], 0.80, "Fig. 2a")
        ratio = n_components(untrained) / n_components(variance)
        yield least("components for 90 %: untrained over trained", ratio, 3.0, "Fig. 2a")
        yield least("slow points: variance along one axis", theory.pc_fraction, 0.85, "Fig. 2c")
        yield least("|cos| of axis and readout", abs(theory.axis_readout), 0.8, "Fig. 2c")
        slowest = theory.tau.isel(mode=0)
        yield least(
            "slowest time constant over the median length, median along the line",
            slowest.median() / measured.median_length,
            1.0,
            "Fig. 3",
        )
        gap = (slowest / theory.tau.isel(mode=1)).median()
        yield least("slowest over second time constant, median", gap, 4.0, "Fig. 3")
        tangent = abs(theory.alignment_tangent).median()
        yield least("|cos| of slowest mode and line, median", tangent, 0.6, "Fig. 4d")
        yield least("the same over the 99 % null", tangent / theory.null_99, 1.0, "Fig. 4d")
        correlation = correlation_of(theory.word_effect, measured.word_effect)
        yield least("word effects: one mode against the network", correlation, 0.9, "Fig. 4a,c")
        valence = correlation_of(theory.word_weight, measured.coefficient)
        yield least("word weights: one mode against bag of words", valence, 0.6, "Fig. 4")
        one_step = theory.one_step_error.sel(model="linear").median()
        identity = theory.one_step_error.sel(model="identity").median()
        yield most("one-step error, median", one_step, 0.12, "Fig. 5")
        yield most("one-step error over that of no change", one_step / identity, 1 / 3, "Fig. 5")
        agreement = theory.sign_agreement.sel(rollout="bag_of_words")
        yield least("decisions shared with one mode as a bag of words", agreement, 0.88, "text")

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.dynamics._sentiment_answers import answers

        yield from answers(self, theory, measured)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.dynamics._sentiment_figures import figures

        return figures(theory, measured)

    def cost(self, run: Run) -> Cost:
        import torch

        from tractable.dynamics import SequenceClassifier
        from tractable.train import time_one_step

        known = {"auto": "uci", "sll": "uci", "sst_sentences": "sst"}.get(self.data, self.data)
        n_train, length, words = NOMINAL.get(known, NOMINAL["uci"])
        if known not in NOMINAL:
            train, _ = self.documents(run.seed)
            n_train, length = len(train), int(train.lengths.mean())
            words = len(train.vocabulary)
        n_train = min(n_train, self.n_train or n_train)
        length = min(length, self.max_length)
        model = SequenceClassifier(
            words, self.cell, n_embedding=self.embedding, n_hidden=self.units
        )
        tokens = torch.randint(1, words, (self.batch_size, length))
        labels = torch.randint(0, 2, (self.batch_size,)).float()
        batch = (tokens, torch.full((self.batch_size,), length), labels)
        one = time_one_step(model, loss, batch, device=run.device)
        steps = self.epochs * math.ceil(n_train / self.batch_size)
        gates = {"vanilla": 1, "ugrnn": 2, "gru": 3, "lstm": 4}[self.cell]
        n_state = self.units * (2 if self.cell == "lstm" else 1)
        multiplications = gates * self.units * (self.units + self.embedding)
        training = 6.0 * steps * self.batch_size * length * multiplications
        analysis = self.n_starts * 20 * n_state**3 + N_LINE * 25 * n_state**3
        memory = 16 * words * self.embedding + 8 * 5 * self.n_starts * n_state**2
        seconds = steps * one + analysis / 5e9
        return Cost(training + analysis, memory, seconds)


@functools.cache
def _resolve(data: str, root: str | None) -> Resolved:
    from tractable.data import resolve

    return resolve(data)
