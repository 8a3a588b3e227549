"""Priors: log Z, its derivatives, samples, names; at moderate and at extreme arguments."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from tractable.core.seeds import generator
from tractable.tensors import (
    Bernoulli,
    Custom,
    Discrete,
    Exponential,
    GaussBernoulli,
    Gaussian,
    Prior,
    Rademacher,
    TruncatedGaussian,
    as_prior,
    as_priors,
    register_prior,
)

PRIORS = [
    Gaussian(0.3, 2.0),
    Rademacher(),
    Bernoulli(0.3),
    GaussBernoulli(0.2, 0.5, 2.0),
    TruncatedGaussian(0.3, 2.0),
    TruncatedGaussian(-4.0, 0.5),
    Exponential(2.0),
    Discrete([-1, 0, 2], [0.2, 0.3, 0.5]),
]
PRECISIONS = [1e-6, 1e-3, 0.1, 1.0, 10.0, 1e3, 1e4]


def derivatives(
    prior: Prior, A: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradient and Hessian of log Z by automatic differentiation."""
    u = u.clone().requires_grad_()
    [gradient] = torch.autograd.grad(prior.log_z(A, u).sum(), u, create_graph=True)
    columns = [
        torch.autograd.grad(gradient[:, k].sum(), u, retain_graph=True)[0]
        for k in range(u.shape[1])
    ]
    return gradient.detach(), torch.stack(columns, -1)


def named(prior: Prior) -> str:
    """Return a name that is the same in every process: without addresses of functions."""
    return re.sub(r" at 0x\w+", "", repr(prior))


@pytest.mark.parametrize("prior", PRIORS, ids=named)
def test_mean_and_variance_are_derivatives_of_log_z(prior: Prior) -> None:
    u = torch.linspace(-50, 50, 101, dtype=torch.float64)[:, None]
    for precision in PRECISIONS:
        A = torch.full((1, 1), precision, dtype=torch.float64)
        gradient, hessian = derivatives(prior, A, u) if precision > 0 else (None, None)
        mean, cov = prior.mean_cov(A, u)
        if isinstance(prior, Gaussian):
            hessian = cov  # linear in u: checked below against the formula
        assert torch.allclose(mean, gradient, rtol=1e-8, atol=1e-8)
        assert torch.allclose(cov, hessian, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("prior", PRIORS, ids=named)
def test_mean_and_covariance_at_higher_rank(prior: Prior, rank: int) -> None:
    random = generator(rank)
    root = torch.randn(rank, rank, generator=random, dtype=torch.float64)
    A = root @ root.T
    u = 3 * torch.randn(4, rank, generator=random, dtype=torch.float64)
    gradient, hessian = derivatives(prior, A, u)
    mean, cov = prior.mean_cov(A, u)
    assert torch.allclose(mean, gradient, atol=1e-8)
    assert torch.allclose(cov, hessian, atol=1e-7)


@pytest.mark.parametrize("prior", PRIORS, ids=named)
def test_a_diagonal_precision_factorizes(prior: Prior) -> None:
    a = torch.tensor([0.5, 2.0], dtype=torch.float64)
    u = torch.tensor([[1.0, -2.0], [0.3, 4.0]], dtype=torch.float64)
    joint, cov = prior.mean_cov(a.diag(), u)
    log_z = prior.log_z(a.diag(), u)
    single = [prior.mean_cov(a[k].reshape(1, 1), u[:, k : k + 1]) for k in range(2)]
    one = sum(prior.log_z(a[k].reshape(1, 1), u[:, k : k + 1]) for k in range(2))
    for k in range(2):
        assert torch.allclose(joint[:, k], single[k][0][:, 0], atol=1e-9)
        assert torch.allclose(cov[:, k, k], single[k][1][:, 0, 0], atol=1e-9)
    assert cov[:, 0, 1].abs().max() < 1e-9
    assert torch.allclose(log_z, torch.as_tensor(one), atol=1e-9)


@pytest.mark.parametrize("prior", PRIORS, ids=named)
def test_extreme_fields_give_no_nan(prior: Prior) -> None:
    u = torch.tensor([[-1e4], [1e4]], dtype=torch.float64)
    for precision in PRECISIONS:
        A = torch.full((1, 1), precision, dtype=torch.float64)
        mean, cov = prior.mean_cov(A, u)
        assert all(bool(v.isfinite().all()) for v in (prior.log_z(A, u), mean, cov))
        assert (cov >= 0).all()


@pytest.mark.parametrize("prior", PRIORS, ids=named)
def test_shapes_shared_row_wise_and_batched(prior: Prior) -> None:
    A = torch.eye(2, dtype=torch.float64) + 0.2
    u = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 3, 2)
    mean, cov = prior.mean_cov(A.expand(2, 2, 2), u)
    assert mean.shape == (2, 3, 2)
    assert cov.shape == (2, 3, 2, 2)
    one, _ = prior.mean_cov(A, u[1])
    rows, row_cov = prior.mean_cov(A.expand(3, 2, 2), u[1])  # one A for each row
    assert torch.allclose(mean[1], one)
    assert torch.allclose(rows, one)
    assert torch.allclose(row_cov, cov[1])


@pytest.mark.parametrize("prior", [*PRIORS, Custom(lambda x: -(x**2) / 2)], ids=named)
def test_samples_have_the_moments_of_the_prior(prior: Prior) -> None:
    n = 40_000
    for matched, sigmas in ((False, 4.0), (True, 0.5)):
        x = prior.sample(n, 1, generator=generator(0), matched=matched)
        first, second = prior.moments(1)
        for power, expected in ((1, first[0]), (2, second[0, 0])):
            error = float((x**power).mean() - expected)
            assert abs(error) <= sigmas * float((x**power).std()) / math.sqrt(n) + 1e-12


