"""Fits to neurons against scikit-learn bin by bin, against neurons that are known, and leaks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV

from tractable.vision.convrnn import (
    Recordings,
    SyntheticNeurons,
    ar2_latents,
    crossing_times,
    d_prime,
    image_splits,
    layer_preference,
    layers_to_bins,
    neural_fit,
    object_solution_times,
    rdm,
    rdm_noise_ceiling,
    similarity_in_time,
)

I, P, B, N = 240, 24, 6, 12


@pytest.fixture(scope="module")
def neurons():
    features = ar2_latents(I, P, B, drive=0.2, decay=0.95, seed=0)
    made = SyntheticNeurons(n_neurons=N, n_inputs=5, softness=2.0, rate_hz=400.0)
    return features, made.record(features, n_repeats=12, seed=1)


# --- noise that is known ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dispersion", "gain_sd"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.3), (0.4, 0.3)]
)
def test_synthetic_neurons_are_as_reliable_as_they_say(dispersion: float, gain_sd: float) -> None:
    # SIMULATION: split halves of 2,000 images
    features = ar2_latents(2000, 10, 4, seed=2)
    made = SyntheticNeurons(
        n_neurons=6, n_inputs=4, rate_hz=300.0, dispersion=dispersion, gain_sd=gain_sd
    ).record(features, n_repeats=12, seed=3)
    found = made.recordings.reliability(n_halvings=20)
    assert (np.abs(found - made.reliability) < 3 * sampling_error(made.reliability)).all()
    assert abs(np.mean(found - made.reliability)) < 0.005
    summed = made.recordings.over_time().reliability(n_halvings=20)[:, 0]
    error = sampling_error(made.average_reliability)
    assert (np.abs(summed - made.average_reliability) < 3 * error).all()


def sampling_error(reliability: np.ndarray, n_images: int = 2000) -> np.ndarray:
    """Standard error of (C11) from that of one correlation, (1 - r^2) / sqrt(n)."""
    r = reliability / (2 - reliability)
    return 2 / (1 + r) ** 2 * (1 - r**2) / n_images**0.5


def test_synthetic_counts_have_the_mean_and_variance_that_they_say() -> None:
    features = np.ones((4, 3, 2))
    features[1:] = 0.0
    neurons = SyntheticNeurons(n_neurons=2, n_inputs=2, rate_hz=80, dispersion=0.5, gain_sd=0.4)
    made = neurons.record(features, n_repeats=40_000, seed=0)
    mu = made.rates * 0.01
    counts = made.recordings.values.astype(float)
    np.testing.assert_allclose(counts.mean(1), mu, rtol=0.03)
    excess = 0.5 * (1 + 0.16) + 0.16
    np.testing.assert_allclose(counts.var(1), mu + excess * mu**2, rtol=0.06)
    assert made.rates.mean((0, 2)) == pytest.approx(80.0)


def test_missing_repetitions_keep_the_reliability_unbiased() -> None:
    # SIMULATION: images with 3 to 12 repetitions; closed form with the mean of 1 / n
    random = np.random.default_rng(0)
    n_rep = random.integers(3, 13, 3000)
    signal = random.normal(size=(3000, 1, 4, 1))
    values = signal + 1.5 * random.normal(size=(3000, 12, 4, 1))
    values[np.arange(12)[None] >= n_rep[:, None]] = np.nan
    recordings = Recordings.from_array(values, missing=True)
    theory = 1.0 / (1.0 + 2.25 * np.mean(1.0 / n_rep))
    found = recordings.reliability(n_halvings=20)
    assert float(found.mean()) == pytest.approx(theory, abs=0.01)
    whole = Recordings.from_array(values[:, :3])
    assert float(whole.reliability().mean()) == pytest.approx(1 / (1 + 0.75), abs=0.015)
    some = values[:, :3].copy()  # a neuron of two repetitions beside those of three
    some[:, 2:, :1] = np.nan
    r = np.corrcoef(some[:, 0, 0, 0], some[:, 1, 0, 0])[0, 1]
    found = Recordings.from_array(some, missing=True).reliability()
    assert found[0, 0] == pytest.approx(2 * r / (1 + r), abs=2e-3)  # halves differ by image
    np.testing.assert_allclose(found[1:], whole.reliability()[1:], atol=0.005)


def test_the_true_model_scores_one_and_an_unrelated_one_zero() -> None:
    # ACCEPTANCE: 1 +- 0.03 and |.| < 0.05, 2,000 images
    features = ar2_latents(2000, 8, 3, seed=4)
    made = SyntheticNeurons(n_neurons=20, n_inputs=5, rate_hz=200.0).record(features, 10, seed=5)
    for correct in ("data", "both"):
        fit = neural_fit(made.rates, made.recordings, splits=3, correct=correct, n_halvings=10)
        np.testing.assert_allclose(fit.median(), 1.0, atol=0.03)
        assert fit.average_median() == pytest.approx(1.0, abs=0.03)
    other = ar2_latents(2000, 8, 3, seed=99)
    fit = neural_fit(other, made.recordings, splits=3)
    assert np.abs(fit.median()).max() < 0.05


def test_a_predictor_of_known_correlation_is_found_whatever_the_noise() -> None:
    # SIMULATION: truth correlates 0.8 with the features, as in the spec of the correction
    random = np.random.default_rng(6)
    x = random.normal(size=(2000, 30))
    truth = 0.8 * x + 0.6 * random.normal(size=x.shape)
    for ratio in (0.5, 2.0):
        noise = random.normal(size=(2000, 20, 30)) / ratio**0.5
        responses = (truth[:, None] + noise)[..., None]
        fit = neural_fit(x, responses, splits=2, n_halvings=10, mapping="per_bin")
        assert float(fit.median()[0]) == pytest.approx(0.8, abs=0.02)


def test_both_takes_away_what_few_training_images_cost() -> None:
    # With few, noisy training images "data" is below 1 for the true features, "both" is not.
    features = ar2_latents(300, 20, 2, seed=7)
    made = SyntheticNeurons(n_neurons=30, n_inputs=20, softness=8.0, rate_hz=6000.0)
    recorded = made.record(features, n_repeats=4, seed=8).recordings
    data = neural_fit(features, recorded, method="pls1", n_components=20, splits=4, n_halvings=10)
    both = neural_fit(features, recorded, method="pls1", n_components=20, splits=4, correct="both")
    assert (data.median() < both.median() - 0.015).all()
    np.testing.assert_allclose(both.median(), 1.0, atol=0.03)


# --- against scikit-learn ------------------------------------------------------------------------


def reference(fit_predict, features, recordings, pairs, shared):
    mean = recordings.mean()
    score = np.empty((N, B, len(pairs)))
    for s, (train, test) in enumerate(pairs):
        if shared:
            x = features[train].transpose(0, 2, 1).reshape(-1, P)
            y = mean[train].transpose(0, 2, 1).reshape(-1, N)
        for b in range(B):
            if not shared:
                x, y = features[train][..., b], mean[train][..., b]
            predicted = fit_predict(x, y, features[test][..., b])
            for n in range(N):
                score[n, b, s] = np.corrcoef(predicted[:, n], mean[test][:, n, b])[0, 1]
    return score


@pytest.mark.parametrize("shared", [False, True])
def test_partial_least_squares_score_like_those_of_scikit_learn(neurons, shared: bool) -> None:
    features, made = neurons
    pairs = image_splits(I, 1, seed=0)

    def joint(x, y, new):
        return PLSRegression(5, scale=False).fit(x, y).predict(new)

    def each(x, y, new):
        columns = [PLSRegression(5, scale=False).fit(x, y[:, n]).predict(new) for n in range(N)]
        return np.stack([c.ravel() for c in columns], 1)

    mapping = "shared" if shared else "per_bin"
    for method, peer in (("pls", joint), ("pls1", each)):
        fit = neural_fit(
            features, made.recordings, method=method, n_components=5, mapping=mapping, splits=1
        )
        expected = reference(peer, features, made.recordings, pairs, shared)
        np.testing.assert_allclose(fit.score, expected, atol=1e-6)


def test_the_ridge_of_each_bin_scores_like_that_of_scikit_learn(neurons) -> None:
    features, made = neurons
    penalties = np.geomspace(0.1, 1e5, 9)

    def peer(x, y, new):
        return RidgeCV(penalties, alpha_per_target=True).fit(x, y).predict(new)

    fit = neural_fit(features, made.recordings, splits=2, penalties=penalties)
    expected = reference(peer, features, made.recordings, image_splits(I, 2, seed=0), False)
    np.testing.assert_allclose(fit.score, expected, atol=1e-6)


def test_the_shared_ridge_leaves_out_whole_images(neurons) -> None:
    # SECOND FORMULA: refit without each image, all its bins left out together
    features, made = neurons
    from tractable.vision.convrnn.regressions import Ridge

    X = features[:30].transpose(0, 2, 1).reshape(-1, P)
    Y = made.recordings.mean()[:30].transpose(0, 2, 1).reshape(-1, N)
    penalties = np.array([5.0, 500.0])
    found = Ridge(X, block=B).left_out(Y, penalties)
    for k, penalty in enumerate(penalties):
        errors = np.zeros_like(Y)
        for i in range(30):
            rows = np.arange(len(X)) // B == i
            x_mean, y_mean = X[~rows].mean(0), Y[~rows].mean(0)
            Xc = X[~rows] - x_mean
            W = np.linalg.solve(Xc.T @ Xc + penalty * np.eye(P), Xc.T @ (Y[~rows] - y_mean))
            errors[rows] = Y[rows] - y_mean - (X[rows] - x_mean) @ W
        # the shortcut keeps the features' mean over all images: a small difference
        np.testing.assert_allclose(found[k], (errors**2).mean(0), rtol=0.02)


# --- mappings, projections, leaks --------------------------------------------------------------


@pytest.mark.parametrize("method", ["ridge", "pls1"])
def test_the_latency_of_every_neuron_is_found(method: str) -> None:
    features = ar2_latents(200, 8, 14, drive=0.2, decay=0.95, seed=0)
    neurons = SyntheticNeurons(n_neurons=6, rate_hz=500, latency_bins={"V4": 1, "IT": 4})
    made = neurons.record(features, n_repeats=10, seed=1)
    fit = neural_fit(
        features, made.recordings, mapping="latency", method=method, n_components=6, splits=2
    )
    assert (fit.shift == made.latency_bins[:, None]).all()
    fixed = neural_fit(features, made.recordings, mapping="shared", splits=2)
    late = slice(8, None)
    assert np.nanmedian(fit.corrected[6:, late]) > np.nanmedian(fixed.corrected[6:, late]) + 0.2
    assert fit.median("V4").shape == (14,)


def test_features_that_do_not_change_cannot_share_a_map_with_dynamics(neurons) -> None:
    features, made = neurons
    still = features.mean(2)
    shared = neural_fit(still, made.recordings, mapping="shared", splits=2)
    free = neural_fit(still, made.recordings, mapping="per_bin", splits=2)
    moving = neural_fit(features, made.recordings, mapping="shared", splits=2)
    assert moving.median().min() > shared.median().min() + 0.15
    again = neural_fit(np.repeat(still[..., None], B, 2), made.recordings, splits=2)
    np.testing.assert_allclose(free.score, again.score, atol=1e-9)  # one decomposition or six


@pytest.mark.parametrize("method", ["ridge", "pls", "pls1"])
@pytest.mark.parametrize("mapping", ["per_bin", "shared"])
def test_no_information_leaks_from_the_test_images(neurons, method: str, mapping: str) -> None:
    # ACCEPTANCE: labels of images permuted, with principal axes: 0 +- 0.05
    features, made = neurons
    order = np.random.default_rng(3).permutation(I)
    fit = neural_fit(
        features[order], made.recordings, method=method, mapping=mapping, n_components=8, pca=16,
        splits=10,
    )  # fmt: skip
    assert abs(float(np.nanmean(fit.corrected))) < 0.05


def test_principal_axes_are_those_of_the_training_images(neurons) -> None:
    features, made = neurons
    responses = made.recordings
    whole = neural_fit(features, responses, splits=1)
    all_axes = neural_fit(features, responses, splits=1, pca=P)
    np.testing.assert_allclose(whole.score, all_axes.score, atol=1e-6)
    # Changing the test images' responses changes nothing in what is predicted from the others.
    train, test = image_splits(I, 1, seed=0)[0]
    changed = features.copy()
    changed[test[0]] *= 50.0
    some = neural_fit(features, responses, splits=1, pca=4)
    other = neural_fit(changed, responses, splits=1, pca=4)
    kept = np.setdiff1d(test, test[:1])
    assert len(kept) == len(test) - 1
    assert not np.allclose(some.score, other.score)  # the score sees that image ...
    from tractable.vision.convrnn.neural_maps import principal_axes

    np.testing.assert_array_equal(  # ... the axes do not
        principal_axes(features[train][..., 0], 4)[1], principal_axes(changed[train][..., 0], 4)[1]
    )


def test_wide_and_tall_features_have_the_same_axes() -> None:
    from tractable.vision.convrnn.neural_maps import principal_axes

    x = np.random.default_rng(0).normal(size=(20, 50))
    mean, wide = principal_axes(x, 5)
    _, _, v = np.linalg.svd(x - mean, full_matrices=False)
    np.testing.assert_allclose(np.abs((wide * v[:5].T).sum(0)), 1.0, atol=1e-9)
    flat = principal_axes(x @ v[:3].T @ v[:3], 6)[1]  # rank 3: three axes, and three of zeros
    np.testing.assert_allclose(flat.T @ flat, np.diag([1.0, 1, 1, 0, 0, 0]), atol=1e-9)
    tall = principal_axes(x[:, :10], 5)[1]
    _, _, v = np.linalg.svd(x[:, :10] - mean[:10], full_matrices=False)
    np.testing.assert_allclose(np.abs((tall * v[:5].T).sum(0)), 1.0, atol=1e-9)


def test_intervals_cover_and_narrow_with_neurons() -> None:
    # SIMULATION: coverage of the bootstrap of a median
    from tractable.vision.convrnn import bootstrap_median

    random, covered = np.random.default_rng(0), 0
    for seed in range(150):
        low, high = bootstrap_median(random.normal(size=60), n_boot=200, seed=seed)
        covered += low <= 0.0 <= high
    assert covered >= 132  # 95 % of 150 is 142, sd 2.7
    few = np.diff(bootstrap_median(random.normal(size=40)))
    many = np.diff(bootstrap_median(random.normal(size=4000)))
    assert few > 4 * many


def test_excluded_neurons_are_counted_and_left_out() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    responses = np.repeat(x[:, None, :, None], 6, 1) + 0.1 * random.normal(size=(200, 6, 4, 1))
    responses[:, :, 3] = random.normal(size=(200, 6, 1))
    fit = neural_fit(x, responses, splits=2)
    assert fit.n_excluded.tolist() == [1]
    assert fit.excluded[:, 0].tolist() == [False, False, False, True]
    assert np.isnan(fit.corrected[3]).all()
    assert fit.median()[0] == pytest.approx(1.0, abs=0.02)
    bare = neural_fit(x, responses[:, :1], correct=None, splits=2)
    assert np.isnan(bare.ceiling).all()
    np.testing.assert_array_equal(bare.score, bare.corrected)


# --- solution times --------------------------------------------------------------------------


def test_planted_solution_times_are_recovered() -> None:
    # ACCEPTANCE: logistic growth of d' in bins of 10 ms, counted in trials; median error < 5 ms
    from scipy.special import ndtr

    random = np.random.default_rng(0)
    t = np.arange(70.0, 261.0, 10.0)
    onset, slope, top, target = random.uniform(90, 220, 300), 12.0, 4.0, 2.0
    d = top / (1 + np.exp(-(t - onset[:, None]) / slope))
    n = 600
    hits = random.binomial(n, ndtr(d / 2))
    alarms = random.binomial(n, ndtr(-d / 2))
    found = crossing_times(d_prime(hits, n, alarms, n), target, t)
    planted = onset + slope * np.log(target / (top - target))
    seen = ~np.isnan(found)
    assert seen.mean() > 0.97
    assert np.median(np.abs(found - planted)[seen]) < 5.0
    exact = crossing_times(d, target, t)
    assert np.median(np.abs(exact - planted)) < 0.5


def test_images_whose_evidence_comes_late_are_solved_late() -> None:
    random = np.random.default_rng(1)
    t = np.arange(70.0, 261.0, 20.0)
    labels = np.repeat(np.arange(4), 30)
    onset = random.permutation(np.linspace(80, 200, 120))
    strength = 1 / (1 + np.exp(-(t - onset[:, None]) / 8.0))  # (images, bins)
    signal = np.eye(4)[labels][:, :, None] * strength[:, None]
    noise = 0.35 * random.normal(size=(120, 25, 4, len(t)))
    recorded = Recordings.from_array(signal[:, None] + noise, time_ms=t)
    found = object_solution_times(recorded, labels, 1.2, t, splits=6)
    from scipy.stats import spearmanr

    solved = found.solved
    assert solved.mean() > 0.9
    assert spearmanr(found.times_ms[solved], onset[solved]).statistic > 0.9
    assert found.accuracy[-1] > found.accuracy[0] + 0.3
    same = found.compare(found)
    assert (same.spearman, same.share_solved) == (1.0, 1.0)


def test_no_image_is_solved_without_evidence() -> None:
    random = np.random.default_rng(2)
    found = object_solution_times(
        random.normal(size=(80, 10, 3)), np.arange(80) % 4, 2.0, [70, 80, 90], splits=4
    )
    assert found.solved.mean() < 0.05
    assert found.accuracy.mean() == pytest.approx(0.25, abs=0.08)
    assert np.isnan(found.compare(found).spearman) or found.solved.sum() >= 3


def test_rates_are_kept_from_zero_and_one() -> None:
    assert float(d_prime(50, 50, 0, 50)) == pytest.approx(2 * 2.3263, abs=1e-3)
    assert float(d_prime(25, 50, 25, 50)) == 0.0
    assert np.isnan(float(d_prime(0, 0, 1, 2)))


def test_preferred_layers_are_those_that_drive_the_neurons() -> None:
    low, high = (ar2_latents(150, 6, 5, seed=s) for s in (0, 1))
    made = [
        SyntheticNeurons(n_neurons=n, rate_hz=500).record(x, 8, seed=2).recordings.values
        for n, x in ((3, low), (9, high))
    ]
    share = layer_preference([low.mean(2), high.mean(2)], np.concatenate(made, 2), splits=3)
    np.testing.assert_allclose(share, [0.25, 0.75])


# --- similarity ------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["rsa", "cka"])
def test_similarity_in_time_reaches_its_ceiling_for_the_true_model(measure: str) -> None:
    random = np.random.default_rng(0)
    signal = random.normal(size=(60, 30, 2))
    signal[..., 1] = random.normal(size=(60, 30))
    responses = signal[:, None] + 1.5 * random.normal(size=(60, 16, 30, 2))
    found = similarity_in_time(signal, responses, measure=measure, n_boot=30)
    np.testing.assert_allclose(found.score, found.ceiling, atol=0.06)
    assert (found.low < found.score + 0.05).all()
    other = similarity_in_time(signal[::-1], responses, measure=measure, n_boot=0, n_halvings=0)
    assert np.abs(other.score).max() < 0.15
    assert np.isnan(other.halves).all()


def test_noise_ceilings_of_dissimilarities_bracket_the_truth() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=(20, 40))
    subjects = np.stack([rdm(truth + 0.8 * random.normal(size=truth.shape)) for _ in range(6)])
    lower, upper = rdm_noise_ceiling(subjects)
    from tractable.vision.convrnn import rdm_correlation

    reached = np.mean([rdm_correlation(rdm(truth), one) for one in subjects])
    assert lower - 0.03 < reached < upper + 0.03
    assert lower < upper


@pytest.mark.peer
def test_dissimilarities_are_those_of_rsatoolbox() -> None:
    toolbox = pytest.importorskip("rsatoolbox")
    random = np.random.default_rng(2)
    x, y = random.normal(size=(2, 25, 40))
    sets = [toolbox.data.Dataset(v) for v in (x, y)]
    theirs = [toolbox.rdm.calc_rdm(s, method="correlation") for s in sets]
    upper = np.triu_indices(25, 1)
    np.testing.assert_allclose(theirs[0].dissimilarities[0], rdm(x)[upper], atol=1e-6)
    from tractable.vision.convrnn import rdm_correlation

    expected = toolbox.rdm.compare(theirs[0], theirs[1], method="spearman")
    assert rdm_correlation(rdm(x), rdm(y)) == pytest.approx(float(expected[0, 0]), abs=1e-6)
    stack = toolbox.rdm.concat(theirs)
    bounds = toolbox.inference.boot_noise_ceiling(stack, method="spearman", rdm_descriptor="index")
    assert rdm_noise_ceiling([rdm(x), rdm(y)]) == pytest.approx(tuple(map(float, bounds)), abs=1e-6)


@pytest.mark.parametrize(("decay", "period"), [(0.9, 12.0), (0.7, 5.0)])
def test_latents_turn_once_in_a_period_and_decay(decay: float, period: float) -> None:
    """Without a drive the recursion has the closed form a rho^t cos(2 pi t / P + phase)."""
    found = ar2_latents(3, 4, 40, drive=0.0, decay=decay, period=period, seed=1)
    t = np.arange(40)
    turn = 2 * np.pi * t / period
    waves = (decay**t)[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    rows = found.reshape(-1, 40).T
    left = rows - waves @ np.linalg.lstsq(waves, rows, rcond=None)[0]
    np.testing.assert_allclose(left, 0, atol=1e-12)


def test_a_bin_takes_the_layer_that_its_middle_lies_in() -> None:
    layers = [np.zeros((5, 2)), np.ones((5, 3))]
    found = layers_to_bins(layers, 4, shares=[0.6, 0.4])  # middles .125, .375, .625, .875
    assert [part.shape[1] for part in found] == [2, 2, 3, 3]


def test_reliability_of_sums_is_that_of_many_draws() -> None:
    """Variance over repetitions of the summed counts, at strong dispersion and a strong gain."""
    made = SyntheticNeurons(n_neurons=4, rate_hz=100, bin_ms=100, dispersion=0.5, gain_sd=0.7)
    random = np.random.default_rng(0)
    expected = random.uniform(5, 30, (3, 1, 2))
    gain = random.gamma(0.7**-2, 0.7**2, (200_000, 3, 1, 1))
    counts = random.poisson(random.gamma(1 / 0.5, 0.5 * expected * gain)).sum(3)
    signal, noise = counts.mean(0).var(0), counts.var(0).mean(0) / 6
    found = made.average_reliability(expected, 6)
    np.testing.assert_allclose(found, signal / (signal + noise), rtol=0.01)
