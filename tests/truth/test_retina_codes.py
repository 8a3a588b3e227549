"""Witnesses of what a layer computes: separability, complexity, gratings, bootstrap.

CLOSED FORM: Gaussian classes, a squared filter, a quadrature pair, a rectified cosine, the Fourier
transform of a linear cell. PEER: liblinear. RATE: the bootstrap error of a mean.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import ndtr
from torch import Tensor, nn

from tractable.vision.retina import (
    ComplexityResult,
    GratingTuning,
    LinearityResult,
    RetinaVVS,
    SeparabilityResult,
    bootstrap_fields,
    complexity,
    fit_margin,
    grating_images,
    gratings,
    linearity,
    orientation,
    pairwise_cosine,
    radial_fraction,
    separability,
)

SIDE = 17


def classes(distance: float, n: int, side: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat(n // 2)
    images = torch.randn(n, 1, side, side, generator=draw)
    return images + labels[:, None, None, None] * distance / side, labels  # along the diagonal


def gabor(phase: float, theta: float = np.pi / 2, sf: float = 0.2) -> Tensor:
    """Return a Gabor filter of mean 0 and norm 1; theta is the orientation of its stripes."""
    half = SIDE // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    along = np.sin(theta) * x - np.cos(theta) * y
    field = np.exp(-(x**2 + y**2) / 32) * np.cos(2 * np.pi * sf * along + phase)
    field = field - field.mean()
    return torch.as_tensor((field / np.linalg.norm(field)).ravel())


def drive(x: Tensor, field: Tensor) -> Tensor:
    return (x.flatten(1) @ field.to(x))[:, None]


SHAPE = (1, SIDE, SIDE)


def simple(x: Tensor) -> Tensor:
    return drive(x, gabor(0.0)).relu()


def squared(x: Tensor) -> Tensor:
    return drive(x, gabor(0.0)) ** 2


def energy(x: Tensor) -> Tensor:
    return drive(x, gabor(0.0)) ** 2 + drive(x, gabor(np.pi / 2)) ** 2


# --- separability -------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_separability_of_gaussian_classes(distance: float) -> None:
    images, labels = classes(distance, 12_000)
    found = separability(nn.Identity(), None, images, labels, n_fit=3000)
    assert found.score == pytest.approx(2 * ndtr(distance / 2) - 1, abs=0.03)
    assert found.n_fit.tolist() == [3000]
    assert found.n_test.tolist() == [9000]
    assert found.converged.all()


def test_identical_classes_have_none() -> None:
    images, labels = classes(0.0, 12_000, seed=1)
    found = separability(nn.Identity(), None, images, labels)
    assert abs(found.score) < 0.05
    assert found.error == pytest.approx(1 / np.sqrt(11_000), rel=0.01)


@pytest.mark.parametrize(("n", "features", "scale"), [(120, 5, 1.0), (100, 300, 3.0)])
def test_the_cut_is_that_of_liblinear(n: int, features: int, scale: float) -> None:
    svm = pytest.importorskip("sklearn.svm")
    draw = np.random.default_rng(0)
    y = np.sign(draw.standard_normal(n))
    x = scale * draw.random((n, features)) + 0.1 * y[:, None]
    peer = svm.LinearSVC(C=0.7, tol=1e-10, max_iter=100_000).fit(x, y)
    gram = x @ x.T + 1
    ours = fit_margin(gram, y, 0.7)
    assert ours.converged
    np.testing.assert_allclose(gram @ ours.weights, peer.decision_function(x), atol=1e-6)


def test_unscaled_features_also_end_at_the_minimum() -> None:
    images, labels = classes(1.0, 400)
    found = separability(lambda x: 1e3 * x.flatten(1) + 1e3, None, images, labels)
    assert found.converged.all()
    plain = separability(nn.Identity(), None, images, labels, standardize=True)
    moved = separability(lambda x: 7 * x.flatten(1) + 3, None, images, labels, standardize=True)
    np.testing.assert_allclose(plain.scores, moved.scores, atol=0.02)


def test_pairs_channels_and_unequal_classes() -> None:
    draw = torch.Generator().manual_seed(2)
    labels = torch.tensor([0] * 300 + [1] * 30 + [4] * 60)
    code = torch.randn(390, 2, 2, 2, generator=draw)
    code[labels == 4, 1] += 4
    images = torch.zeros(390, 1, 2, 2)
    found = separability(code, None, images, labels)
    assert found.pairs.tolist() == [[0, 1], [0, 4], [1, 4]]
    assert found.scores[0] < 0.6  # always saying 0 would be right on 91 % of the images
    assert found.scores[1] > 0.9
    one = separability(code, None, images, labels, channels=[0], pairs=[(0, 4)])
    assert one.scores[0] < 0.5
    assert separability(code[:, :1] * 0, None, images, labels).n_silent == 4


# --- complexity ---------------------------------------------------------------------------------


def test_a_linear_cell_has_one_field() -> None:
    net = RetinaVVS(1, 1, 5, 4, 3, head=(2,), in_shape=(1, 16, 16))
    found = complexity(net, "vvs_1", through="linear")
    np.testing.assert_allclose(found.complexity, 0, atol=1e-6)
    np.testing.assert_allclose(found.cosine, 1, atol=1e-6)


def test_complexity_of_a_squared_filter_and_of_a_quadrature_pair() -> None:
    n = 300
    field = gabor(0.0).numpy()
    z = field / field.std()
    one = complexity(squared, shape=SHAPE, n_init=n)
    # two signs with equal probability: the deviation is 2 sqrt(p (1 - p)) |z| / 10
    assert one.complexity[0] == pytest.approx(0.1 * np.abs(z).mean(), rel=0.02)
    assert one.cosine[0] == pytest.approx(1, abs=1e-6)
    odd = gabor(np.pi / 2).numpy()
    both = np.sqrt((z**2 + (odd / odd.std()) ** 2) / 2).mean()
    pair = complexity(energy, shape=SHAPE, n_init=n)
    assert pair.complexity[0] == pytest.approx(0.1 * both, rel=0.02)
    assert pair.cosine[0] == pytest.approx(2 / np.pi, abs=0.02)


def test_images_without_gradient_are_left_out_and_counted() -> None:
    def cell(x: Tensor) -> Tensor:
        return torch.cat([simple(x), 0 * simple(x)], 1)

    found = complexity(cell, shape=SHAPE, n_init=40, through="post")
    assert 8 < found.n_used[0] < 32
    assert found.complexity[0] < 1e-6
    assert found.n_silent == 1
    assert np.isnan(found.cosine[1])
    assert found.mean()[0] == found.complexity[0]


def test_cosine_of_vectors_at_known_angles() -> None:
    angles = np.array([0.0, 0.4, 2.9])
    fields = np.stack([np.cos(angles), np.sin(angles)], 1) * np.array([[1.0], [3.0], [0.2]])
    expected = np.abs(np.cos([0.4, 2.9, 2.5])).mean()
    assert pairwise_cosine(fields) == pytest.approx(expected, abs=1e-12)


# --- gratings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sf", [0.1, 0.3])
def test_first_harmonic_of_a_linear_cell_is_the_transform_of_its_field(sf: float) -> None:
    field = torch.randn(SIDE * SIDE, generator=torch.Generator().manual_seed(0)).double()
    tuning = gratings(
        lambda x: drive(x, field), shape=SHAPE, sf=[sf], n_theta=5, contrast=0.4, mean=0.6
    )
    half = SIDE // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    for i, theta in enumerate(tuning.theta):
        wave = np.exp(-2j * np.pi * sf * (np.sin(theta) * x - np.cos(theta) * y))
        expected = 0.4 * 0.6 * abs((field.numpy().reshape(SIDE, SIDE) * wave).sum())
        assert tuning.f1[0, 0, i] == pytest.approx(expected, rel=1e-4)
    assert np.abs(tuning.f0).max() < 1e-5


def test_simple_and_complex_cells() -> None:
    settings = {"shape": SHAPE, "sf": [0.1, 0.2, 0.3], "n_phase": 64}
    one = gratings(simple, **settings)  # type: ignore[arg-type]
    assert one.ratio()[0] == pytest.approx(np.pi / 2, abs=0.01)
    assert one.simple().tolist() == [True]
    assert one.preferred()[0][0] == 0.2
    for cell in (squared, energy):
        assert gratings(cell, **settings).ratio()[0] < 0.01  # type: ignore[arg-type]
    # an offset alone makes no cell complex
    moved = gratings(lambda x: (drive(x, gabor(0.0)) + 50).relu(), **settings)  # type: ignore[arg-type]
    assert moved.ratio()[0] > 100


@pytest.mark.parametrize("theta", [0.0, np.pi / 6, np.pi / 2, 2.2])
def test_preferred_orientation_is_that_of_the_field(theta: float) -> None:
    field = gabor(0.3, theta)
    tuning = gratings(lambda x: drive(x, field).relu(), shape=SHAPE, sf=[0.2], n_theta=36)
    angle = orientation(field.numpy().reshape(SIDE, SIDE)).angle[0]
    gap = (tuning.preferred()[1][0] - angle + np.pi / 2) % np.pi - np.pi / 2
    assert abs(gap) < np.radians(5.01)
    gap = (angle - theta + np.pi / 2) % np.pi - np.pi / 2
    assert abs(gap) < np.radians(3)
    assert tuning.selectivity()[0] > 0.5


def test_gratings_lie_on_their_equation_and_silent_cells_are_nan() -> None:
    pictures = grating_images((2, 5, 7), 0.2, 0.7, [0.1, 1.0], contrast=0.3, mean=0.4)
    y, x = 4 - 2, 1 - 3
    along = 0.2 * (np.sin(0.7) * x - np.cos(0.7) * y)
    expected = 0.4 + 0.12 * np.cos(2 * np.pi * along + 1.0)
    np.testing.assert_allclose(pictures[0, 0, 1, :, 4, 1], expected)
    silent = gratings(lambda x: simple(x) * 0 + 2, shape=SHAPE)
    assert silent.n_silent == 1
    assert np.isnan([*silent.ratio(), *silent.selectivity(), *silent.preferred()[0]]).all()


# --- bootstrap, arrays, storage, refusals -------------------------------------------------------


def test_bootstrap_error_of_a_mean_and_coverage() -> None:
    draw = np.random.default_rng(0)
    cells = draw.standard_normal((200, 60, 2, 2))
    found = bootstrap_fields(cells, lambda rf: rf.mean((1, 2)), n=300)
    assert found.error.mean() == pytest.approx(1 / np.sqrt(240), rel=0.05)
    inside = (found.low < 0) & (found.high > 0)
    assert 0.88 < inside.mean() < 0.99
    dead = bootstrap_fields(np.zeros((1, 5, 9, 9)), radial_fraction, n=10)
    assert np.isnan(dead.value).all()
    assert np.isnan(dead.low).all()


def test_recorded_activations_are_judged_like_the_layer() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    code = conv(images).relu().detach().numpy()
    net = nn.Sequential(conv, nn.ReLU())
    assert linearity(code, None, images).r2 == linearity(net, "1", images).r2


def test_results_come_back_from_their_datasets() -> None:
    images, labels = classes(1.0, 120, side=6)
    results = [
        (SeparabilityResult, separability(nn.Identity(), None, images, labels)),
        (LinearityResult, linearity(nn.Conv2d(1, 2, 3), None, images)),
        (ComplexityResult, complexity(nn.Conv2d(1, 2, 3), shape=(1, 6, 6))),
        (GratingTuning, gratings(nn.Conv2d(1, 2, 3), shape=(1, 6, 6))),
    ]
    for kind, result in results:
        stored = result.to_dataset()
        xr.testing.assert_identical(kind.from_dataset(stored).to_dataset(), stored)


X, Y = torch.rand(60, 1, 6, 6), torch.arange(2).repeat(30)
REFUSALS = {
    "layer": lambda: separability(nn.Sequential(nn.ReLU()), "nope", X, Y),
    "layer must be None": lambda: separability(lambda x: x, "a", X, Y),
    "images must have shape": lambda: separability(nn.Identity(), None, X[:, 0], Y),
    "images must be finite": lambda: separability(nn.Identity(), None, X / 0, Y),
    "labels must be one integer": lambda: separability(nn.Identity(), None, X, Y[:9]),
    "labels must be one integer per image, got float": lambda: separability(
        nn.Identity(), None, X, Y.float()
    ),
    "two classes": lambda: separability(nn.Identity(), None, X, Y * 0),
    "10 images of each class": lambda: separability(nn.Identity(), None, X, torch.arange(60)),
    "pairs must be two different": lambda: separability(nn.Identity(), None, X, Y, pairs=[(0, 0)]),
    "pairs must name one": lambda: separability(nn.Identity(), None, X, Y, pairs=[]),
    "pairs must be one of": lambda: separability(nn.Identity(), None, X, Y, pairs="some"),
    "n_fit must be": lambda: separability(nn.Identity(), None, X, Y, n_fit=1),
    "C must be": lambda: separability(nn.Identity(), None, X, Y, C=0),
    "channels must be whole numbers of": lambda: separability(
        nn.Identity(), None, X, Y, channels=[1]
    ),
    "through must be one of": lambda: separability(nn.Identity(), None, X, Y, through="both"),
    "through and pad must be left out": lambda: separability(X.numpy(), "a", X, Y),
    "model must be activations": lambda: separability(X[:9], None, X, Y),
    "model must be finite": lambda: separability(X / 0, None, X, Y),
    "y must be": lambda: fit_margin(np.eye(2), np.array([1.0, 1.0])),
    "y must be one row": lambda: fit_margin(np.eye(2), np.array([0.0, 1.0])),
    "gram must have shape": lambda: fit_margin(np.eye(3), np.array([-1.0, 1.0])),
    "gram must be finite": lambda: fit_margin(np.full((2, 2), np.nan), np.array([-1.0, 1.0])),
    "gram must be positive": lambda: fit_margin(np.diag([1.0, -9.0]), np.array([-1.0, 1.0])),
    "C must be finite": lambda: fit_margin(np.eye(2), np.array([-1.0, 1.0]), np.inf),
    "n_init must be": lambda: complexity(simple, shape=SHAPE, n_init=1),
    "std must be > 0": lambda: complexity(simple, shape=SHAPE, std=0),
    "std must be finite": lambda: complexity(simple, shape=SHAPE, std=np.inf),
    "shape=": lambda: complexity(simple),
    "shape must be": lambda: complexity(simple, shape=(17, 17)),  # type: ignore[arg-type]
    "two images or more, got 1": lambda: complexity(nn.Conv2d(1, 1, 3), images=X[:1]),
    "two images or more, got int": lambda: complexity(simple, images=3),  # type: ignore[arg-type]
    "position must lie": lambda: complexity(nn.Conv2d(1, 1, 3), images=X, position=(9, 0)),
    "units must be": lambda: complexity(nn.Conv2d(1, 1, 3), images=X, units=[4]),
    "pad must be one of": lambda: complexity(nn.Conv2d(1, 1, 3), images=X, pad="edge"),
    "fields must have shape": lambda: pairwise_cosine(np.ones((1, 3))),
    "fields must not be infinite": lambda: pairwise_cosine(np.full((2, 3), np.inf)),
    "sf must be in": lambda: gratings(simple, shape=SHAPE, sf=[0.6]),
    "sf must be in (0": lambda: gratings(simple, shape=SHAPE, sf=[0.0]),
    "sf must be a number": lambda: gratings(simple, shape=SHAPE, sf=[]),
    "sf must be finite": lambda: gratings(simple, shape=SHAPE, sf=[np.nan]),
    "n_theta must be": lambda: gratings(simple, shape=SHAPE, n_theta=1),
    "n_phase must be": lambda: gratings(simple, shape=SHAPE, n_phase=3),
    "contrast must be": lambda: gratings(simple, shape=SHAPE, contrast=1.5),
    "mean must be": lambda: gratings(simple, shape=SHAPE, mean=0),
    "batch_size must be": lambda: gratings(simple, shape=SHAPE, batch_size=0),
    "theta must be finite": lambda: grating_images(SHAPE, 0.1, np.inf, 0.0),
    "phase must be a number": lambda: grating_images(SHAPE, 0.1, 0.0, np.zeros((2, 2))),
    "ensemble must be": lambda: bootstrap_fields(np.ones((2, 1, 4, 4)), radial_fraction),
    "n must be": lambda: bootstrap_fields(np.ones((2, 3, 4, 4)), radial_fraction, n=1),
    "level must be": lambda: bootstrap_fields(np.ones((2, 3, 4, 4)), radial_fraction, level=1.0),
    "statistic must return": lambda: bootstrap_fields(np.ones((2, 3, 4, 4)), np.mean),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_bad_calls_are_refused_by_name(message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSALS[message]()
    assert message in str(caught.value)


def test_fields_that_differ_by_a_shade_alone_are_one() -> None:
    """Each field is shown around gray: one that only becomes lighter has no complexity."""
    field = gabor(0.0)

    def shaded(x: Tensor) -> Tensor:
        return drive(x, field) + 5 * x.flatten(1).sum(1, keepdim=True) ** 2 / SIDE**2

    found = complexity(shaded, shape=SHAPE, n_init=20)
    assert found.cosine[0] < 0.999
    assert found.complexity[0] < 1e-5


def test_deviation_over_two_images_and_the_error_of_a_mean() -> None:
    image = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    field = gabor(0.0).numpy()
    found = complexity(squared, shape=SHAPE, images=torch.cat([image, -image]))
    assert found.complexity[0] == pytest.approx(0.1 * np.abs(field / field.std()).mean(), rel=1e-5)
    values = np.array([1.0, 2.0, 4.0, np.nan])
    mean, error = ComplexityResult(values, values, np.full(4, 2), "layer").mean()
    assert mean == pytest.approx(7 / 3)
    assert error == pytest.approx(1.96 * np.std(values[:3], ddof=1) / 3**0.5)
