"""Maps to neurons against scikit-learn, reliabilities against their formulas, similarities against
identities."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.linear_model import RidgeCV

from tractable.vision.convrnn import (
    Recordings,
    cka,
    image_splits,
    pls,
    pls_each,
    poisson_reliability,
    rdm,
    rdm_correlation,
    reliability,
    ridge,
    spearman_brown,
)


def data(n: int = 150, p: int = 60, q: int = 20, seed: int = 0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p)) * np.linspace(1, 3, p)
    y = x @ random.normal(size=(p, q)) / p**0.5 + random.normal(size=(n, q))
    return x[: n // 2], y[: n // 2], x[n // 2 :]


@pytest.mark.parametrize("p", [30, 200])
def test_ridge_is_that_of_scikit_learn(p: int) -> None:
    x, y, new = data(p=p)
    one = ridge(x, y, [10.0])
    np.testing.assert_allclose(one(new), ReferenceRidge(10.0).fit(x, y).predict(new), rtol=1e-8)
    penalties = np.geomspace(0.1, 1e4, 12)
    chosen = ridge(x, y, penalties)
    reference = RidgeCV(penalties, alpha_per_target=True).fit(x, y)
    np.testing.assert_allclose(chosen(new), reference.predict(new), atol=1e-8)
    np.testing.assert_allclose(chosen.penalty, reference.alpha_)


@pytest.mark.parametrize("p", [60, 300])
def test_partial_least_squares_are_those_of_scikit_learn(p: int) -> None:
    x, y, new = data(n=200, p=p)
    joint = PLSRegression(25, scale=False).fit(x, y).predict(new)
    np.testing.assert_allclose(pls(x, y, 25)(new), joint, atol=1e-6)
    each = [PLSRegression(25, scale=False).fit(x, y[:, k]).predict(new).ravel() for k in range(4)]
    np.testing.assert_allclose(pls_each(x, y[:, :4], 25)(new), np.stack(each, 1), atol=1e-6)


@pytest.mark.parametrize("fit", [pls, pls_each])
def test_features_of_low_rank_allow_no_more_components(fit) -> None:
    # LIMIT: with as many components as the rank it is the least squares solution, and stays so
    random = np.random.default_rng(3)
    x = random.normal(size=(90, 6)) * 10.0 ** -np.arange(6.0) @ random.normal(size=(6, 40))
    y = x @ random.normal(size=(40, 3)) + random.normal(size=(90, 3))
    x, y, new = x[:50], y[:50], x[50:]
    weights = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-10)[0]
    least_squares = (new - x.mean(0)) @ weights + y.mean(0)
    for n in (6, 7, 25):
        np.testing.assert_allclose(fit(x, y, n)(new), least_squares, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
def test_split_halves_find_the_reliability_of_signal_and_noise(ratio: float) -> None:
    random = np.random.default_rng(1)
    signal = random.normal(size=(2000, 1, 8)) * ratio**0.5
    found = reliability(signal + random.normal(size=(2000, 20, 8)))
    theory = 20 * ratio / (1 + 20 * ratio)
    assert float(found.mean()) == pytest.approx(theory, abs=0.01)


def test_the_reliability_of_counts_is_that_of_the_formula() -> None:
    random = np.random.default_rng(2)
    rates = np.exp(random.normal(0.3, 0.5, (2000, 6)))
    counts = random.poisson(rates[:, None], (2000, 30, 6))
    np.testing.assert_allclose(reliability(counts), poisson_reliability(rates, 30), atol=0.01)


def test_spearman_brown_of_longer_and_shorter_means() -> None:
    assert float(spearman_brown(0.5)) == pytest.approx(2 / 3)
    assert float(spearman_brown(spearman_brown(0.3, 4.0), 0.25)) == pytest.approx(0.3)
    assert spearman_brown([-0.5, -0.6, -0.4, np.nan], 3.0)[:3].tolist() == [
        -np.inf, -np.inf, pytest.approx(-6.0)
    ]  # fmt: skip


@pytest.mark.parametrize("n_repeats", [2, 3, 5])
def test_noise_of_few_images_and_repetitions_is_never_called_perfect(n_repeats: int) -> None:
    # DEFINITION: a reliability is 1 at most; the factor for three repetitions has its pole at -1/2
    noise = np.random.default_rng(4).normal(size=(8, n_repeats, 1000))
    found = reliability(noise, n_halvings=4)
    assert np.isfinite(found).all()
    assert found.max() <= 1
    recordings = Recordings.from_array(noise[..., None])
    np.testing.assert_allclose(recordings.reliability(n_halvings=4)[:, 0], found, atol=1e-9)


def test_a_split_never_puts_a_group_on_both_sides() -> None:
    groups, categories = np.repeat(np.arange(20), 5), np.repeat([0, 1], 50)
    for train, test in image_splits(100, 6, groups=groups, categories=categories, seed=3):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(100))
        assert set(categories[train]) == set(categories[test]) == {0, 1}


@pytest.mark.parametrize("debiased", [True, False])
def test_alignment_does_not_see_turns_and_scales(debiased: bool) -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=(40, 12))
    q, _ = np.linalg.qr(random.normal(size=(12, 12)))
    assert cka(x, 2.5 * x @ q, debiased=debiased) == pytest.approx(1.0, abs=1e-12)


def test_only_the_debiased_alignment_of_independent_features_is_zero() -> None:
    random = np.random.default_rng(5)
    pairs = [random.normal(size=(2, 30, 400)) for _ in range(40)]
    assert abs(np.mean([cka(x, y) for x, y in pairs])) < 0.02
    assert np.mean([cka(x, y, debiased=False) for x, y in pairs]) > 0.8


def test_dissimilarities_are_those_of_correlations() -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=(15, 30))
    np.testing.assert_allclose(rdm(x), 1 - np.corrcoef(x), atol=1e-12)
    assert rdm_correlation(rdm(x), rdm(3 * x + 1)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability(np.zeros((10, 1, 3))), "repetition"),
        (lambda: ridge([[np.nan]], [[1.0]], [1.0]), "features"),
        (lambda: pls(np.zeros((5, 3)), np.zeros((5, 2)), 25), "n_components"),
        (lambda: rdm(np.ones((4, 3))), "image 0 does not vary"),
        (lambda: cka(np.ones((4, 3)), np.ones((5, 3))), "same 4 images"),
        (lambda: image_splits(10, train=1.0), "train"),
    ],
)
def test_bad_input_names_the_argument(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("dispersion", "gain"), [(0.3, 0.0), (0.0, 0.4), (0.3, 0.4)])
def test_counts_with_dispersion_and_gains_of_trials_follow_the_formula(dispersion, gain) -> None:
    random = np.random.default_rng(7)
    n_images, n_repeats = 4000, 12
    rates = np.exp(random.normal(1.0, 0.6, (n_images, 4)))
    # A gain of mean 1 for each trial, then gamma-mixed Poisson counts: negative binomial.
    shape = np.inf if gain == 0 else gain**-2
    gains = 1.0 if gain == 0 else random.gamma(shape, 1 / shape, (n_images, n_repeats, 1))
    mean = rates[:, None] * gains * np.ones((1, n_repeats, 1))
    if dispersion:
        mean = random.gamma(1 / dispersion, dispersion * mean)
    found = reliability(random.poisson(mean), n_halvings=20)
    theory = poisson_reliability(rates, n_repeats, dispersion=dispersion, gain_sd=gain)
    np.testing.assert_allclose(found, theory, atol=0.015)
