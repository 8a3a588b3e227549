"""Witnesses of the efficient channel: stationarity, the noiseless limit, numbers, perturbations."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.vision.retina import EfficientChannel, efficient_channel


def spectrum(size: int = 32) -> np.ndarray:
    f = np.fft.fftfreq(size)
    radius = np.hypot(f[:, None], f[None, :])
    radius[0, 0] = 0.5 / size
    return radius**-2 / (radius**-2).mean()


def information(a: np.ndarray, s: np.ndarray, n: float, m: float) -> float:
    return float(0.5 * np.log((a * (s + n) + m) / (a * n + m)).mean())


def test_the_numbers_of_the_inverse_square_spectrum() -> None:
    found = efficient_channel(spectrum(), 0.05, 0.1, 1.0)
    assert found.mu == pytest.approx(0.35827, abs=5e-6)
    assert found.information == pytest.approx(0.76753, abs=5e-6)
    assert found.rf[0, 1] / found.rf[0, 0] == pytest.approx(-0.0947, abs=5e-5)
    negative = found.rf[found.rf < 0].sum() / found.rf[found.rf > 0].sum()
    assert negative == pytest.approx(-0.920, abs=5e-4)


@pytest.mark.parametrize("power", [1e-3, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("noise_in", [0.0, 1e-9, 0.05, 2.0])
def test_stationarity_and_power(noise_in: float, power: float) -> None:
    s, m = spectrum(), 0.1
    found = efficient_channel(s, noise_in, m, power)
    a = found.gain2
    assert (a * (s + noise_in)).mean() == pytest.approx(power, rel=1e-8)
    on = a > 0
    left = (a * (s + noise_in) + m) * (a * noise_in + m)
    right = m * s / (found.mu * (s + noise_in))
    np.testing.assert_allclose(left[on], right[on], rtol=1e-9)
    assert (s[~on] / (s[~on] + noise_in) <= found.mu * m * (1 + 1e-9)).all()


def test_no_noise_at_the_input_whitens() -> None:
    s = spectrum()
    found = efficient_channel(s, 0.0, 0.1, 1.0)
    np.testing.assert_allclose(found.gain2 * s, 1.0, rtol=1e-12)


def test_the_field_is_isotropic_and_has_a_negative_surround() -> None:
    found = efficient_channel(spectrum(), 0.05, 0.1, 1.0)
    for turned in (np.rot90(np.fft.fftshift(found.rf)[1:, 1:]), found.rf.T):
        same = found.rf if turned.shape == found.rf.shape else np.fft.fftshift(found.rf)[1:, 1:]
        assert np.abs(turned - same).max() < 1e-6 * found.rf[0, 0]
    assert found.rf[0, 0] > 0 > found.rf[0, 1]


def test_no_feasible_perturbation_is_better() -> None:
    s, n, m = spectrum(), 0.05, 0.1
    found = efficient_channel(s, n, m, 1.0)
    rng = np.random.default_rng(0)
    best = 0.0
    for _ in range(2000):
        scale = 10 ** rng.uniform(-3, 0)
        a = found.gain2 * np.exp(scale * rng.standard_normal(s.shape))
        a += scale * rng.random() * rng.random(s.shape) * (found.gain2 == 0)
        a /= (a * (s + n)).mean()
        best = max(best, information(a, s, n, m))
    assert best < found.information


def test_round_trip_and_refusals() -> None:
    found = efficient_channel(spectrum(8), 0.05, 0.1, 1.0)
    again = EfficientChannel.from_dataset(found.to_dataset())
    assert np.array_equal(again.rf, found.rf)
    assert again.mu == found.mu
    with pytest.raises(ValueError, match="power_spectrum must be"):
        efficient_channel(-spectrum(8), 0.05, 0.1, 1.0)
    with pytest.raises(ValueError, match="noise_out"):
        efficient_channel(spectrum(8), 0.05, 0.0, 1.0)
    with pytest.raises(ValueError, match="power_spectrum"):
        efficient_channel(np.full((4, 4), np.nan), 0.05, 0.1, 1.0)
