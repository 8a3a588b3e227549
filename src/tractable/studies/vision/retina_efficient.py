"""The retina that carries the most information, beside one that learned to tell images apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tractable.studies.vision.retina_bottleneck import (
    correlation,
    gaussian_correlation,
    mean_gain,
    power_law,
)
from tractable.study import Check, Cost, Paper, Range, Run, Study, Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ONE = {"units": "1"}
CYCLES = {"units": "cycles / image"}
NOISES = (0.0, 0.03, 0.1, 0.3)  # standard deviations, beside that of the study
# Sum and absolute sum of a field are F(0) and at least max F, so that its surround over its center
# is at least (1 - g) / (1 + g) with g = F(0) / max F: 0.2 at this g.
RISES = 2 / 3
RECIPE = "bar of the scaled run on CIFAR-10 in gray at 16 pixels"


@dataclass(frozen=True)
class RetinaEfficient(Study):
    """One channel between two noises: why its best field is center-surround."""

    paper: ClassVar = Paper(
        "Atick, Redlich",
        1992,
        "What does the retina know about natural scenes?",
        doi="10.1162/neco.1992.4.2.196",
    )
    presets: ClassVar = {
        "smoke": {
            "data": "shapes",
            "n_seeds": 1,
            "steps": 20,
            "n_train": 400,
            "n_test": 200,
            "signatures": False,
        },
        "paper": {"data": "cifar10", "n_seeds": 10, "size": 32, "steps": 15_640},
    }

    data: Literal["auto", "cifar10", "shapes"] = "auto"
    """Images: CIFAR-10 in gray, generated shapes, or CIFAR-10 where it is at hand."""
    noise_in: Annotated[float, Range(0.001, 1.0, log=True)] = 0.1
    """Standard deviation of the noise at the input, of the theory and of the training images."""
    power: Annotated[float, Range(1e-6, 1e6, log=True)] = 0.1
    """Signal power over output noise: the one free number of the theory."""
    n_seeds: Annotated[int, Range(1, 100)] = 2
    """Networks with one bottleneck channel."""
    size: Annotated[int, Range(16, 32)] = 16
    """Side of the images in pixels; divides 32."""
    steps: Annotated[int, Range(1, 1_000_000, log=True)] = 2500
    """Updates."""
    learning_rate: Annotated[float, Range(1e-6, 1.0, log=True)] = 3e-3
    """Learning rate."""
    n_train: Annotated[int, Range(0, 50_000)] = 0
    """Training images; 0: all."""
    n_test: Annotated[int, Range(0, 10_000)] = 0
    """Test images; 0: all."""
    signatures: bool = True
    """Assert that the learned gain is the predicted one, on CIFAR-10."""

    def files(self) -> list[Path]:
        """Return the image files that the run depends on."""
        from tractable.studies.vision._retina_nets import data_files

        return data_files(self.data)

    def net(self) -> dict[str, Any]:
        """Return the arguments of the network."""
        return {
            "n_bn": 1,
            "d_vvs": 1,
            "kernel": 5,
            "retina_channels": 8,
            "vvs_channels": 16,
            "pool": 2,
            "head": [64],
            "noise_in": self.noise_in,
        }

    def measure(self, run: Run) -> xr.Dataset:
        from tractable.studies.vision._retina_nets import (
            joined,
            power_spectrum,
            resolved,
            train_net,
        )

        data = resolved(self.data)
        if data == "shapes":
            run.say("The images are generated shapes: a demonstration, no signature is asserted.")
        points = [
            {
                "model": self.net(),
                "recipe": {"steps": self.steps, "learning_rate": self.learning_rate},
                "data": data,
                "size": self.size,
                "n_train": self.n_train,
                "n_test": self.n_test,
                "seed": run.seed + i,
                "layers": ["retina_2"],
                "device": str(run.device),
                "curves": False,
            }
            for i in range(self.n_seeds)
        ]
        nets = joined(run.map(train_net, points)).drop_vars("seconds", errors="ignore")
        nets["n_bn"] = ("net", [1] * len(points), ONE)
        nets["seed"] = ("net", [point["seed"] for point in points], ONE)
        spectrum = power_spectrum(data, self.size, min(5000, self.n_train or 5000))
        nets["spectrum"] = (("row", "column"), spectrum, {"units": "intensity^2"})
        nets.attrs["data"] = data
        return nets

    def theory(self, measured: xr.Dataset | None = None) -> xr.Dataset:
        """Return gain and field of the efficient channel for the spectrum of the images.

        Without a measurement the spectrum is 1 / f^2 with the variance of gray photographs.
        """
        import xarray as xr

        from tractable.studies.vision._retina_summary import rings
        from tractable.vision.retina import efficient_channel

        s = power_law(self.size) if measured is None else measured["spectrum"].values
        n = self.noise_in**2
        best = efficient_channel(s, n, 1.0, self.power)
        whitening = efficient_channel(s, 0.0, 1.0, self.power)
        gain = rings(np.sqrt(best.gain2), self.size)
        noises = sorted({*NOISES, self.noise_in})
        others = [
            rings(np.sqrt(efficient_channel(s, std**2, 1.0, self.power).gain2), self.size)
            for std in noises
        ]
        return xr.Dataset(
            {
                "gain": ("frequency", gain / gain.max(), ONE),
                "gains": (("noise", "frequency"), [g / g.max() for g in others], ONE),
                "rf": (("row", "column"), np.fft.fftshift(best.rf), ONE),
                "signal": ("frequency", rings(s, self.size), {"units": "intensity^2"}),
                "output": ("frequency", rings(best.gain2 * (s + n), self.size), ONE),
                "whitened": (("row", "column"), whitening.gain2 * s, ONE),
                "output_power": ((), float((best.gain2 * (s + n)).mean()), ONE),
                "information": ((), best.information, {"units": "nats / pixel"}),
                "flat": ((), rival(s, n, self.power, np.ones_like(s)), {"units": "nats / pixel"}),
                "low_pass": ((), best_low_pass(s, n, self.power), {"units": "nats / pixel"}),
                "surround": ((), surround(best.rf), ONE),
            },
            coords={
                "frequency": ("frequency", np.arange(len(gain)), CYCLES),
                "noise": ("noise", noises, {"units": "intensity"}),
            },
        )

    def checks(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[Check]:
        from tractable.studies.vision._retina_summary import alive

        yield Check(
            "power of the output",
            float(theory["output_power"]),
            self.power,
            rtol=1e-9,
            source="the constraint of the maximization",
        )
        white = theory["whitened"].values
        yield Check(
            "spread of the output spectrum without input noise, relative to its mean",
            float(np.ptp(white) / white.mean()) if white.any() else float("nan"),
            0.0,
            atol=1e-9,
            source="whitening in the noiseless limit: a S = 1 / mu - M for all modes",
        )
        rivals = {"a flat gain": "flat", "the best Gaussian low-pass": "low_pass"}
        for name, key in rivals.items():
            yield Check(
                f"information over that of {name} of equal power",
                float(theory["information"]) / float(theory[key]) if theory[key] else float("nan"),
                1.0,
                kind="at_least",
                source="no filter of equal power carries more",
            )
        if float(theory["gain"][0]) <= RISES:
            yield Check(
                "volume of the surround over that of the center, predicted field",
                float(theory["surround"]),
                0.2,
                kind="at_least",
                source="gain that rises from low frequencies; bar of a surround in `classify_rf`",
            )
        yield Check(
            "networks with a dead bottleneck", int((~alive(measured)).sum()), 0, source=RECIPE
        )
        yield Check(
            "correlation of the learned with the predicted gain",
            correlation(mean_gain(measured), theory["gain"].values),
            0.9 if self._asserted(measured) else -0.9,
            kind="at_least",
            source=f"efficient channel for the images' spectrum; {RECIPE}",
        )

    def _asserted(self, measured: xr.Dataset) -> bool:
        return self.signatures and measured.attrs["data"] == "cifar10"

    def answers(self, theory: xr.Dataset, measured: xr.Dataset) -> Iterator[str | Table]:
        from tractable.studies.vision._retina_summary import census, table_of_nets

        information = float(theory["information"])
        peak = int(theory["gain"].values.argmax())
        yield (
            f"The efficient channel carries {information:.4f} nats per pixel; of equal power, "
            f"a flat gain {float(theory['flat']):.4f} and the best Gaussian low-pass "
            f"{float(theory['low_pass']):.4f}."
        )
        yield (
            f"Its gain is largest at {peak} cycles per image and {float(theory['gain'][0]):.2f} "
            "of that at 0, a convention of the spectrum there; the surround has "
            f"{float(theory['surround']):.2f} of the center's volume."
        )
        if float(theory["gain"][0]) > RISES:
            yield (
                "At this noise and power the best gain hardly rises from low frequencies: theory "
                "asks for no surround, and none is asserted."
            )
        learned = mean_gain(measured)
        opposite = measured["retina_2_opposite"].values
        yield (
            "The learned gain correlates at "
            f"{correlation(learned, theory['gain'].values):.3f} with the predicted one, and at "
            f"{gaussian_correlation(learned):.3f} with its best Gaussian low-pass; the learned "
            f"surround has {np.nanmedian(opposite):.2f} of the center's volume."
        )
        f = [str(i) for i in range(len(learned))]
        rows = (
            ("predicted", *(round(float(g), 2) for g in theory["gain"].values)),
            ("learned", *(round(float(g), 2) for g in learned)),
        )
        yield Table("Gain over its peak, by cycles per image", ("gain", *f), rows)
        yield census(measured)
        yield table_of_nets(measured, {"retina_2": "retina"}, "Networks")

    def figures(self, theory: xr.Dataset, measured: xr.Dataset) -> dict[str, Figure]:
        from tractable.studies.vision._retina_figures import gains

        return {"gain": gains(theory, measured, mean_gain), "noise": noise_figure(theory, self)}

    def cost(self, run: Run) -> Cost:
        from tractable.studies.vision._retina_cost import training_cost

        return training_cost([(self.net(), self.n_seeds)], self.size, self.steps, str(run.device))


def rival(s: np.ndarray, n: float, power: float, gain2: np.ndarray) -> float:
    """Return the information of any gain, scaled to the power, in nats per pixel."""
    a = gain2 * power / (gain2 * (s + n)).mean()
    return float(0.5 * np.log((a * (s + n) + 1.0) / (a * n + 1.0)).mean())


def best_low_pass(s: np.ndarray, n: float, power: float) -> float:
    """Return the most information that a Gaussian low-pass of this power carries."""
    f = np.fft.fftfreq(len(s))
    radius2 = f[:, None] ** 2 + f[None, :] ** 2
    widths = np.geomspace(0.02, 2.0, 80)
    return max(rival(s, n, power, np.exp(-radius2 / width**2)) for width in widths)


def surround(rf: np.ndarray) -> float:
    """Return the volume of the sign opposite to the center over that of the center."""
    positive, negative = rf[rf > 0].sum(), -rf[rf < 0].sum()
    return float(negative / positive if rf.flat[0] > 0 else positive / negative)


def noise_figure(theory: xr.Dataset, study: RetinaEfficient) -> Figure:
    """Return the spectra of image, noise and output, and the gain at several noises."""
    from tractable import plot

    figure, axes = plot.new(1, 2, size=(9.0, 3.3))
    f = theory["frequency"].values
    ax = axes[0]
    plot.theory(ax, f, theory["signal"], label="images")
    ax.axhline(study.noise_in**2, color="0.5", ls=":", label="noise at the input")
    output = theory["output"].values
    shown = np.where(output > 0, output, np.nan)
    ax.plot(f, shown, ls="--", color="C1", label="output, units of its noise")
    ax.set(yscale="log", xlabel="spatial frequency (cycles per image)", ylabel="power of a mode")
    ax.legend()
    for i, std in enumerate(theory["noise"].values):
        shade = str(0.75 * (1 - i / max(1, theory.sizes["noise"] - 1)))
        axes[1].plot(f, theory["gains"].values[i], color=shade, label=f"noise {std:g}")
    axes[1].set(xlabel="spatial frequency (cycles per image)", ylabel="gain over its peak")
    axes[1].legend()
    figure.set_label(
        "Left: power spectrum of the images (intensity squared), the noise at the input, and the "
        "output of the efficient channel. Right: its gain as the noise at the input grows, from "
        "whitening to a low-pass."
    )
    return figure