def test_matched_gaussian_samples_are_exact() -> None:
    prior = Gaussian([0.4, -0.2], cov=[[1.0, 0.3], [0.3, 0.5]])
    x = prior.sample(50, 2, generator=generator(1), matched=True)
    first, second = prior.moments(2)
    assert torch.allclose(x.mean(0), first, atol=1e-12)
    assert torch.allclose(x.mT @ x / 50, second, atol=1e-12)


def test_gaussian_with_singular_covariance_and_refit() -> None:
    prior = Gaussian([1.0, 1.0], cov=[[1.0, 1.0], [1.0, 1.0]])
    mean, cov = prior.mean_cov(torch.eye(2, dtype=torch.float64), torch.zeros(1, 2).double())
    # Along (1, 1) with variance 2 a posterior of precision 1 + 1/2 in that direction.
    assert torch.allclose(mean, torch.full((1, 2), 1 / 3).double())
    assert torch.allclose(cov, torch.full((1, 2, 2), 1 / 3).double())
    again = prior.refit(*prior.moments(2))
    assert torch.allclose(again.moments(2)[1], prior.moments(2)[1], atol=1e-9)


def test_a_custom_gaussian_density_is_the_gaussian() -> None:
    own, exact = Custom(lambda x: -(x**2) / 2), Gaussian()
    u = torch.linspace(-50, 50, 41, dtype=torch.float64)[:, None]
    for precision in PRECISIONS:
        A = torch.full((1, 1), precision, dtype=torch.float64)
        assert torch.allclose(own.log_z(A, u), exact.log_z(A, u), atol=1e-7)
        for value, expected in zip(own.mean_cov(A, u), exact.mean_cov(A, u), strict=True):
            assert torch.allclose(value, expected, atol=1e-7)


def test_a_custom_half_line_is_the_exponential() -> None:
    own, exact = Custom(lambda x: -2 * x, (0, math.inf)), Exponential(2.0)
    u = torch.linspace(-50, 50, 11, dtype=torch.float64)[:, None]
    for precision in (0.1, 1.0, 1e4):
        A = torch.full((1, 1), precision, dtype=torch.float64)
        for value, expected in zip(own.mean_cov(A, u), exact.mean_cov(A, u), strict=True):
            assert torch.allclose(value, expected, rtol=1e-7, atol=1e-9)


def test_the_product_form_is_close_where_components_hardly_interact() -> None:
    exact = TruncatedGaussian(0.3, 2.0)
    product = TruncatedGaussian(0.3, 2.0, factorized=True)
    A = torch.tensor([[2.0, 0.1], [0.1, 1.0]], dtype=torch.float64)
    u = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=torch.float64)
    for value, expected in zip(product.mean_cov(A, u), exact.mean_cov(A, u), strict=True):
        assert torch.allclose(value, expected, atol=2e-3)
    gradient, hessian = derivatives(product, A, u)
    assert torch.allclose(product.mean_cov(A, u)[0], gradient, atol=1e-9)
    del hessian  # the means are held fixed in the graph


def test_joint_atoms_have_their_rank() -> None:
    prior = Discrete([[1, 0], [0, 1]])
    assert prior.rank == 2
    mean, _ = prior.mean_cov(
        torch.zeros(2, 2).double(), torch.tensor([[0.0, math.log(3)]]).double()
    )
    assert torch.allclose(mean, torch.tensor([[0.25, 0.75]]).double())
    with pytest.raises(ValueError, match="2 components, got rank=3"):
        prior.moments(3)


def test_limits_of_the_rank_are_named() -> None:
    u, A = torch.zeros(1, 5).double(), torch.eye(5).double()
    with pytest.raises(NotImplementedError, match="factorized=True"):
        Exponential().mean_cov(A, u)
    mean, _ = Exponential(factorized=True).mean_cov(A, u)
    assert mean.isfinite().all()
    with pytest.raises(NotImplementedError, match="more than 1024"):
        Rademacher().mean_cov(torch.eye(11).double(), torch.zeros(1, 11).double())


def test_a_prior_of_ones_own_needs_only_the_methods() -> None:
    class Half:
        rank = None
        log_z = Gaussian.log_z
        mean_cov = Gaussian.mean_cov
        moments = Gaussian.moments
        sample = Gaussian.sample

    own = Half()
    assert isinstance(own, Prior)
    assert as_prior(own) is own


def test_names() -> None:
    assert as_prior("bernoulli(0.2)") == Bernoulli(0.2)
    assert len(as_priors(["gaussian(1)", Rademacher()], 2)) == 2
    with pytest.raises(ValueError, match="each of the 3 modes, got 2"):
        as_priors(["gaussian", "gaussian"], 3)
    with pytest.raises(ValueError, match=r"p must be > 0 and < 1, got 2.*takes"):
        as_prior("bernoulli(2)")
    with pytest.raises(TypeError, match="is a class: call it"):
        as_prior(Gaussian)
    with pytest.raises(ValueError, match="prior of the library"):
        register_prior("gaussian", Gaussian)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(math.nan), "mean must be finite"),
        (lambda: Gaussian(0, -1), "var must be >= 0"),
        (lambda: Gaussian(cov=[[1, 2], [2, 1]]), "positive semi-definite"),
        (lambda: Gaussian([0, 0], cov=np.eye(3)), "agree in length"),
        (lambda: Bernoulli(0), "p must be > 0"),
        (lambda: GaussBernoulli(0.1, 0, 0), "var must be > 0"),
        (lambda: Exponential(-1), "rate must be > 0"),
        (lambda: Discrete([1, 2], [1, 0]), "positive numbers"),
        (lambda: Custom(lambda x: -x, (1, 0)), "low < high"),
    ],
)
def test_bad_parameters_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
