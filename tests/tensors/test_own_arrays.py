"""Arrays as users have them: strong signals, missing entries, unequal noise, odd types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tractable.core.checks import ConvergenceWarning, TractableWarning
from tractable.tensors import CP, AMPResult, amp, detectability, prepare, rank_scan
from tractable.tensors.cp import cp_tensor

pytestmark = pytest.mark.filterwarnings("ignore:Y holds .* NaN")


def recording(seed: int = 0, shape: tuple[int, ...] = (30, 40, 35)) -> tuple[CP, np.ndarray]:
    """Return two positive components, and the array that they make."""
    random = np.random.default_rng(seed)
    factors = [random.exponential(size=(n, 2)) for n in shape]
    return CP(np.ones(2), factors), cp_tensor(np.ones(2), factors)


def error(found: np.ndarray, clean: np.ndarray) -> float:
    """Return the squared error over the square."""
    return float(((found - clean) ** 2).sum() / (clean**2).sum())


@pytest.mark.parametrize("sigma", [0.5, 2.0, 8.0])
def test_parallel_updates_learn_the_same_scale_and_noise(sigma: float) -> None:
    """The scale was learned from old means and new ones at once, and was wrong by a third."""
    _, clean = recording()
    Y = clean + sigma * np.random.default_rng(1).normal(size=clean.shape)
    one = amp(Y, 2, progress=False)
    other = amp(Y, 2, schedule="parallel", progress=False)
    assert other.status == "converged"
    np.testing.assert_allclose(other.weights, one.weights, rtol=2e-3)
    np.testing.assert_allclose(other.noise_variance, one.noise_variance, rtol=2e-3)
    assert error(other.reconstruct(), clean) < 1.1 * error(one.reconstruct(), clean)


def test_parallel_updates_learn_the_noise_of_slices() -> None:
    """Likewise with a noise variance of its own for each slice."""
    _, clean = recording()
    random = np.random.default_rng(1)
    sigma = np.exp(random.normal(size=30))
    Y = clean + sigma[:, None, None] * random.normal(size=clean.shape)
    fit = amp(Y, 2, schedule="parallel", noise_by=0, progress=False)
    assert fit.noise_slices is not None
    np.testing.assert_allclose(fit.noise_slices, sigma**2, rtol=0.2)


def test_noise_of_slices_with_entries_missing_at_random() -> None:
    """The share that is observed was left out: the noise came out three times too large."""
    _, clean = recording()
    random = np.random.default_rng(1)
    Y = clean + 2 * random.normal(size=clean.shape)
    Y[random.random(Y.shape) < 0.6] = np.nan
    fit = amp(Y, 2, noise_by=0, progress=False)
    assert fit.noise_variance == pytest.approx(4, rel=0.05)
    assert error(fit.reconstruct(), clean) < 2 * fit.predicted_error


@pytest.mark.parametrize("missing", [0.05, 0.6])
def test_entries_missing_at_random_of_a_strong_signal(missing: float) -> None:
    """That a row sees a fixed share of all others holds for weak signals alone."""
    _, clean = recording()
    random = np.random.default_rng(1)
    Y = clean + 0.5 * random.normal(size=clean.shape)
    Y[random.random(Y.shape) < missing] = np.nan
    fit = amp(Y, 2, progress=False)
    assert fit.noise_variance == pytest.approx(0.25, rel=0.05)
    assert error(fit.reconstruct(), clean) < 1.5 * fit.predicted_error


def test_masked_entries_of_numpy_are_missing() -> None:
    """The mask of a masked array was thrown away, and what lies under it taken for data."""
    _, clean = recording()
    Y = clean + np.random.default_rng(1).normal(size=clean.shape)
    bad = np.broadcast_to(np.arange(40)[None, :, None] == 7, Y.shape) & (
        np.arange(30)[:, None, None] < 9
    )
    masked = np.ma.masked_array(np.where(bad, 99.0, Y), bad)
    one = amp(masked, 2, progress=False)
    other = amp(np.where(bad, np.nan, Y), 2, progress=False)
    np.testing.assert_array_equal(one.factors[0], other.factors[0])
    assert np.isnan(prepare(masked).Y).sum() == bad.sum()
    scan = rank_scan(masked, (2,), n_starts=1, progress=False)
    assert scan.noise[0] == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("factor", "dtype"), [(1e160, "f8"), (1e-170, "f8"), (1e19, "f4"), (1e-30, "f4")]
)
def test_numbers_whose_squares_are_none_are_refused(factor: float, dtype: str) -> None:
    """They were an error of linear algebra, or "constant"."""
    Y = np.random.default_rng(0).normal(size=(20, 30, 40)) * factor
    with pytest.raises(ValueError, match="multiply Y by"):
        amp(Y.astype(dtype), 1, progress=False)


@pytest.mark.parametrize("dtype", [torch.float16, "float32", np.float32])
def test_passes_in_other_types_are_refused(dtype: object) -> None:
    Y = np.random.default_rng(0).normal(size=(20, 30, 40))
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32"):
        amp(Y, 1, dtype=dtype, progress=False)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slices_without_noise_are_not_divided_by_rounding(dtype: type) -> None:
    """A constant neuron was divided by 1e-17 and took the whole array."""
    Y = np.random.default_rng(0).normal(size=(12, 30, 20)).astype(dtype)
    Y[3], Y[7], Y[9] = 5.0, 0.0, np.outer(np.arange(30), np.arange(20))
    with pytest.warns(TractableWarning, match=r"3 slices of mode 0 have no noise.*\[3, 7, 9\]"):
        prepared = prepare(Y, scale=0)
    assert np.abs(prepared.Y[[0, 1, 2, 4]]).max() < 10
    np.testing.assert_array_equal(prepared.scale.ravel()[[3, 7, 9]], 1)
    np.testing.assert_allclose(prepared.inverse(prepared.Y), Y, rtol=1e-5, atol=1e-5)


def test_noise_of_slices_with_missing_entries() -> None:
    """Zeros in place of missing entries made the signal count as noise."""
    random = np.random.default_rng(0)
    x, y, z = random.exponential(size=12), random.exponential(size=30), random.exponential(size=40)
    sigma = random.uniform(0.2, 2, 12)
    Y = 3 * np.einsum("a,b,c->abc", x, y, z) + sigma[:, None, None] * random.normal(
        size=(12, 30, 40)
    )
    Y[random.random(Y.shape) < 0.4] = np.nan
    np.testing.assert_allclose(prepare(Y, scale=0).scale.ravel(), sigma, rtol=0.12)


def unequal(width: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Return noise of very different slices of mode 0, and its standard deviations."""
    random = np.random.default_rng(1)
    sigma = np.exp(width * random.normal(size=30))
    return sigma[:, None, None] * random.normal(size=(30, 40, 35)), sigma


