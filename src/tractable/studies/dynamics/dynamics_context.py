"""Contextual processing: how a network implements "not" and "very"."""

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
VALENCED = ("great", "good", "bad", "awful")  # +2, +1, -1, -2
MODIFIERS = ("not", "very")
REACH = {"not": 4, "very": 1}  # tokens that a modifier acts on, in the language
FACTOR = {"not": -1.0, "very": 2.0}
N_LAGS = 8
LEAST_RATE = 0.01  # of the learning rate, at the end
SOURCE = "arXiv:2004.08013"


@dataclass(frozen=True)
class DynamicsContext(Study):
    """How a network implements "not" and "very": modifier words, their modes, their removal."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Maheswaranathan, Sussillo",
        2020,
        "How recurrent networks implement contextual processing in sentiment analysis",
        arxiv="2004.08013",
    )
    presets: ClassVar = {
        "smoke": {
            "units": 16,
            "steps": 60,
            "length": 15,
            "batch_size": 32,
            "n_starts": 64,
            "n_modes": 2,
            "signatures": False,
        },
        "paper": {
            "units": 100,
            "steps": 20_000,
            "learning_rate": 0.04,
            "length": 50,
            "n_starts": 1024,
        },
    }

    units: Annotated[int, Range(4, 512, log=True)] = 64
    """Units of the GRU."""
    steps: Annotated[int, Range(10, 1_000_000, log=True)] = 800
    """Training steps."""
    batch_size: Annotated[int, Range(1, 4096, log=True)] = 128
    """Sequences of a training step."""
    length: Annotated[int, Range(6, 1000, log=True)] = 40
    """Tokens of a sequence."""
    modifier_rate: Annotated[float, Range(0.01, 0.4)] = 0.1
    """Probability of each modifier at a position."""
    learning_rate: Annotated[float, Range(1e-5, 0.1, log=True)] = 1e-2
    """Of Adam, at the start; it falls by a cosine."""
    penalty: Annotated[float, Range(0.0, 1.0)] = 1e-4
    """L2 penalty of the weights."""
    n_starts: Annotated[int, Range(16, 100_000, log=True)] = 512
    """Visited states from which slow points are searched."""
    n_modes: Annotated[int, Range(1, 64)] = 4
    """Modes, or conjugate pairs, that are removed after a modifier: those that it rests on."""
    n_controls: Annotated[int, Range(1, 1000)] = 32
    """Random choices of as many other modes."""
    signatures: bool = True
    """Assert the published signatures."""

    @property
    def language(self) -> SyntheticReviews:
        """Four valence words, six neutral words, `not` (flips 4 tokens), `very` (doubles one)."""
        from tractable.dynamics.reviews import SyntheticReviews

        return SyntheticReviews(
            n_words=10,
            n_valenced=(1, 1, 1, 1),
            modifiers=True,
            modifier_rate=self.modifier_rate,
            length=self.length,
        )

    def vectors(self) -> np.ndarray:
        """Return the input of each token, one-hot; of the first neutral word the zero vector."""
        words = self.language.vocabulary.words
        table = np.eye(len(words))
        silent = [words.index(word) for word in ("<pad>", "<unk>", "word0")]
        table[silent] = 0.0
        return np.delete(table, silent, axis=1)

    # --- measurement -------------------------------------------------------------------------

    def measure(self, run: Run) -> xr.Dataset:
        import torch
        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.core.seeds import derive, generator
        from tractable.dynamics import collect_states, context_effects, find_points, sample_starts

        model, error = self.train(run)
        cell, weight, offset = self.parts(model)
        inputs, target = self.draw(256, derive(run.seed, "test") % 2**31)
        with torch.no_grad():
            visited = collect_states(cell, inputs.double(), progress=False)
            output = visited.states @ weight + offset
        starts = sample_starts(
            visited,
            self.n_starts,
            stratify=lambda state: state @ weight,
            generator=generator(derive(run.seed, "starts")),
        )
        with quiet():
            points = find_points(
                cell, starts, kind="slow", tau_c=self.length / 2, readout=weight, progress=False
            )
        home = points.state[int((points.state @ weight + offset).abs().argmin())]
        words, others = self.of(VALENCED), self.of(MODIFIERS)
        seen = context_effects(cell, home, others, words, weight, n_steps=N_LAGS)
        residual = (output - target.double()).square().mean() / target.double().var()
        return xr.Dataset(
            {
                "loss": ((), error, ONE),
                "r2": ((), 1 - float(residual), ONE),
                "home": ("unit", home, ONE),
                "point_state": (("point", "unit"), points.state, ONE),
                "point_readout": ("point", points.state @ weight + offset, ONE),
                "effect": (("modifier", "lag", "word"), seen.network, ONE),
                "plain": ("word", seen.network_plain, ONE),
                "factor": (("modifier", "lag"), seen.factor, ONE),
                "state_after": (("modifier", "lag", "unit"), seen.state, ONE),
                **self.ablated(cell, home, weight, seen, run.seed),
                **{
                    f"parameter_{n.replace('.', '_')}": (
                        tuple(f"parameter_{n.replace('.', '_')}_{i}" for i in range(v.ndim)),
                        v.numpy(),
                        {"units": "1", "parameter": n},
                    )
                    for n, v in model.state_dict().items()
                },
            },
            coords={
                "modifier": list(MODIFIERS),
                "word": list(VALENCED),
                "lag": np.arange(1, N_LAGS + 1),
            },
        )

    def ablated(self, cell: Any, home: Any, weight: Any, seen: Any, seed: int) -> dict[str, Any]:
        """Remove the modes on which a modifier rests most, and as many others, in the network."""
        import torch

        from tractable.core.seeds import derive
        from tractable.dynamics import PointSet, ablate_modes

        point = PointSet.from_states(cell, home[None], kind="slow")
        modes = point.modes()
        random = np.random.default_rng(derive(seed, "controls"))
        removed, controls, chosen = [], [], []
        for row in range(len(MODIFIERS)):
            after = torch.as_tensor(seen.state[row, :1])
            best = self.selected(cell, modes, home, after[0], weight)
            removed.append(self.factor(cell, ablate_modes(after, point, modes, best), weight, seen))
            others = np.setdiff1d(whole(modes), best)
            row_controls = []
            for _ in range(self.n_controls):
                drawn = random.permutation(others)[: self.n_modes].tolist()
                without = ablate_modes(after, point, modes, drawn)
                row_controls.append(self.factor(cell, without, weight, seen))
            controls.append(row_controls)
            chosen.append(len(best))
        return {
            "factor_ablated": ("modifier", removed, ONE),
            "factor_control": (("modifier", "control"), controls, ONE),
        }

    def linear_factor(self, cell: Any, home: Any, states: Any, weight: Any) -> Any:
        """Return the factor of the words' effects ``w J_in(h) x`` at states, over those at h*."""
        import torch

        states = torch.cat([home[None], states])
        x = states.new_zeros(len(states), cell.n_input)
        J_in = torch.cat(
            [cell.jacobians(s, u)[1] for s, u in zip(states.split(64), x.split(64), strict=True)]
        )
        effect = (weight @ J_in) @ self.of(VALENCED).T
        return (effect[1:] @ effect[0] / (effect[0] @ effect[0])).numpy()

    def relevance(self, cell: Any, modes: Any, home: Any, after: Any, weight: Any) -> np.ndarray:
        """Return how much of a modifier's factor rests on each mode, in the linear theory.

        The factor is taken at the state after the modifier with and without the part of its
        deviation along the mode (a pair: both). The slowest mode, which stores the sum, gets 0.
        """
        import torch

        parts = components(modes, after - home)
        states = torch.cat([after[None], after[None] - parts])
        factor = self.linear_factor(cell, home, states, weight)
        share = factor[0] - factor[1:]
        share[0] = 0.0
        return np.asarray(share)

    def selected(self, cell: Any, modes: Any, home: Any, after: Any, weight: Any) -> list[int]:
        """Return the modes on which a modifier rests: one after the other, by the linear theory.

        Each is the one whose removal, after those before, brings the linearized factor nearest
        to 1. A pair counts once.
        """
        parts, chosen = components(modes, after - home), []
        candidates = whole(modes)
        state = after
        for _ in range(min(self.n_modes, len(candidates))):
            rest = [a for a in candidates if a not in chosen]
            factor = self.linear_factor(cell, home, state[None] - parts[rest], weight)
            best = rest[int(np.abs(factor - 1).argmin())]
            chosen.append(best)
            state = state - parts[best]
        return chosen

    def factor(self, cell: Any, state: Any, weight: Any, seen: Any) -> float:
        """Return what a state multiplies the words' effects with, in the network itself."""
        words = self.of(VALENCED)
        pushed = cell(state.expand(len(words), -1), words) @ weight
        alone = cell(state, words.new_zeros(1, words.shape[1])) @ weight
        effect = (pushed - alone).detach().numpy()
        return float(effect @ seen.network_plain / (seen.network_plain @ seen.network_plain))

    def of(self, names: tuple[str, ...]) -> Any:
        """Return the inputs of some words, float64."""
        import torch

        words = self.language.vocabulary.words
        return torch.as_tensor(self.vectors()[[words.index(name) for name in names]])

    def draw(self, n: int, seed: int) -> tuple[Any, Any]:
        """Return inputs (n, T, D) and the running sum of valences (n, T), float32."""
        import torch

        documents = self.language.sample(n, seed=seed)
        assert documents.contributions is not None  # generated texts have them
        inputs = torch.as_tensor(self.vectors()[documents.tokens], dtype=torch.float32)
        return inputs, torch.as_tensor(documents.contributions.cumsum(1), dtype=torch.float32)

    def train(self, run: Run) -> tuple[Any, float]:
        """Train a GRU to say the running sum; return it with its last loss."""
        import torch

        from tractable.core.seeds import derive
        from tractable.train import cosine_decay, fit

        model = self.build(run.seed)

        def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
            for i in range(self.steps):
                yield self.draw(self.batch_size, derive(run.seed, "batch", epoch, i) % 2**31)

        result = fit(
            model,
            loss,
            batches,
            steps=self.steps,
            optimizer=functools.partial(torch.optim.Adam, weight_decay=self.penalty),
            learning_rate=self.learning_rate,
            schedule=cosine_decay(self.steps, LEAST_RATE),
            clip=10.0,
            seed=run.seed,
            device=run.device,
            checkpoint=run.checkpoint("training"),
            progress=run.show_progress,
        )
        return model.cpu().eval(), float(np.mean(result.losses[-20:]))

    def build(self, seed: int) -> Any:
        """Return the untrained network."""
        import torch

        from tractable.core.seeds import derive, seeded

        width = self.vectors().shape[1]
        with seeded(derive(seed, "weights") % 2**32):
            return torch.nn.ModuleDict(
                {
                    "gru": torch.nn.GRU(width, self.units, batch_first=True),
                    "readout": torch.nn.Linear(self.units, 1),
                }
            )

    @staticmethod
    def parts(model: Any) -> tuple[Any, Any, Any]:
        """Return the cell in float64, and the readout's weight (N,) and bias."""
        import torch

        from tractable.dynamics import as_cell

        cell = as_cell(model["gru"]).to(dtype=torch.float64)
        return cell, model["readout"].weight[0].detach().double(), model["readout"].bias.item()

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Linearize the inputs' effects at h* and after each modifier: (D21), (D30)."""
        import xarray as xr

        known = xr.Dataset(
            {
                "expected": (
                    ("modifier", "lag"),
                    [
                        [FACTOR[m] if lag <= REACH[m] else 1.0 for lag in range(1, N_LAGS + 1)]
                        for m in MODIFIERS
                    ],
                    ONE,
                )
            },
            coords={"modifier": list(MODIFIERS), "lag": np.arange(1, N_LAGS + 1)},
        )
        if measured is None:
            return known
        import torch

        from tractable.dynamics import PointSet, context_effects

        model = self.build(0)
        model.load_state_dict(
            {
                v.attrs["parameter"]: torch.as_tensor(v.values)
                for n, v in measured.data_vars.items()
                if str(n).startswith("parameter_")
            }
        )
        cell, weight, _ = self.parts(model)
        home = torch.as_tensor(measured.home.values)
        modes = PointSet.from_states(cell, home[None], kind="slow").modes()
        found = context_effects(
            cell, home, self.of(MODIFIERS), self.of(VALENCED), weight, n_steps=N_LAGS
        )
        after = torch.as_tensor(measured.state_after.values[:, 0])
        pushes = [self.relevance(cell, modes, home, state, weight) for state in after]
        return known.assign(
            {
                "plain": ("word", found.plain, ONE),
                "linear_effect": (("modifier", "lag", "word"), found.linear, ONE),
                "strength": (("modifier", "lag"), found.strength, ONE),
                "lasts": ("modifier", found.lasts, {"units": "steps"}),
                "eigenvalue_real": ("mode", modes.eigvals[0].real, ONE),
                "eigenvalue_imag": ("mode", modes.eigvals[0].imag, ONE),
                "relevance": (("modifier", "mode"), np.stack(pushes), ONE),
            }
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        seen = measured.effect.sel(lag=slice(1, 2))
        error = abs(theory.linear_effect.sel(lag=slice(1, 2)) - seen).mean() / abs(seen).mean()
        yield Check(
            "effects of words after a modifier: J_in there against the network, relative error",
            float(error),
            0.5,
            kind="at_most",
            source=f"{SOURCE}; the words are large inputs",
        )
        if self.signatures:
            yield from self._signatures(theory, measured)

    def _signatures(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        modulus = np.hypot(theory.eigenvalue_real, theory.eigenvalue_imag).values
        yield Check(
            "explained variance of the running sum",
            float(measured.r2),
            0.95,
            kind="at_least",
            source="the task is learned",
        )
        yield Check(
            "slowest eigenvalue at the undecided point",
            float(theory.eigenvalue_real[0]),
            1.0,
            0.05,
            source=f"{SOURCE}: one eigenvalue near 1 stores the sum",
        )
        ratio = theory.linear_effect.sel(lag=1) / theory.plain
        for modifier, wanted in FACTOR.items():
            yield Check(
                f"factor of a word's effect right after {modifier}, J_in there over J_in at h*, "
                "median of the words",
                float(ratio.sel(modifier=modifier).median()),
                wanted,
                0.4,
                source=f"{SOURCE}: {'flips the sign' if wanted < 0 else 'about doubles'}",
            )
            yield Check(
                f"the same of the network itself, {modifier}",
                float(measured.factor.sel(modifier=modifier, lag=1)),
                float(theory.expected.sel(modifier=modifier, lag=1)),
                0.25,
                source="the language's own rule",
            )
            lasts = float(theory.lasts.sel(modifier=modifier))
            yield Check(
                f"steps that {modifier} lasts",
                lasts,
                REACH[modifier],
                1.0,
                source="the language's own rule, and one step more",
            )
        for modifier in MODIFIERS:
            before = float(measured.factor.sel(modifier=modifier, lag=1))
            after = float(measured.factor_ablated.sel(modifier=modifier))
            yield Check(
                f"share of the effect of {modifier} removed with the {self.n_modes} modes that it "
                "rests on most",
                1 - abs(after - 1) / abs(before - 1),
                0.7,
                kind="at_least",
                source=f"{SOURCE}: ablation of the modifier's modes",
            )
            others = abs(measured.factor_control.sel(modifier=modifier) - before).median()
            yield Check(
                f"share removed with as many random modes, {modifier}, median",
                float(others) / abs(before - 1),
                0.2,
                kind="at_most",
                source=f"{SOURCE}: control",
            )
        first = int(abs(theory.relevance.sel(modifier="not")).values.argmax())
        yield Check(
            "the mode on which `not` rests most is one of a complex pair: |Im| over |lambda|",
            float(abs(theory.eigenvalue_imag[first]) / max(modulus[first], 1e-300)),
            0.05,
            kind="at_least",
            source=f"{SOURCE}: one complex pair serves `not`",
        )
        second = int(abs(theory.relevance.sel(modifier="very")).values.argmax())
        yield Check(
            "modulus of the mode on which `very` rests most",
            float(modulus[second]),
            0.4,
            kind="at_most",
            source=f"{SOURCE}: a mode near 0 serves `very`",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        yield (
            f"A GRU of {self.units} units explains {float(measured.r2):.1%} of the variance of the "
            "running sum of valences."
        )
        for modifier in MODIFIERS:
            factor = measured.factor.sel(modifier=modifier)
            ablated = float(measured.factor_ablated.sel(modifier=modifier))
            control = float(measured.factor_control.sel(modifier=modifier).median())
            yield (
                f"Right after {modifier!r} a word has {float(factor[0]):.2f} times its effect; the "
                f"modifier lasts {int(theory.lasts.sel(modifier=modifier))} steps. Without the "
                f"{self.n_modes} modes on which it rests most the factor is {ablated:.2f}, without "
                f"as many others {control:.2f}."
            )
            yield self._rests_on(modifier, theory)
        rows = tuple(
            (m, *(float(v) for v in measured.factor.sel(modifier=m).values)) for m in MODIFIERS
        )
        columns = ("modifier", *(f"{lag} later" for lag in range(1, N_LAGS + 1)))
        yield Table("What a modifier multiplies the effect of a word with", columns, rows)

    def _rests_on(self, modifier: str, theory: xr.Dataset) -> str:
        size = abs(theory.relevance.sel(modifier=modifier)).values
        order = np.argsort(-size)[:3]
        names = []
        for mode in order:
            real, imag = (
                float(theory.eigenvalue_real[mode]),
                float(theory.eigenvalue_imag[mode]),
            )
            turn = f" {'+' if imag > 0 else '-'} {abs(imag):.2f}i" if imag else ""
            names.append(f"{real:.2f}{turn}")
        return f"{modifier!r} rests most on the modes with eigenvalues {', '.join(names)}."

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.dynamics._context_figures import figures

        return figures(theory, measured)

    def cost(self, run: Run) -> Cost:
        from tractable.train import time_one_step

        model = self.build(run.seed)
        one = time_one_step(model, loss, self.draw(self.batch_size, 0), device=run.device)
        width = self.vectors().shape[1]
        per_step = 18.0 * self.batch_size * self.length * self.units * (self.units + width)
        analysis = 40.0 * self.n_starts * self.units**2 + 100.0 * self.units**3
        memory = 32.0 * self.batch_size * self.length * self.units
        return Cost(self.steps * per_step + analysis, memory, self.steps * one + analysis / 1e9)


def loss(model: Any, batch: Any) -> Any:
    """Return the mean squared error of the running sum."""
    inputs, target = batch
    return (model["readout"](model["gru"](inputs)[0])[..., 0] - target).square().mean()


def components(modes: Any, deviation: Any) -> Any:
    """Return the part of a deviation along each mode, of a pair along both, (K, N), real."""
    import torch

    along = modes.right[0] * (modes.left[0] @ deviation.to(modes.left.dtype))[None]
    own = [modes.pairs([a])[0] for a in range(modes.eigvals.shape[1])]
    return torch.stack([along[:, members].sum(1).real for members in own])


def whole(modes: Any) -> np.ndarray:
    """Return all modes but the slowest, of each pair the first."""
    first = (modes.eigvals[0].imag >= 0).numpy()
    first[0] = False
    return np.flatnonzero(first)
