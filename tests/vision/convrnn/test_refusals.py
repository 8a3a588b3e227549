"""Regularization in one unit; splits, labels, indices and responses that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from tractable.vision.convrnn import (
    Recordings,
    image_splits,
    neural_fit,
    object_solution_times,
)

Y = np.random.default_rng(0).normal(size=(100, 4, 3, 2))
F = np.random.default_rng(1).normal(size=(100, 5, 2))
L = np.arange(100) % 3


@pytest.mark.parametrize("n_features", [20, 400])
@pytest.mark.parametrize("C", [0.001, 1.0])
def test_regularization_means_the_same_with_more_features_than_images(
    n_features: int, C: float
) -> None:
    # WITNESS: scikit-learn on the features themselves, scaled to unit mean variance
    random = np.random.default_rng(3)
    features = random.normal(size=(90, n_features)) * 7.0 + 3.0
    which = np.arange(90) % 3
    features[:, :3] += 7.0 * np.eye(3)[which]
    found = object_solution_times(features, which, 1.0, [70.0], splits=4, C=C, seed=5)
    right = []
    for inside, outside in image_splits(90, 4, categories=which, seed=5):
        X = features[inside] - features[inside].mean(0)
        size = X.std()
        machine = LinearSVC(C=C, dual=True, random_state=0, max_iter=20_000, tol=1e-6)
        machine.fit(X / size, which[inside])
        margins = machine.decision_function((features[outside] - features[inside].mean(0)) / size)
        right.append(margins.argmax(1) == which[outside])
    assert float(found.accuracy[0]) == pytest.approx(np.mean(right), abs=0.5 / 90)


@pytest.mark.parametrize("train", [0.01, 0.02, 0.98, 0.99])
@pytest.mark.parametrize("method", ["ridge", "pls1"])
def test_a_side_with_too_few_images_for_a_correlation_is_refused(train: float, method: str) -> None:
    with pytest.raises(ValueError, match=r"train must leave 3 images or more on both sides.*100"):
        neural_fit(F, Y, train=train, method=method, n_components=1, splits=1)
    kept = neural_fit(F, Y, train=0.97, method=method, n_components=1, splits=1)
    assert np.isfinite(kept.score).all()


def test_responses_that_never_change_are_refused_and_single_silent_neurons_are_counted() -> None:
    for silent in (np.zeros_like(Y), np.full_like(Y, 3.0)):
        with pytest.raises(ValueError, match="responses must differ between images"):
            neural_fit(F, silent, splits=1)
    one = Y.copy()
    one[:, :, 1] = 0.0
    fit = neural_fit(F, one, splits=2)
    assert fit.excluded[1].all()
    assert np.isnan(fit.corrected[1]).all()


def test_tensors_with_gradients_are_numbers() -> None:
    tensor = torch.tensor(Y, requires_grad=True)
    plain = neural_fit(F, Y, splits=1, n_halvings=2)
    found = neural_fit(torch.tensor(F, requires_grad=True), tensor, splits=1, n_halvings=2)
    np.testing.assert_array_equal(found.score, plain.score)
    parts = [torch.tensor(F[..., b], requires_grad=True) for b in range(2)]
    np.testing.assert_allclose(neural_fit(parts, tensor, splits=1).score, plain.score)
    named = Recordings.from_array(tensor[:, 0], axes="image neuron bin")
    np.testing.assert_array_equal(named.values[:, 0], Y[:, 0])
    trials = torch.tensor(Y.reshape(400, 3, 2), requires_grad=True)
    gathered = Recordings.from_trials(trials, np.repeat(np.arange(100), 4))
    np.testing.assert_array_equal(gathered.values, Y)


RECORDINGS = Recordings.from_array(Y)


def test_some_images_and_neurons() -> None:
    mask = np.arange(100) < 7
    kept = RECORDINGS.keep(images=mask, neurons=[-1, 0])
    np.testing.assert_array_equal(kept.values, Y[:7][:, :, [2, 0]])
    assert (kept.images[-1], kept.neurons) == ("6", ("2", "0"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RECORDINGS.keep(neurons=[0, 9]), r"neurons must be of 0 \.\. 2, got 9"),
        (lambda: RECORDINGS.keep(images=[0, 1, 2, -101]), r"images must be of 0 \.\. 99, got -101"),
        (lambda: RECORDINGS.keep(neurons=[0.5]), "neurons must be whole numbers"),
        (lambda: RECORDINGS.keep(neurons=[True]), "neurons must be whole numbers.*mask of all 3"),
        (lambda: RECORDINGS.keep(neurons=["a"]), "neurons must be whole numbers"),
        (lambda: RECORDINGS.keep(neurons=[]), "neurons must be whole numbers"),
        (lambda: RECORDINGS.keep(neurons=[[0], [1, 2]]), "neurons must be whole numbers"),
        (lambda: RECORDINGS.keep(images=[0, 1]), "4 images"),
        (lambda: object_solution_times(F, L, 1.0, [70, 80], C=np.inf), "C must be finite"),
        (lambda: object_solution_times(F, L, 1.0, [70, 80], C=np.nan), "C must"),
        (
            lambda: object_solution_times(F, [None, "a"] * 50, 1.0, [70, 80]),
            "labels must be numbers",
        ),
        (lambda: object_solution_times(F, [None] * 100, 1.0, [70, 80]), "got NoneType"),
        (lambda: object_solution_times(F, L[:, None], 1.0, [70, 80]), "labels must be one for"),
        (lambda: object_solution_times(F, L[:90], 1.0, [70, 80]), "90 images of the labels"),
        (lambda: object_solution_times(F, L, 1.0, [70, 80, 90]), "2 bins, but time_ms has 3"),
        (lambda: neural_fit(F, Y, groups=[None] * 100), "groups must be numbers or names"),
        (lambda: neural_fit(F, Y, categories=["a", 1, None, 2] * 25), "categories must be numbers"),
        (lambda: neural_fit(F, Y, mapping="latency", shifts=[0.5]), "shifts must be whole numbers"),
        (lambda: neural_fit(F, Y, mapping="latency", shifts=1), "shifts must be whole numbers"),
        (lambda: Recordings.from_array(Y, axes=4), "axes must name image"),
        (lambda: Recordings.from_array(Y, time_ms=5.0), "time_ms must have 2 entries, got 1"),
        (lambda: Recordings.from_array(Y, neurons=3), "neurons must be 3 names, got 3"),
        (lambda: Recordings.from_array(Y, areas="IT"), "areas must be 3 names, got 'IT'"),
        (lambda: RECORDINGS.reliability(images=[100]), r"images must be of 0 \.\. 99, got 100"),
    ],
)
def test_bad_calls_name_the_argument(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
