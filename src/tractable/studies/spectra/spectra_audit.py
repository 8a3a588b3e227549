"""Audit of one's own model: its Jacobian spectrum, the cause of a bad one, remedy and proof."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from matplotlib.figure import Figure
    from torch import nn

    from tractable.spectra import Audit

ONE = {"units": "1"}
WHEN = ("before", "after")
QUANTITIES = ("mean", "variance", "advice", "share")


@dataclass(frozen=True)
class SpectraAudit(Study):
    """Why a deep network does not train: its Jacobian spectrum before and after initialization."""

    paper: ClassVar = Paper(
        "Pennington, Schoenholz, Ganguli",
        2017,
        "Resurrecting the sigmoid in deep learning through dynamical isometry: theory and practice",
        arxiv="1711.04735",
    )
    presets: ClassVar = {
        "smoke": {"depth": 12, "width": 40, "n_samples": 2, "signatures": False},
        "paper": {"depth": 200, "width": 400, "n_samples": 8},
    }

    model: str = ""
    """Your model, file.py:make, a function without arguments that returns an nn.Module."""
    data: str = ""
    """Your inputs, a .npy file of shape (samples, ...); by default normal numbers of variance 1."""
    depth: Annotated[int, Range(1, 10_000, log=True)] = 64
    """Layers of the generated example (without --model): tanh, Xavier-Gaussian weights."""
    width: Annotated[int, Range(2, 10_000, log=True)] = 256
    """Units of a layer of the generated example."""
    n_samples: Annotated[int, Range(1, 1000)] = 4
    """Samples whose Jacobian is measured."""
    target_variance: Annotated[float, Range(1e-6, 1e6, log=True)] = 0.25
    """Variance of the eigenvalues of J J^T that the initialization aims at."""
    initialize: bool = True
    """Initialize a copy of the model and audit it, too: the proof of the remedy."""
    signatures: bool = True
    """Assert what the theory says of the generated example."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data and not self.model:
            raise ValueError("data goes with a model of your own: name it by model=file.py:make")

    @property
    def own(self) -> bool:
        """Whether the model is the user's."""
        return bool(self.model)

    def measure(self, run: Run) -> xr.Dataset:
        import copy

        import xarray as xr

        from tractable.core.checks import quiet
        from tractable.spectra import audit, init_

        network, inputs = self.build(run.seed)
        network = network.to(run.device)
        inputs = inputs.to(run.device)
        audits: dict[str, Audit | None] = dict.fromkeys(WHEN)
        remedy = ""
        settings: dict[str, Any] = {
            "n_samples": self.n_samples,
            "seed": run.seed,
            "progress": run.show_progress,
        }
        audits["before"] = audit(network, inputs, **settings)
        if self.initialize:
            twin = copy.deepcopy(network)
            try:
                with quiet():  # what was skipped stands in the report
                    report = init_(
                        twin,
                        target_variance=self.target_variance,
                        input_batch=inputs,
                        seed=run.seed,
                    )
                remedy = str(report)
                audits["after"] = audit(twin, inputs, **settings)
            except (ValueError, FloatingPointError) as error:
                remedy = f"Not initialized: {error}"
        parts, attrs = [], {"remedy": remedy}
        for when, found in audits.items():
            if found is None:
                continue
            dataset = found.to_dataset()
            attrs[when] = json.dumps({key: _scalar(value) for key, value in dataset.attrs.items()})
            names = {name: f"{when}_{name}" for name in [*dataset.variables, *dataset.dims]}
            parts.append(dataset.rename(names).drop_attrs(deep=False))
        merged = xr.merge(parts, combine_attrs="drop").assign_attrs(attrs)
        merged = merged.assign_coords(when=list(WHEN), quantity=list(QUANTITIES))
        for variable in merged.data_vars.values():
            variable.attrs.setdefault("units", "1")
        return merged.assign(numbers=_numbers(audits))

    def build(self, seed: int) -> tuple[nn.Module, torch.Tensor]:
        """Return the model and its inputs: the user's, or the generated example."""
        import torch
        from torch import nn

        from tractable.core.seeds import derive, generator, seeded

        if not self.own:
            with seeded(derive(seed, "example") % 2**32):
                layers = [
                    part
                    for _ in range(self.depth)
                    for part in (nn.Linear(self.width, self.width), nn.Tanh())
                ]
                for part in layers:
                    if isinstance(part, nn.Linear):
                        nn.init.xavier_normal_(part.weight)
                        nn.init.zeros_(part.bias)
            random = generator(derive(seed, "inputs"))
            return nn.Sequential(*layers), torch.randn(64, self.width, generator=random)
        network = make_model(self.model, seed)
        if not self.data:
            raise ValueError(
                "model needs inputs to be audited on: give data=x.npy, an array (samples, ...)"
            )
        return network, read_inputs(self.data)

    def audits(self, measured: xr.Dataset) -> dict[str, Audit]:
        """Return the audits from the dataset."""
        from tractable.spectra import Audit

        found = {}
        for when in WHEN:
            if when not in measured.attrs:
                continue
            prefix = f"{when}_"
            names = {
                str(name): str(name).removeprefix(prefix)
                for name in [*measured.variables, *measured.dims]
                if str(name).startswith(prefix)
            }
            kept = measured[[name for name in names if name in measured.variables]]
            rename = {k: v for k, v in names.items() if k in kept.variables or k in kept.dims}
            attrs = json.loads(measured.attrs[when])
            found[when] = Audit.from_dataset(kept.rename(rename).assign_attrs(attrs))
        return found

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return what is predicted of the audited model, from the scales of its layers.

        Of the example without ``measured``: what the initialization aims at.
        """
        import xarray as xr

        variables: dict[str, Any] = {"target": ((), self.target_variance, ONE)}
        for when, found in ({} if measured is None else self.audits(measured)).items():
            if found.predicted is not None:
                variables[f"{when}_mean"] = ((), found.predicted.mean, ONE)
                variables[f"{when}_variance"] = ((), found.predicted.relative_variance, ONE)
        return xr.Dataset(variables)

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        numbers = measured.numbers
        for when in WHEN:
            if f"{when}_variance" not in theory:
                continue
            expected = float(theory[f"{when}_variance"])
            found = float(numbers.sel(when=when, quantity="variance"))
            if not (math.isfinite(expected) and math.isfinite(found)):
                continue
            yield Check(
                f"{when} initialization: relative variance of J J^T, measured over predicted",
                found / expected if expected else math.nan,
                1.0,
                atol=0.35,
                source="sum of the layers' v and r (arXiv:1711.04735); layers of finite width",
            )
        if self.own or not self.signatures:
            yield Check(
                "share of the spectrum below its upper quartile",
                float(numbers.sel(when="before", quantity="share")),
                0.75,
                atol=0.05,
                source="definition of a quantile",
            )
            return
        yield Check(
            "Xavier example: relative variance of J J^T before, over the depth",
            float(numbers.sel(when="before", quantity="variance")) / self.depth,
            1.0,
            atol=0.35,
            source="Gaussian weights add 1 per layer: arXiv:1711.04735, section 2",
        )
        yield Check(
            "Xavier example: relative variance of J J^T after, over the target",
            float(numbers.sel(when="after", quantity="variance"))
            / float(theory.target or math.nan),
            1.0,
            atol=0.35,
            source="L v(q*) = target: arXiv:1711.04735, section 2",
        )
        yield Check(
            "Xavier example: problems and warnings left after initialization",
            float(numbers.sel(when="after", quantity="advice")),
            0,
            source="the remedy mends its cause",
        )

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        found = self.audits(measured)
        first = found["before"]
        for item in first.advice:
            yield f"{item.severity.capitalize()}: {item.sentence}."
        if not first.advice:
            yield "Nothing to mend: the spectrum is as narrow as asked for and critical."
        if first.reason:
            yield f"About the prediction: {first.reason}."
        if measured.attrs["remedy"]:
            yield measured.attrs["remedy"].splitlines()[0] + "."
        if "after" in found:
            left = [item for item in found["after"].advice if item.severity != "note"]
            if left:
                yield "After initialization there remains: " + "; ".join(i.code for i in left) + "."
            else:
                yield "After initialization no problem and no warning is left."
        rows = []
        for when, one in found.items():
            predicted = one.predicted
            low, high = one.measured.quantile([0.05, 0.95])
            rows.append(
                (
                    when,
                    one.measured.mean,
                    float("nan") if predicted is None else predicted.mean,
                    one.measured.relative_variance,
                    float("nan") if predicted is None else predicted.relative_variance,
                    float(one.measured.s_max.max()),
                    float(low),
                    float(high),
                )
            )
        yield Table(
            "Eigenvalues of J J^T",
            (
                *("initialization", "mean", "predicted", "relative variance", "predicted"),
                *("largest singular value", "5 % quantile", "95 % quantile"),
            ),
            tuple(rows),
        )
        if first.layers:
            yield _layer_table(first)
        if first.blocks:
            yield Table(
                "Blocks",
                ("block", "kind", "inputs", "outputs", "mean", "relative variance", "s_max"),
                tuple(
                    (b.name, b.kind, b.n_in, b.n_out, b.mean, b.relative_variance, b.s_max)
                    for b in first.blocks
                ),
            )

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.spectra.plots import plot_audit

        return {f"audit-{when}": plot_audit(found) for when, found in self.audits(measured).items()}

    def cost(self, run: Run) -> Cost:
        import time

        if self.own:
            network, inputs = self.build(run.seed)
            n_in = inputs[0].numel()
            started = time.perf_counter()
            network(inputs[:1])
            forward = time.perf_counter() - started
            weights = sum(p.numel() for p in network.parameters())
        else:
            n_in, weights = self.width, self.depth * self.width**2
            forward = 2e-5 * self.depth + 2.0 * weights / 2e10
        side = min(n_in, 4096)
        products = self.n_samples * side * (2 if self.initialize else 1)
        operations = 6.0 * weights * products + 20.0 * self.n_samples * side**3
        seconds = 3 * forward * products / 8 + 20.0 * self.n_samples * side**3 / 1e10
        return Cost(operations, 8.0 * side * n_in + 16.0 * weights, max(seconds, 0.1))


def make_model(path: str, seed: int) -> nn.Module:
    """Return the model that ``file.py:make`` makes.

    Raises
    ------
    ValueError
        No such file or function, one that needs arguments, or that returns no module.
    """
    import inspect
    from pathlib import Path

    from torch import nn

    from tractable.core.processes import load_file
    from tractable.core.seeds import derive, seeded

    file, _, name = path.rpartition(":")
    if not file.endswith(".py") or not name:
        raise ValueError(f"model must be file.py:function, got {path!r}")
    if not Path(file).is_file():
        raise ValueError(f"model: there is no file {file!r}")
    make = getattr(load_file(file), name, None)
    if not callable(make):
        raise ValueError(f"model: {file} has no function {name!r}")
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise ValueError(
            f"model: {name} must take no arguments, but its call fails: {error}"
        ) from None
    with seeded(derive(seed, "model") % 2**32):
        network = make()
    if not isinstance(network, nn.Module):
        raise ValueError(f"model: {name} must return an nn.Module, got {type(network).__name__}")
    return network


def read_inputs(path: str) -> torch.Tensor:
    """Return the samples of a .npy file as a tensor, floats as float32.

    Raises
    ------
    ValueError
        No such file, no numbers, or no samples.
    """
    from pathlib import Path

    import torch

    if not Path(path).is_file():
        raise ValueError(f"data: there is no file {path!r}")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"data must be a .npy file of numbers, got {path!r}: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.ndim < 1:
        raise ValueError(f"data must be an array of numbers (samples, ...), got {path!r}")
    if len(array) == 0:
        raise ValueError(f"data must hold one sample or more, got shape {array.shape}")
    kind = np.float32 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.ascontiguousarray(array.astype(kind)))


def _numbers(audits: dict[str, Audit | None]) -> Any:
    """Return the numbers that checks read: rows before and after, NaN where there is no audit."""
    rows = []
    for when in WHEN:
        found = audits[when]
        if found is None:
            rows.append([math.nan] * len(QUANTITIES))
            continue
        spectrum = found.measured
        serious = sum(item.severity != "note" for item in found.advice)
        share = float(spectrum.cdf(float(spectrum.quantile(0.75))))
        rows.append([spectrum.mean, spectrum.relative_variance, float(serious), share])
    return (("when", "quantity"), np.array(rows), ONE)


def _layer_table(found: Audit) -> Table:
    """Return the layers, a few of many."""
    layers = found.layers
    shown = list(range(len(layers)))
    if len(layers) > 12:
        shown = sorted(
            {*range(4), *range(4, len(layers) - 3, len(layers) // 6 + 1)}
            | {*range(len(layers) - 3, len(layers))}
        )
    return Table(
        f"Layers ({len(shown)} of {len(layers)})",
        (
            *("layer", "shape", "nonlinearity", "sigma_w", "sigma_w^2", "sigma_b", "q", "chi"),
            *("v", "r of W W^T", "dead", "orthogonality error"),
        ),
        tuple(
            (
                layers[i].name,
                f"{layers[i].n_in} to {layers[i].n_out}",
                layers[i].nonlinearity or "none",
                layers[i].sigma_w,
                layers[i].sigma_w ** 2,
                layers[i].sigma_b,
                *(layers[i].q, layers[i].chi, layers[i].v, layers[i].r, layers[i].dead),
                layers[i].ortho_error,
            )
            for i in shown
        ),
    )


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