def test_unequal_noise_is_told() -> None:
    """Noise of the strongest slices passes for a component; the answer said nothing of it."""
    noise, _ = unequal()
    with pytest.warns(TractableWarning, match="say noise_by=0"):
        fit = amp(noise + recording()[1], 2, progress=False)
    assert fit.noise_spread[0] > 3
    np.testing.assert_allclose(fit.noise_spread[1:], 1, atol=0.2)
    assert "say noise_by=0" in detectability(fit).verdict
    weighted = amp(noise + recording()[1], 2, noise_by=0, progress=False)
    np.testing.assert_array_equal(weighted.noise_spread, 1)


def test_nothing_is_measured_against_noise_of_slices() -> None:
    """With ``noise_by`` the evidence of one component was that of the slices' noise."""
    noise, _ = unequal()
    report = detectability(noise, 2, noise_by=0)
    assert report.rank == 0
    assert abs(report.evidence[1]) < 50


def test_held_out_entries_are_scored_by_the_noise_of_their_slice() -> None:
    noise, sigma = unequal(0.7)
    scan = rank_scan(
        noise + recording()[1], (2,), n_starts=1, noise_by=0, holdout=0.2, progress=False
    )
    expected = np.mean(-0.5 * np.log(2 * np.pi * sigma**2)) - 0.5
    assert scan.held_out[0] == pytest.approx(expected, abs=0.05)


def test_what_is_missing_counts_in_the_theory_of_components(tmp_path: Path) -> None:
    """A fraction f observed is a noise of Delta / f; the phase was that of a whole array."""
    _, clean = recording()
    random = np.random.default_rng(1)
    Y = clean + 8 * random.normal(size=clean.shape)
    whole = detectability(amp(Y, 2, progress=False))
    Y[random.random(Y.shape) < 0.5] = np.nan
    fit = amp(Y, 2, progress=False)
    assert fit.observed == pytest.approx(0.5, abs=0.01)
    assert AMPResult.load(fit.save(tmp_path / "fit.nc")).observed == fit.observed
    half = detectability(fit)
    ratio = half.components[0].noise / whole.components[0].noise
    assert ratio == pytest.approx(2, rel=0.15)


def test_a_report_says_priors_in_words(tmp_path: Path) -> None:
    _, clean = recording()
    Y = clean + 3 * np.random.default_rng(1).normal(size=clean.shape)
    text = amp(Y, 2, priors="nonnegative", progress=False).report(tmp_path / "a.html").read_text()
    assert "{" not in text.split("<body>")[1].split("<svg")[0]
    assert "TruncatedGaussian, mean 0, var 1, factorized" in text


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_predicted_error_counts_all_slices_alike(missing: float) -> None:
    """With ``noise_by`` it was that of entries over their noise, 30 times too small."""
    noise, _ = unequal(1.0)
    _, clean = recording()
    Y = noise + clean
    Y[np.random.default_rng(0).random(Y.shape) < missing] = np.nan
    fit = amp(Y, 2, noise_by=0, progress=False)
    assert fit.status == "converged"
    assert fit.predicted_error / 1.5 < error(fit.reconstruct(), clean) < 1.5 * fit.predicted_error


def test_components_that_the_data_do_not_hold_are_told_where_a_fit_does_not_end() -> None:
    _, Y = recording()
    Y = Y + 2 * np.random.default_rng(1).normal(size=Y.shape)
    with pytest.warns(ConvergenceWarning, match="components have almost no weight: lower rank"):
        amp(Y, 4, max_iter=40, tol=1e-12, progress=False)
