"""Four recurrent architectures on several data sets, side by side."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.core.checks import check_choice
from tractable.studies.dynamics.dynamics_sentiment import MWGGS, DynamicsSentiment
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

CELLS = ("vanilla", "ugrnn", "gru", "lstm")
GATED = ("ugrnn", "gru", "lstm")
VANILLA_RATE = 1e-3  # a vanilla network diverges at the rate of the others

# Test accuracy of MWGGS, Table 1: bag of words, then each architecture.
TABLE_1 = {
    "imdb": {"words": 0.8853, "vanilla": 0.8708, "ugrnn": 0.8796, "gru": 0.8686, "lstm": 0.8693},
    "yelp": {"words": 0.9337, "vanilla": 0.9296, "ugrnn": 0.9567, "gru": 0.9584, "lstm": 0.9505},
    "sst": {"words": 0.7974, "vanilla": 0.7809, "ugrnn": 0.7774, "gru": 0.8025, "lstm": 0.8009},
}
WITHIN = {"imdb": 0.020, "yelp": 0.020, "sst": 0.025}  # points that Table 1 may be missed by
SHARED = 0.8  # least correlation of word weights between two architectures
OSCILLATES = 0.1  # share of the points at which a mode oscillates or grows that marks a network


@dataclass(frozen=True)
class DynamicsArchitectures(Study):
    """Do vanilla, UGRNN, GRU and LSTM networks find the same mechanism? Side by side."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Maheswaranathan, Williams, Golub, Ganguli, Sussillo",
        2019,
        "Reverse engineering recurrent networks for sentiment classification reveals line "
        "attractor dynamics",
        arxiv="1906.10720",
    )
    presets: ClassVar = {
        "smoke": {
            "data": ("synthetic",),
            "cells": ("gru",),
            "n_train": 640,
            "n_test": 60,
            "units": 12,
            "embedding": 8,
            "epochs": 3,
            "learning_rate": 0.02,
            "weight_decay": 0.0,
            "dropout": 0.0,
            "word_dropout": 0.0,
            "max_length": 15,
            "n_starts": 48,
            "signatures": False,
        },
        "small": {
            "data": ("synthetic",),
            "units": 128,
            "embedding": 32,
            "batch_size": 64,
            "epochs": 38,
            "n_test": 1000,
            "n_starts": 512,
            "n_seeds": 3,
        },
        "three": {"data": ("synthetic", "uci", "sst2"), "n_train": 10_000, "epochs": 12},
        "imdb": {
            "data": ("imdb",),
            "units": 128,
            "embedding": 64,
            "epochs": 3,
            "batch_size": 64,
            "min_count": 5,
            "max_length": 200,
            "n_test": 5000,
            "weight_decay": 0.1,
            "dropout": 0.3,
            "word_dropout": 0.1,
        },
        "paper": {
            "data": ("imdb", "sst"),
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

    data: tuple[str, ...] = ("synthetic", "auto")
    """Data sets: auto, uci, synthetic, imdb, yelp, sst2, sst, or tables of your own."""
    cells: tuple[str, ...] = CELLS
    """Architectures: vanilla, ugrnn, gru, lstm."""
    n_seeds: Annotated[int, Range(1, 100)] = 1
    """Networks of each kind; signatures are medians over them."""
    units: Annotated[int, Range(2, 1024, log=True)] = 64
    """Units of the recurrent layer."""
    embedding: Annotated[int, Range(1, 1024, log=True)] = 32
    """Width of the word vectors."""
    epochs: Annotated[int, Range(1, 1000)] = 8
    """Passes over the training texts."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 32
    """Texts of a training step."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Of AdamW, at the start; of a vanilla network at most 0.001."""
    weight_decay: Annotated[float | None, Range(0.0, 100.0)] = None
    """Decoupled weight decay; by default 1 (generated language: 0.5)."""
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
    n_starts: Annotated[int, Range(16, 100_000, log=True)] = 256
    """Visited states from which points are searched, per network."""
    signatures: bool = True
    """Assert the published signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for cell in self.cells:
            check_choice("cells", cell, CELLS)
        for name in ("data", "cells"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must name each once, and at least one, got {values}")

    # --- measurement -------------------------------------------------------------------------

    @functools.cached_property
    def texts(self) -> dict[str, str]:
        """The data sets of this run: name to the ``data`` that `dynamics-sentiment` takes."""
        names: dict[str, str] = {}
        for data in self.data:
            names.setdefault(Path(self._sentiment(data, "gru").texts.choice).stem, data)
        return names

    def _named_by(self, measured: xr.Dataset) -> None:
        """Take the names of the data sets from a measurement: showing it needs no data at hand."""
        names: dict[str, str] = {}
        for key, name in zip(measured.network.values, measured.data_set.values, strict=True):
            parameters = json.loads(measured.attrs[f"{key}__parameters"])
            names.setdefault(str(name), parameters["data"])
        self.__dict__["texts"] = names

    def files(self) -> list[Path]:
        """Return the texts that the run depends on."""
        found = [path for data in self.data for path in self._sentiment(data, "gru").files()]
        return list(dict.fromkeys([*super().files(), *found]))

    def networks(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield key, data set, architecture and number of every network."""
        for name in self.texts:
            for cell in self.cells:
                for number in range(self.n_seeds):
                    yield f"{name}_{cell}_{number}", name, cell, number

    def _sentiment(self, data: str, cell: str) -> DynamicsSentiment:
        """Return the study of one network."""
        shared = {field.name for field in dataclasses.fields(DynamicsSentiment)}
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        kept = {name: given[name] for name in given if name in shared}
        if cell == "vanilla":
            kept["learning_rate"] = min(self.learning_rate, VANILLA_RATE)
        return DynamicsSentiment(**{**kept, "data": data, "cell": cell})

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.core.seeds import derive
        from tractable.studies.dynamics._architectures_parts import similarity

        points = []
        networks = list(self.networks())
        for _, name, cell, number in networks:
            seed = run.seed if number == 0 else derive(run.seed, "network", number) % 2**31
            parameters = self._sentiment(self.texts[name], cell).parameters()
            points.append({"parameters": parameters, "seed": seed, "device": str(run.device)})
        parts = run.map(measure_one, points)
        for note in dict.fromkeys(part.attrs.pop("notes", "") for part in parts):
            if note:
                run.say(note)
        names = [key for key, *_ in networks]
        measured = merged(dict(zip(names, parts, strict=True)))
        return measured.assign(
            {
                "network_accuracy": ("network", [float(p.test_accuracy) for p in parts], ONE),
                "words_accuracy": ("network", [float(p.bag_of_words_accuracy) for p in parts], ONE),
                **similarity(self, dict(zip(names, parts, strict=True))),
            }
        ).assign_coords(
            network=names,
            data_set=("network", [name for _, name, _, _ in networks]),
            cell=("network", [cell for _, _, cell, _ in networks]),
        )

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Linearize every trained network at its slow points; see (D7)-(D23)."""
        if measured is None:
            raise ValueError("dynamics-architectures needs trained networks: it takes measured")
        from tractable.studies.dynamics._architectures_parts import weight_correlation

        self._named_by(measured)
        parts = {}
        for key, name, cell, _ in self.networks():
            study = self._sentiment(self.texts[name], cell)
            parts[key] = study.theory(part(measured, key)).drop_vars(["logit", "rollout_logit"])
        return (
            merged(parts).assign(weight_correlation(self, parts)).assign_coords(network=list(parts))
        )

    # --- what it says ------------------------------------------------------------------------

    def signature_table(
        self, theory: xr.Dataset, measured: xr.Dataset
    ) -> dict[str, dict[str, Check]]:
        """Return the published signatures of every network: key to name to check."""
        self._named_by(measured)
        table = {}
        for key, name, cell, _ in self.networks():
            study = self._sentiment(self.texts[name], cell)
            found = study._signatures(part(theory, key), part(measured, key))
            table[key] = {check.name: check for check in found}
        return table

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        self._named_by(measured)
        for key, name, cell, number in self.networks():
            one, seen = part(theory, key), part(measured, key)
            error = float(abs(one.decay - seen.decay).sel(lag=1).max())
            yield Check(
                f"{name}, {cell}{'' if number == 0 else f' {number}'}: one step of a small "
                "perturbation, linear theory against the network",
                error,
                1e-4,
                kind="at_most",
                source="definition of the Jacobian",
            )
        if not self.signatures:
            return
        table = self.signature_table(theory, measured)
        for name in self.texts:
            yield from self._accuracies(name, measured)
            yield from self._gated(name, table)
            yield from self._shared(name, theory)
            if "vanilla" in self.cells:
                yield self._vanilla(name, theory, table)

    def _accuracies(self, name: str, measured: xr.Dataset) -> Iterator[Check]:
        for cell in self.cells:
            chosen = measured.network_accuracy[self._of(name, cell)].values
            if name in TABLE_1:
                wanted, slack = TABLE_1[name][cell], WITHIN[name]
                source = f"{MWGGS}, Table 1, less {100 * slack:g} points"
            else:
                words = measured.words_accuracy[self._of(name, cell)].values
                wanted, slack = float(np.median(words)), 0.05
                source = f"{MWGGS}, Table 1: networks are within 2 points of bag of words; here 5"
            yield Check(
                f"{name}, {cell}: test accuracy",
                float(np.median(chosen)),
                wanted,
                slack,
                kind="at_least",
                source=source,
            )

    def _gated(self, name: str, table: dict[str, dict[str, Check]]) -> Iterator[Check]:
        """Yield each signature of the worst gated architecture, a median over its networks."""
        cells = [cell for cell in GATED if cell in self.cells]
        first = next(iter(table.values()))
        for signature in first.values() if cells else ():
            medians = []
            for cell in cells:
                keys = [k for k, n, c, _ in self.networks() if (n, c) == (name, cell)]
                medians.append(np.median([table[key][signature.name].measured for key in keys]))
            worst = max(medians) if signature.kind == "at_most" else min(medians)
            yield dataclasses.replace(
                signature,
                name=f"{name}, worst of {', '.join(cells)}: {signature.name}",
                measured=float(worst),
            )

    def _shared(self, name: str, theory: xr.Dataset) -> Iterator[Check]:
        """Yield whether two architectures weigh the words alike."""
        from tractable.studies.dynamics._architectures_parts import pairs

        values = [
            (float(theory.weight_correlation[i, j]), one, other)
            for i, j, one, other in pairs(self, name)
        ]
        if values:
            least, one, other = min(values)
            yield Check(
                f"{name}: word weights of one architecture against another's, least correlation "
                f"({one} and {other})",
                least,
                SHARED,
                kind="at_least",
                source=f"{MWGGS}, Fig. 6: the mechanism is shared",
            )

    def _vanilla(self, name: str, theory: xr.Dataset, table: dict[str, dict[str, Check]]) -> Check:
        """Return how many signatures of the vanilla network fail without its being marked."""
        keys = [k for k, n, c, _ in self.networks() if (n, c) == (name, "vanilla")]
        unexplained = []
        for key in keys:
            failed = sum(not check.holds for check in table[key].values())
            oscillating, growing = odd_shares(part(theory, key))
            marked = oscillating > OSCILLATES or growing > OSCILLATES
            unexplained.append(0 if marked else failed)
        return Check(
            f"{name}, vanilla: signatures that fail without oscillating or growing modes",
            float(np.median(unexplained)),
            0,
            source=f"{MWGGS}, Fig. 6: one vanilla network oscillates, all others share the line",
        )

    def _of(self, name: str, cell: str) -> np.ndarray:
        return np.array([(n, c) == (name, cell) for _, n, c, _ in self.networks()])

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.dynamics._architectures_parts import answers

        self._named_by(measured)
        yield from answers(self, theory, measured)

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.dynamics._architectures_figures import figures

        self._named_by(measured)
        return figures(self, theory, measured)

    def cost(self, run: Run) -> Cost:
        operations = seconds = memory = 0.0
        for name in self.data:
            for cell in self.cells:
                one = self._sentiment(name, cell).cost(run)
                operations += self.n_seeds * one.operations
                seconds += self.n_seeds * one.seconds
                memory = max(memory, one.memory_bytes)
        return Cost(operations, memory, seconds)


ONE = {"units": "1"}


def measure_one(parameters: dict[str, Any], seed: int, device: str) -> xr.Dataset:
    """Train and take apart one network."""
    study = DynamicsSentiment.from_parameters(parameters)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(seed, Path(folder), device, show_progress=False)
        measured = study.measure(run)
    measured.attrs["notes"] = run.notes[0] if run.notes else ""
    measured.attrs["parameters"] = json.dumps(parameters)
    return measured


def merged(parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """Return one dataset of many: variables, dimensions and attributes get the key as prefix."""
    import xarray as xr

    renamed = []
    attrs: dict[str, Any] = {}
    for key, dataset in parts.items():
        names = {str(name): f"{key}__{name}" for name in (*dataset.variables, *dataset.dims)}
        renamed.append(dataset.rename(names).drop_attrs(deep=False))
        attrs |= {f"{key}__{name}": value for name, value in dataset.attrs.items()}
    return xr.merge(renamed).assign_attrs(attrs)


def part(dataset: xr.Dataset, key: str) -> xr.Dataset:
    """Return the dataset that `merged` put under ``key``."""
    prefix = f"{key}__"
    chosen = dataset[[name for name in dataset.variables if str(name).startswith(prefix)]]
    others = [name for name in chosen.variables if not str(name).startswith(prefix)]
    chosen = chosen.drop_vars(others)
    names = {str(n): str(n).removeprefix(prefix) for n in (*chosen.variables, *chosen.dims)}
    attrs = {n.removeprefix(prefix): v for n, v in dataset.attrs.items() if n.startswith(prefix)}
    return chosen.rename(names).drop_attrs(deep=False).assign_attrs(attrs)


def odd_shares(theory: xr.Dataset) -> tuple[float, float]:
    """Return at which shares of the points the slowest mode oscillates, and any mode grows."""
    real, imag = theory.eigenvalue_real.values, theory.eigenvalue_imag.values
    return float((imag[:, 0] != 0).mean()), float((np.hypot(real, imag)[:, 0] > 1).mean())
