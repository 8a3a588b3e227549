"""The surround of the efficient channel is asserted where theory asks for one, and only there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

from tractable.studies.vision.retina_efficient import RISES, RetinaEfficient, surround
from tractable.vision.retina import efficient_channel

SURROUND = "volume of the surround over that of the center, predicted field"


def checks(study: RetinaEfficient) -> tuple[xr.Dataset, dict[str, bool]]:
    theory = study.theory()
    measured = xr.Dataset(
        {
            "retina_2_active": (("net", "unit"), [[1.0]]),
            "retina_2_gain": (("net", "frequency"), theory["gain"].values[None]),
        },
        attrs={"data": "shapes"},
    )
    # those of the theory alone come first
    found = {
        check.name: check.holds for check in itertools.islice(study.checks(theory, measured), 5)
    }
    return theory, found


def test_no_surround_is_asserted_where_the_gain_does_not_rise() -> None:
    theory, found = checks(RetinaEfficient(power=1e6, noise_in=1.0, n_seeds=1))
    assert float(theory["gain"][0]) > RISES
    assert float(theory["surround"]) < 0.2
    assert SURROUND not in found


def test_a_surround_is_asserted_at_the_default() -> None:
    _, found = checks(RetinaEfficient(n_seeds=1))
    assert found[SURROUND]


@pytest.mark.parametrize("power", [1e-3, 0.1, 10.0, 1e4])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
def test_the_surround_is_at_least_what_the_gain_at_zero_leaves(power: float, noise: float) -> None:
    # IDENTITY: sum of a field F(0), absolute sum at least max F
    f = np.fft.fftfreq(16)
    f2 = f[:, None] ** 2 + f[None, :] ** 2
    f2[0, 0] = (0.5 / 16) ** 2
    channel = efficient_channel(0.04 / f2 / (1 / f2).mean(), noise, 1.0, power)
    gain = np.sqrt(channel.gain2)
    g = gain[0, 0] / gain.max()
    assert surround(channel.rf) >= (1 - g) / (1 + g) - 1e-12
