"""Input, output and helpers of message passing."""

from __future__ import annotations

import numpy as np
import pytest

from tractable.core.checks import TractableWarning
from tractable.tensors import (
    AMPResult,
    Gaussian,
    SpikedTensor,
    amp,
    detectability,
    factor_match_score,
    prepare,
)


@pytest.fixture(scope="module")
def Y() -> np.ndarray:
    return SpikedTensor((30, 40, 50), 2, Gaussian(0.6), 0.02).sample(0).Y.numpy()


def with_nan(Y: np.ndarray, where: object, value: float = np.nan) -> np.ndarray:
    Y = Y.copy()
    Y[where] = value
    return Y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda Y: (Y[0, 0], 1, {}), "at least 2 modes"),
        (lambda Y: (Y[:1], 1, {}), "at least 2 entries"),
        (lambda Y: (Y, 0, {}), "rank must be an integer"),
        (lambda Y: (Y, 5000, {}), "rank must be at most 1200"),
        (lambda Y: (Y, 1, {"noise": 0.0}), "noise must be"),
        (lambda Y: (Y, 1, {"priors": ["gaussian"] * 2}), "one for each of the 3 modes"),
        (lambda Y: (with_nan(Y, np.s_[:, 7]), 1, {}), "index 7 of mode 1"),
        (lambda Y: (with_nan(Y, (1, 2, 3), np.inf), 1, {}), r"first at index \(1, 2, 3\)"),
        (lambda Y: (np.ones((30, 40, 50)), 1, {}), "constant"),
        (lambda Y: (Y, 1, {"mask": np.ones((3, 3), bool)}), "mask must have the shape"),
    ],
)
@pytest.mark.filterwarnings("ignore::tractable.core.checks.TractableWarning")
def test_what_is_refused(Y: np.ndarray, change, message: str) -> None:
    array, rank, settings = change(Y)
    with pytest.raises(ValueError, match=message):
        amp(array, rank, **settings)


def test_complex_and_integers(Y: np.ndarray) -> None:
    with pytest.raises(TypeError, match="real"):
        amp(Y + 1j, 1)
    with pytest.warns(TractableWarning, match="float32"):
        amp((10 * Y).astype(int), 1, max_iter=300)


def test_nan_is_missing(Y: np.ndarray) -> None:
    with pytest.warns(TractableWarning, match="1 NaN"):
        amp(with_nan(Y, (0, 0, 0)), 1)


def test_normal_form_and_files(Y: np.ndarray, tmp_path) -> None:
    tensorly = pytest.importorskip("tensorly")
    fit = amp(Y, 2)
    np.testing.assert_allclose(tensorly.cp_to_tensor(fit.to_cp()), fit.reconstruct(), atol=1e-6)
    assert (np.diff(fit.weights) <= 0).all()
    for x in fit.factors:
        np.testing.assert_allclose(np.linalg.norm(x, axis=0), 1)
    back = AMPResult.load(fit.save(tmp_path / "fit.nc"))
    assert all((x == y).all() for x, y in zip(fit.factors, back.factors, strict=True))
    assert (back.status, back.shape) == (fit.status, fit.shape)


def test_interruption_returns_what_there_is(Y: np.ndarray) -> None:
    def stop(record: dict) -> None:
        if record["iteration"] == 3:
            raise KeyboardInterrupt

    with pytest.warns(TractableWarning, match="interrupted"):
        assert amp(Y, 1, callback=stop).n_iter == 3


def test_factor_match_score() -> None:
    random = np.random.default_rng(0)
    x = [random.normal(size=(100, 3)) for _ in range(3)]
    y = [a[:, [2, 0, 1]] * s for a, s in zip(x, (-2.0, -3.0, 1.0), strict=True)]
    assert factor_match_score(x, y) == pytest.approx(1)
    other = [random.normal(size=(100, 3)) for _ in range(3)]
    assert factor_match_score(x, other) <= 4 / 10


@pytest.mark.slow
def test_noise_has_no_structure() -> None:
    ranks = [
        detectability(np.random.default_rng(seed).normal(size=(60, 80, 100)), 1).rank
        for seed in range(20)
    ]
    assert sum(rank == 0 for rank in ranks) >= 19


def test_detectability_of_a_signal() -> None:
    sample = SpikedTensor((120,) * 3, 1, Gaussian(0.4), 0.25).sample(0, moment_matched=True)
    report = detectability(sample.Y, 1, priors=Gaussian(0.4))
    assert report.components[0].phase == "easy"
    assert np.mean(report.components[0].cosine) == pytest.approx(0.90, abs=0.03)


def test_components_are_those_of_the_fit_in_both_units() -> None:
    """IDENTITY: a fit in model units, its weak component first, means what it means in others."""
    random = np.random.default_rng(0)
    factors = [random.normal(size=(n, 2)) + 0.6 for n in (40, 50, 60)]
    clean = np.einsum("ar,br,cr,r->abc", *factors, [1.0, 2.0]) / np.prod((40, 50, 60)) ** (1 / 3)
    Y = clean + 0.3 * random.normal(size=clean.shape)
    start = [factors[0] * [1.0, 2.0], *factors[1:]]
    prior = [Gaussian([0.6, 1.2], [1.0, 4.0]), Gaussian(0.6), Gaussian(0.6)]
    fit = amp(Y, 2, priors=prior, units="model", init=start)
    assert fit.strengths[1] > 1.5 * fit.strengths[0]
    np.testing.assert_allclose(np.sort(fit.strengths), np.sort(fit.to_cp()[0]))
    weak, strong = detectability(fit).components
    size = np.prod([np.linalg.norm(x, axis=0) for x in factors], axis=0) * [1.0, 2.0]
    assert weak.noise / strong.noise == pytest.approx((size[1] / size[0]) ** 2, rel=0.1)


def test_report_is_one_page(Y: np.ndarray, tmp_path) -> None:
    fit = amp(Y, 2)
    page = fit.report(tmp_path / "fit.html", names=["neuron <1>", "time", "trial"])
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "neuron &lt;1&gt;" in text
    expected = [c.cosine[0] for c in detectability(fit).components]
    for value in (*fit.predicted_cosine.ravel(), *expected):
        assert f"{value:.3f}" in text
    assert f"{fit.noise_variance:.4g}" in text
    again = fit.report(tmp_path / "again.html", names=["neuron <1>", "time", "trial"])
    assert text == again.read_text()
    with pytest.raises(ValueError, match=r"end in \.html"):
        fit.report(tmp_path / "fit.pdf")
    with pytest.raises(ValueError, match="names must have shape"):
        fit.report(tmp_path / "fit.html", names=["one"])


def test_scale_by_the_noise_of_each_neuron() -> None:
    noise = np.array([0.5, 1.0, 4.0])
    Y = noise[:, None, None] * np.random.default_rng(0).normal(size=(3, 40, 50))
    prepared = prepare(Y, scale="per-neuron noise")
    np.testing.assert_allclose(prepared.scale.ravel(), noise, rtol=0.1)
    np.testing.assert_array_equal(prepared.Y, prepare(Y, scale=0).Y)
    np.testing.assert_allclose(prepared.inverse(prepared.Y), Y)
    with pytest.raises(ValueError, match="scale must be one of"):
        prepare(Y, scale="per-trial")
