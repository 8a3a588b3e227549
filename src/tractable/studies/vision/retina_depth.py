"""How linear the retina is, and how faithful, against the depth of the brain behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
SOURCE = "arXiv:1901.00945, figure 3"
RECIPE = "bar of the scaled run on CIFAR-10 in gray at 16 pixels"
LINEARITY = {1: (0.674, 0.874, 0.911, 0.953, 0.911), 4: (0.584, 0.718, 0.695, 0.742, 0.729)}
RECONSTRUCTION = {
    1: (0.667, 0.832, 0.834, 0.917, 0.848),
    2: (0.780, 0.912, 0.946, 0.925, 0.939),
    4: (0.858, 0.942, 0.947, 0.949, 0.962),
}
N_PLANTED = 6000  # images of the cell whose linearity is known


@dataclass(frozen=True)
class RetinaDepth(Study):
    """The deeper the brain, the more linear its retina."""

    paper: ClassVar = Paper(
        "Lindsey, Ocko, Ganguli, Deny",
        2019,
        "A unified theory of early visual representations from retina to cortex through "
        "anatomically constrained deep CNNs",
        arxiv="1901.00945",
    )
    presets: ClassVar = {
        "smoke": {
            "data": "shapes",
            "depths": (0, 1),
            "n_seeds": 1,
            "steps": 10,
            "n_train": 400,
            "n_test": 400,
            "signatures": False,
        },
        "widths": {"n_bn": (1, 4)},
        "paper": {
            "data": "cifar10",
            "depths": (0, 1, 2, 3, 4),
            "n_bn": (1, 2, 4),
            "n_seeds": 8,
            "size": 32,
            "kernel": 9,
            "retina_channels": 32,
            "vvs_channels": 32,
            "head": (1024,),
            "pool": 1,
            "recipe": "paper",
        },
    }

    data: Literal["auto", "cifar10", "shapes"] = "auto"
    """Images: CIFAR-10 in gray, generated shapes, or CIFAR-10 where it is at hand."""
    depths: Annotated[tuple[int, ...], Range(0, 10)] = (0, 1, 2)
    """Layers behind the bottleneck."""
    n_bn: Annotated[tuple[int, ...], Range(1, 1000)] = (1,)
    """Channels of the bottleneck."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Networks of each depth and width."""
    size: Annotated[int, Range(16, 32)] = 16
    """Side of the images in pixels; divides 32."""
    kernel: Annotated[int, Range(3, 15)] = 5
    """Side of the kernels, odd."""
    retina_channels: Annotated[int, Range(1, 1000)] = 8
    """Channels of the retina's first layer."""
    vvs_channels: Annotated[int, Range(1, 1000)] = 16
    """Channels of the layers behind the bottleneck."""
    head: Annotated[tuple[int, ...], Range(1, 10_000)] = (64,)
    """Hidden units of the readout."""
    pool: Annotated[int, Range(1, 16)] = 2
    """Average pooling before the readout."""
    noise_in: Annotated[float, Range(0.0, 1.0)] = 0.0
    """Standard deviation of the noise on the training images; none when the layer is judged."""
    recipe: Literal["cpu", "paper"] = "cpu"
    """Training: Adam for some thousand steps, or RMSprop for 20 epochs as published."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 2500
    """Updates of the recipe cpu."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Learning rate of the recipe cpu."""
    n_train: Annotated[int, Range(0, 50_000)] = 0
    """Training images; 0: all."""
    n_test: Annotated[int, Range(0, 10_000)] = 0
    """Test images; 0: all. The first four fifths fit the regressions, the rest is scored."""
    signatures: bool = True
    """Assert the signatures, on CIFAR-10."""

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        from tractable.studies.vision._retina_nets import data_files

        return data_files(self.data)

    def net(self, depth: int, n_bn: int) -> dict[str, Any]:
        """Return the arguments of the network of this depth and width."""
        return {
            "n_bn": n_bn,
            "d_vvs": depth,
            "kernel": self.kernel,
            "retina_channels": self.retina_channels,
            "vvs_channels": self.vvs_channels,
            "pool": self.pool,
            "head": list(self.head),
            "noise_in": self.noise_in,
        }

    def work(self) -> tuple[list[tuple[dict[str, Any], int]], int, int]:
        """Return the networks with their numbers of seeds, the size and the updates of each."""
        nets = [(self.net(d, n), self.n_seeds) for d in self.depths for n in self.n_bn]
        return nets, self.size, 20 * 782 if self.recipe == "paper" else self.steps

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._retina_cost import say_cost
        from tractable.studies.vision._retina_nets import joined, resolved

        data = resolved(self.data)
        if data == "shapes":
            run.say("The images are generated shapes: a demonstration, no signature is asserted.")
        recipe = {"steps": self.steps, "learning_rate": self.learning_rate}
        where = [
            (n_bn, depth, run.seed + i)
            for n_bn in sorted(self.n_bn)
            for depth in sorted(self.depths)
            for i in range(self.n_seeds)
        ]
        points = [
            {
                "model": self.net(depth, n_bn),
                "recipe": "paper" if self.recipe == "paper" else recipe,
                "data": data,
                "size": self.size,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "seed": seed,
                "window": min(4 * (self.kernel // 2) + 3, self.size // 2 * 2 - 1),
                "device": str(run.device),
            }
            for n_bn, depth, seed in where
        ]
        say_cost(run, *self.work())
        nets = joined(run.map(depth_net, points))
        for i, name in enumerate(("n_bn", "depth", "seed")):
            nets[name] = ("net", [point[i] for point in where], ONE)
        nets["planted"] = ((), planted(run.seed), ONE)
        nets["n_classes"] = ((), 10 if data == "cifar10" else 6, ONE)
        nets.attrs["data"] = data
        return nets

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return the published values, and the linearity of a rectified linear cell."""
        import xarray as xr

        from tractable.vision.retina import rectification_cap

        depths = sorted(self.depths)
        empty = (float("nan"),) * 5

        def values(table: Mapping[int, tuple[float, ...]]) -> np.ndarray:
            return np.array(
                [
                    [dict(enumerate(table.get(n, empty))).get(d, np.nan) for d in depths]
                    for n in sorted(self.n_bn)
                ]
            )

        share = np.linspace(0.02, 1.0, 50)
        return xr.Dataset(
            {
                "linearity": (("width", "depth"), values(LINEARITY), ONE),
                "reconstruction": (("width", "depth"), values(RECONSTRUCTION), ONE),
                "cap": ("share", rectification_cap(share), ONE),
                "planted": ((), float(rectification_cap(0.5)), ONE),
            },
            coords={
                "depth": ("depth", depths, {"units": "layers"}),
                "width": ("width", sorted(self.n_bn), {"units": "channels"}),
                "share": ("share", share, ONE),
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        yield Check(
            "R2 of a rectified linear cell on Gaussian images",
            float(measured["planted"]),
            float(theory["planted"]),
            atol=0.03,
            source="slope 1/2, variance 1/2 - 1/(2 pi): 0.7335",
        )
        active = np.nan_to_num(measured["active"].values)
        yield Check(
            "networks with a dead bottleneck", int((active.max(1) == 0).sum()), 0, source=RECIPE
        )
        if not self._asserted(measured):
            return
        yield Check(
            "least accuracy over chance",
            float(measured["accuracy"].min()) * float(measured["n_classes"]),
            1.5,
            kind="at_least",
            source="half of the networks' usual accuracy; below it a network is not trained",
        )
        fit = scatter_r2(measured)
        yield Check(
            "largest gap between R2 and the squared correlation of the scored images",
            float(np.abs(fit - measured["first_r2"].values).max()),
            0.0,
            atol=0.02,
            source="a regression with neither bias nor overfitting",
        )
        low, high = min(self.depths), 2
        if low != 0 or high not in self.depths:
            return
        for n in sorted(self.n_bn):
            by = {d: at(measured, n, d) for d in self.depths}
            yield Check(
                f"F3A: R2(D=2) - R2(D=0), {n} channel(s)",
                float(by[2]["linearity"].mean() - by[0]["linearity"].mean()),
                0.05,
                kind="at_least",
                source=f"{SOURCE}A; {RECIPE}",
            )
            yield Check(
                f"F3: reconstruction, lowest deeper minus that of D=0, {n} channel(s)",
                float(
                    min(by[d]["reconstruction"].mean() for d in by if d)
                    - by[0]["reconstruction"].mean()
                ),
                0.0,
                kind="at_least",
                source=f"{SOURCE}: D=0 is the lowest",
            )
            yield Check(
                f"F1: accuracy(D=2) - accuracy(D=0), {n} channel(s)",
                float(by[2]["accuracy"].mean() - by[0]["accuracy"].mean()),
                -0.01,
                kind="at_least",
                source="arXiv:1901.00945, figure 1D",
            )

    def _asserted(self, measured: xr.Dataset) -> bool:
        return self.signatures and measured.attrs["data"] == "cifar10"

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        depths, widths = sorted(self.depths), sorted(self.n_bn)
        for n in widths:
            shown = [f"{float(at(measured, n, d)['linearity'].mean()):.3f} (D={d})" for d in depths]
            yield f"With {n} channel(s) a linear function of the image explains {', '.join(shown)}."
            back = [float(at(measured, n, d)["reconstruction"].mean()) for d in depths]
            yield (
                "The central pixel is read back from the retina's output with R2 "
                + ", ".join(f"{r:.3f} (D={d})" for r, d in zip(back, depths, strict=True))
                + "."
            )
        yield (
            "A linear cell that only rectifies, on Gaussian signals, reaches the bound in the "
            "table below, not 1; what a monotone function of the linear prediction adds is "
            "rectification, the rest of the way to 1 is nonlinear."
        )
        yield table_of_nets(measured)
        rows = []
        for i, n in enumerate(widths):
            for j, d in enumerate(depths):
                here = at(measured, n, d)
                pairs = [
                    round(float(x), 3)
                    for name in ("linearity", "reconstruction")
                    for x in (here[name].mean(), theory[name].values[i, j])
                ]
                rows.append((n, d, *pairs))
        columns = ("channels", "D", "linear R2", "published", "reconstruction", "published")
        title = "Means over seeds beside the published ones (32 pixels, kernels of 9 x 9)"
        yield Table(title, columns, tuple(rows))

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        return {"depth": depth_figure(theory, measured), "scatter": scatter_figure(measured)}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        return training_cost(*self.work(), str(run.device))


def depth_net(
    model: dict[str, Any],
    recipe: dict[str, Any] | str,
    data: str,
    size: int,
    n_train: int,
    n_test: int,
    seed: int,
    window: int,
    device: str,
) -> xr.Dataset:
    """Train one network; return how linear its retina is and how well an image is read back."""
    import xarray as xr

    from tractable.studies.vision._retina_nets import build, images
    from tractable.vision.retina import linearity, reconstruction, train_classifier

    pictures = images(data, size, n_train, n_test)
    net = build(model, pictures, seed)
    done = train_classifier(
        net, pictures, recipe, seed=seed, device=device, record_at=[], progress=False
    )
    net = net.cpu().eval()
    layer = str(net.bottleneck)
    found = linearity(net, layer, pictures.test, window=window)
    back = reconstruction(net, layer, pictures.test)
    scatter = {"predicted": found.predicted[:, 0], "actual": found.actual[:, 0]}
    largest = max(float(np.abs(found.actual[:, 0]).max()), 1e-12)
    per = {"cap": found.cap, "monotone": found.ln_r2, "active": found.active}
    return xr.Dataset(
        {
            "accuracy": ((), done.accuracy, ONE),
            "n_restarts": ((), len(done.restarts), ONE),
            "linearity": ((), found.r2, ONE),
            "first_r2": ((), float(found.r2_per_channel[0]), ONE),
            "penalty": ((), found.penalty, {"units": "intensity^2"}),
            "reconstruction": ((), back.r2, ONE),
            **{name: ("unit", values, ONE) for name, values in per.items()},
            **{name: ("image", values / largest, ONE) for name, values in scatter.items()},
        },
        coords={"unit": np.arange(len(found.active))},
    )


def planted(seed: int) -> float:
    """Return the measured linearity of a rectified linear cell on Gaussian images."""
    import torch

    from tractable.core.seeds import derive, generator
    from tractable.vision.retina import linearity

    draw = generator(derive(seed, "planted"))
    images = torch.randn(N_PLANTED, 1, 6, 6, generator=draw)
    weight = torch.randn(36, generator=draw)

    def cell(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x.flatten(1) @ weight)[:, None]

    return linearity(cell, None, images).r2


def at(measured: xr.Dataset, n_bn: int, depth: int) -> xr.Dataset:
    """Return the networks of one width and depth."""
    here = (measured["n_bn"].values == n_bn) & (measured["depth"].values == depth)
    return measured.isel(net=here)


def scatter_r2(measured: xr.Dataset) -> np.ndarray:
    """Return the squared correlation of prediction and activation of each network."""
    pairs = zip(measured["predicted"].values, measured["actual"].values, strict=True)
    return np.array([np.corrcoef(p, a)[0, 1] ** 2 if np.ptp(a) > 0 else np.nan for p, a in pairs])


def table_of_nets(measured: xr.Dataset) -> Table:
    """Return one row per network."""
    names = ("n_bn", "depth", "seed", "accuracy", "active", "linearity", "monotone", "cap")
    columns = ("channels", "D", "seed", "accuracy", "active", "linear R2", "monotone R2",
               "bound of a rectified Gaussian", "reconstruction", "restarts")  # fmt: skip
    rows = []
    for i in range(measured.sizes["net"]):
        one = measured.isel(net=i)
        values = {name: np.asarray(one[name].values, dtype=float) for name in names}
        mean = {
            k: float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else float("nan")
            for k, v in values.items()
        }
        rows.append(
            tuple(int(mean[name]) for name in names[:3])
            + tuple(round(mean[name], 3) for name in names[3:])
            + (round(float(one["reconstruction"]), 3), int(one["n_restarts"]))
        )
    return Table("Networks", columns, tuple(rows))


def depth_figure(theory: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Return linearity and reconstruction against depth, beside the published values."""
    from tractable import plot

    figure, axes = plot.new(1, 2, size=(9.0, 3.4))
    titles = {"linearity": "linear R² of the retina", "reconstruction": "R² of the central pixel"}
    for ax, (name, label) in zip(axes, titles.items(), strict=True):
        for i, n in enumerate(theory["width"].values):
            color = f"C{i}"
            ax.plot(theory["depth"], theory[name].values[i], color=color, ls="--", marker="x",
                    label=f"published, {n} channel(s)")  # fmt: skip
            here = measured.isel(net=measured["n_bn"].values == n)
            ax.plot(here["depth"], here[name], "o", color=color, ms=5, alpha=0.8,
                    label=f"measured, {n} channel(s)")  # fmt: skip
        ax.set(xlabel="layers behind the bottleneck, D", ylabel=label)
        ax.set_xticks(theory["depth"].values)
        ax.legend()
    figure.set_label(
        "Left: held-out R² of a ridge regression from the image to the retina's output at the "
        "center. Right: of one from the retina's output to the central pixel. Circles, every "
        "network; crosses, the published means (32 pixels, kernels of 9 x 9)."
    )
    return figure


def scatter_figure(measured: xr.Dataset) -> Figure:
    """Return activation against linear prediction for the first network of each depth."""
    from tractable import plot

    depths = np.unique(measured["depth"].values)
    figure, axes = plot.new(1, len(depths), size=(1.0 + 2.8 * len(depths), 3.0), squeeze=False)
    for ax, depth in zip(axes[0], depths, strict=True):
        one = measured.isel(net=int(np.flatnonzero(measured["depth"].values == depth)[0]))
        ax.plot(one["predicted"], one["actual"], ".", ms=2, alpha=0.4, rasterized=True)
        ax.axline((0, 0), slope=1, color="0.4", lw=0.8)
        ax.set(xlabel="linear prediction", ylabel="activation over its largest")
        ax.set_title(f"D = {int(depth)}, R² {float(one['first_r2']):.3f}", fontsize=9)
    figure.set_label(
        "Activation of the first channel of the retina's output at the center against its linear "
        "prediction from the image, for images that were not fitted; the first seed of each depth."
    )
    return figure
