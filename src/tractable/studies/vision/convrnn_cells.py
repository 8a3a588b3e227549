"""Which recurrent cell pays: recall of the first digit, at equal numbers of parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

Net = Literal[
    "feedforward",
    "timedecay",
    "vanilla",
    "vanilla+norm",
    "ugrnn",
    "gru",
    "lstm",
    "intersection",
    "rgc",
]
ALL: tuple[Net, ...] = (
    *("feedforward", "timedecay", "vanilla", "vanilla+norm", "ugrnn"),
    *("gru", "lstm", "intersection", "rgc"),
)
NAYEBI = "arXiv:1807.00053: inside deep networks gating and bypassing pay, vanilla cells do not"
BOUND = "exact: E[max_c n_c / (d + 1)], multinomial"
ONE = {"units": "1"}
FORMULA = "closed form: 2 (kC^2 + C) vanilla, 6kC^2 + 3C GRU, 8kC^2 + 4C LSTM, 5 (kC^2 + C) RGC"


@dataclass(frozen=True)
class ConvrnnCells(Study):
    """Recall of the first digit by nine recurrent cells with equally many parameters."""

    version: ClassVar[int] = 1
    paper: ClassVar = Paper(
        "Nayebi, Bear, Kubilius, Kar, Ganguli, Sussillo, DiCarlo, Yamins",
        2018,
        "Task-driven convolutional recurrent models of the visual system",
        arxiv="1807.00053",
    )
    presets: ClassVar = {
        "smoke": {
            "variants": ("A",),
            "nets": ("feedforward", "rgc"),
            "widths": (4,),
            "n_seeds": 1,
            "steps": 6,
            "batch_size": 16,
            "n_test": 100,
            "signatures": False,
        },
        "pareto": {"variants": ("C",), "nets": ALL, "widths": (6, 12)},
        "paper": {
            "nets": ALL,
            "widths": (12, 24, 48),
            "n_seeds": 10,
            "steps": 3000,
        },
    }

    variants: tuple[Literal["A", "B", "C"], ...] = ("A", "B", "C")
    """A: one distractor; B: five glimpses, then a delay; C: three distractors."""
    nets: tuple[Net, ...] = ("feedforward", "vanilla", "vanilla+norm", "rgc")
    """Networks; all have as many parameters as the reciprocal-gated one of the same width."""
    widths: Annotated[tuple[int, ...], Range(2, 512)] = (12,)
    """Channels of the reciprocal-gated cell."""
    n_seeds: Annotated[int, Range(1, 100)] = 3
    """Networks of each kind."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 300
    """Updates."""
    batch_size: Annotated[int, Range(1, 1297, log=True)] = 48
    """Movies of an update."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 5e-3
    """Of Adam, at the peak of one cycle."""
    tau_bias: Annotated[float, Range(-8.0, 8.0)] = -2.0
    """Bias of the reciprocal-gated cell's memory: it keeps 1 - sigmoid(bias) in each step."""
    gate_bias: Annotated[float, Range(-8.0, 8.0)] = -1.0
    """Bias of its input gates."""
    n_test: Annotated[int, Range(10, 1500)] = 500
    """Test digits; the other ones of 1,797 are for training."""
    signatures: bool = True
    """Assert the signatures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("variants", "nets", "widths"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must name each once, and at least one, got {values}")

    # --- measurement -------------------------------------------------------------------------

    def _keys(self) -> list[tuple[str, str, int, int]]:
        """Return variant, network, width and number of every training run."""
        return [
            (variant, net, width, number)
            for variant in self.variants
            for net in self.nets
            for width in self.widths
            for number in range(self.n_seeds)
        ]

    def _point(self, key: tuple[str, str, int, int], seed: int, device: str) -> dict[str, Any]:
        from tractable.studies.vision._convrnn_parts import recall_spec

        variant, net, width, number = key
        spec = recall_spec(net, width, tau_bias=self.tau_bias, gate_bias=self.gate_bias)
        return {
            "spec": spec.to_json(),
            "readout": "mean" if net == "feedforward" else "last",
            "variant": variant,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "n_test": self.n_test,
            "seed": seed + number,
            "device": device,
        }

    def measure(self, run: Run) -> xr.Dataset:
        import xarray as xr

        from tractable.studies.vision._convrnn_parts import train_recall

        keys = self._keys()
        parts = run.map(train_recall, [self._point(k, run.seed, str(run.device)) for k in keys])
        coords: dict[str, Any] = {
            "variant": list(self.variants),
            "net": list(self.nets),
            "width": list(self.widths),
            "seed": np.arange(run.seed, run.seed + self.n_seeds),
        }
        shape = tuple(len(values) for values in coords.values())
        data: dict[str, Any] = {}
        for name in ("accuracy", "parameters", "cell_parameters", "channels", "macs", "final_loss"):
            values = np.array([float(part[name]) for part in parts]).reshape(shape)
            data[name] = (tuple(coords), values, parts[0][name].attrs)
        n_frames = max(part.sizes["frame"] for part in parts)
        by_frame = np.full((len(parts), n_frames), np.nan)
        for row, part in zip(by_frame, parts, strict=True):
            row[: part.sizes["frame"]] = part.accuracy_by_frame
        by_frame = by_frame.reshape(*shape, n_frames)
        data["accuracy_by_frame"] = ((*coords, "frame"), by_frame, ONE)
        data["class_share"] = ("digit", parts[0].class_share.values, ONE)
        return xr.Dataset(data, coords={**coords, "frame": np.arange(1, n_frames + 1)})

    # --- theory ------------------------------------------------------------------------------

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Bound the nets that are blind to order, and count parameters by formula."""
        import xarray as xr

        from tractable.studies.vision._convrnn_sizes import match_channels, recall_parameters
        from tractable.vision.convrnn.recall import RecallTask, recall_tasks

        share = np.full(10, 0.1) if measured is None else measured.class_share.values
        tasks = [recall_tasks()[variant] for variant in self.variants]
        bounds = [task.bound(share) if isinstance(task, RecallTask) else 1.0 for task in tasks]
        sizes = [[match_channels(net, width) for width in self.widths] for net in self.nets]
        parameters = [
            [recall_parameters(net, *size) for size in row]
            for net, row in zip(self.nets, sizes, strict=True)
        ]
        return xr.Dataset(
            {
                "bound": ("variant", bounds, ONE),
                "chance": ((), float(share.max()), ONE),
                "parameters": (("net", "width"), parameters, ONE),
            },
            coords={
                "variant": list(self.variants),
                "net": list(self.nets),
                "width": list(self.widths),
            },
        )

    # --- what it says ------------------------------------------------------------------------

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        wrong = abs(measured.parameters - theory.parameters).max()
        yield Check("parameters off the formula", float(wrong), 0, source=FORMULA)
        if "rgc" in self.nets:
            ratio = theory.parameters / theory.parameters.sel(net="rgc")
            yield Check(
                "parameters, largest deviation from those of the reciprocal-gated network",
                float(abs(ratio - 1).max()),
                0.02,
                kind="at_most",
                source="a fair comparison",
            )
        if "feedforward" in self.nets:
            for variant in self.variants:
                if variant != "B":
                    yield Check(
                        f"{variant}: feedforward, best seed, against the permutation bound",
                        float(measured.accuracy.sel(variant=variant, net="feedforward").max()),
                        float(theory.bound.sel(variant=variant)),
                        0.03,
                        kind="at_most",
                        source=BOUND,
                    )
        if self.signatures and "rgc" in self.nets:
            for variant in self.variants:
                yield from self._signatures(variant, theory, measured)

    def _signatures(
        self, variant: str, theory: xr.Dataset, measured: xr.Dataset
    ) -> Iterator[Check]:
        accuracy = measured.accuracy.sel(variant=variant, width=self.widths[-1])
        gated = accuracy.sel(net="rgc")

        def over(net: str) -> xr.DataArray:
            return gated - accuracy.sel(net=net)

        def at_least(name: str, value: Any, bound: float, source: str) -> Check:
            return Check(f"{variant}: {name}", value, bound, kind="at_least", source=source)

        if variant == "A" and "feedforward" in self.nets:
            yield at_least(
                "reciprocal-gated over feedforward, worst seed",
                float(over("feedforward").min()),
                0.30,
                BOUND,
            )
        if variant == "B" and "vanilla" in self.nets:
            yield at_least(
                "reciprocal-gated over vanilla without norm, mean of the seeds",
                float(over("vanilla").mean()),
                0.30,
                NAYEBI,
            )
        if variant == "C":
            yield at_least("reciprocal-gated, worst seed", float(gated.min()), 0.90, NAYEBI)
            bound = float(theory.bound.sel(variant=variant))
            yield at_least(
                "reciprocal-gated over the permutation bound, worst seed",
                float(gated.min()) - bound,
                0.45,
                BOUND,
            )
            if "vanilla" in self.nets:
                yield at_least(
                    "reciprocal-gated over vanilla without norm, worst seed",
                    float(over("vanilla").min()),
                    0.25,
                    NAYEBI,
                )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._convrnn_figures import TITLES

        mean = measured.accuracy.mean("seed").isel(width=-1)
        for variant in self.variants:
            ranked = mean.sel(variant=variant).sortby(mean.sel(variant=variant), ascending=False)
            named = ", ".join(
                f"{TITLES[str(n)]} {float(ranked.sel(net=n)):.3f}" for n in ranked.net.values
            )
            limit = f"; blind to order: at most {float(theory.bound.sel(variant=variant)):.3f}"
            yield f"Variant {variant}: {named}{limit if variant != 'B' else ''}."
        if {"vanilla+norm", "rgc"} <= set(self.nets):
            gap = mean.sel(net="rgc") - mean.sel(net="vanilla+norm")
            said = ", ".join(f"{v} {float(gap.sel(variant=v)):+.3f}" for v in self.variants)
            yield (
                f"Reciprocal-gated less vanilla with layer norm: {said}. What the gates give over "
                "a vanilla cell, a layer norm gives as well, wherever this is about zero."
            )
        rows = []
        for variant in self.variants:
            for net in self.nets:
                for width in self.widths:
                    one = measured.sel(variant=variant, net=net, width=width)
                    rows.append(
                        (
                            variant,
                            TITLES[net],
                            int(one.channels[0]),
                            int(one.cell_parameters[0]),
                            int(one.parameters[0]),
                            float(one.macs[0]) / 1e6,
                            " / ".join(f"{a:.3f}" for a in one.accuracy.values),
                        )
                    )
        columns = (
            *("variant", "network", "channels", "cell parameters", "parameters"),
            *("million operations per movie", "test accuracy, each seed"),
        )
        yield Table("Recall of the first digit", columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision import _convrnn_figures as draw

        return {
            "accuracy": draw.cell_accuracies(theory, measured),
            "frames": draw.accuracy_by_frame(theory, measured),
            "pareto": draw.cell_pareto(theory, measured),
        }

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._convrnn_parts import recall_cost

        # One network of each kind is timed, at the smallest width; others by their operations.
        operations = seconds = memory = 0.0
        for variant in self.variants:
            for net in self.nets:
                first = (variant, net, self.widths[0], 0)
                base, peak, time = recall_cost(**self._point(first, run.seed, str(run.device)))
                for width in self.widths:
                    scale = self.n_seeds * (width / self.widths[0]) ** 2
                    operations += scale * base
                    seconds += scale * time
                    memory = max(memory, peak * width / self.widths[0])
        return Cost(operations, memory, seconds)
