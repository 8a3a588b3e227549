import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tractable.core.checks import ConvergenceWarning
from tractable.dynamics.invariant import block_basis
from tractable.dynamics.modes import Modes, decompose, eigenvalues
from tractable.dynamics.normality import henrici, transient_gain


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(rate: float, angle: float) -> torch.Tensor:
    c, s = rate * math.cos(angle), rate * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def rank_one(n: int) -> torch.Tensor:
    s = torch.ones(n, dtype=torch.float64)
    s[::3] = -1
    return 2 * torch.outer(s, s) / n


def assert_eigenvectors(J: torch.Tensor, modes: Modes, atol: float = 1e-10) -> None:
    J = J.to(torch.complex128)
    right = J @ modes.right - modes.right * modes.eigvals[:, None]
    left = modes.left @ J - modes.eigvals[..., None] * modes.left
    assert right.abs().amax(1)[modes.resolved].max() < atol
    assert left.abs().amax(2)[modes.resolved].max() < atol * modes.left.abs().max()


def test_sorted_by_modulus_with_pairs_adjacent():
    J = random(20, 30, 30) / 30**0.5
    modes = decompose(J)
    size = modes.eigvals.abs()
    assert (size[:, :-1] >= size[:, 1:] - 1e-15).all()
    first = modes.eigvals.imag > 0
    assert not first[:, -1].any()
    assert torch.equal(modes.eigvals[:, 1:][first[:, :-1]], modes.eigvals[first].conj())
    assert_eigenvectors(J, modes)
    assert torch.equal(eigenvalues(J).abs(), size) or torch.allclose(
        eigenvalues(J).abs(), size, atol=1e-13
    )


def test_pairs_of_one_modulus_stay_together():
    """Five eigenvalues of modulus 1/2: a plain sort by modulus may separate the conjugates."""
    parts = [rotation(0.5, 1.0), rotation(0.5, 2.0), torch.tensor([[0.5]])]
    Q = torch.linalg.qr(random(5, 5))[0]
    modes = decompose(Q @ torch.block_diag(*parts) @ Q.T)
    angles = modes.eigvals.angle()[0]
    pairs = torch.nonzero(angles > 1e-6).flatten()
    assert len(pairs) == 2
    torch.testing.assert_close(angles[pairs + 1], -angles[pairs], atol=0, rtol=0)


def test_vectors_of_real_eigenvalues_are_real_and_of_pairs_exact_conjugates():
    modes = decompose(random(5, 21, 21))
    real, first = modes.eigvals.imag == 0, modes.eigvals.imag > 0
    assert (modes.right.mT[real].imag == 0).all()
    assert (modes.left[real].imag == 0).all()
    second = torch.roll(first, 1, 1)
    assert torch.equal(modes.right.mT[first].conj(), modes.right.mT[second])
    assert torch.equal(modes.left[first].conj(), modes.left[second])
    torch.testing.assert_close(modes.right.norm(dim=1), torch.ones(5, 21, dtype=torch.float64))


def test_sign_follows_the_axis():
    J = random(6, 15, 15)
    real = decompose(J).eigvals.imag == 0
    axis = random(15, seed=1)
    towards = decompose(J, axis=axis)
    assert (torch.einsum("n,pnk->pk", axis, towards.right.real)[real] > 0).all()
    away = decompose(J, axis=-axis.numpy())
    assert torch.equal(away.right.mT[real], -towards.right.mT[real])
    assert torch.equal(away.left[real], -towards.left[real])
    own = random(6, 15, seed=2)  # one axis for each point
    each = decompose(J, axis=own)
    assert (torch.einsum("pn,pnk->pk", own, each.right.real)[real] > 0).all()
    largest = decompose(J).right.real.mT[real]
    assert (largest.gather(1, largest.abs().argmax(1, keepdim=True)) > 0).all()


def test_time_constants_and_frequencies():
    parts = [
        torch.diag(torch.tensor([1.5, 1.0, -0.9, 0.0], dtype=torch.float64)),
        rotation(0.5, math.pi / 4),
    ]
    modes = decompose(torch.block_diag(*parts))
    half = 1 / math.log(2)
    expected = [1 / math.log(1.5), math.inf, -1 / math.log(0.9), half, half, 0.0]
    torch.testing.assert_close(modes.tau[0], torch.tensor(expected).double())
    torch.testing.assert_close(modes.freq[0], torch.tensor([0, 0, 0.5, 0.125, 0.125, 0]).double())
    assert modes.unstable[0].tolist() == [True] + [False] * 5
    seconds = decompose(torch.block_diag(*parts), dt=0.1)
    torch.testing.assert_close(seconds.tau, modes.tau / 10)
    torch.testing.assert_close(seconds.freq, modes.freq * 10)


@pytest.mark.parametrize("excess", [1e-13, -1e-13])
def test_on_the_circle_within_rounding_is_infinite_and_not_unstable(excess):
    modes = decompose(torch.tensor([[1 + excess]], dtype=torch.float64))
    assert modes.tau.item() == math.inf
    assert not modes.unstable.item()
    near = decompose(torch.tensor([[1 + 1e3 * excess]], dtype=torch.float64))
    assert near.tau.item() == pytest.approx(1e10, rel=1e-4)


def test_vector_field():
    A = torch.block_diag(torch.tensor([[-0.1]]), torch.tensor([[-2.0, 3.0], [-3.0, -2.0]]))
    A = torch.block_diag(A, torch.tensor([[0.5]])).double()
    modes = decompose(A, continuous=True)
    torch.testing.assert_close(modes.eigvals[0].real, torch.tensor([0.5, -0.1, -2, -2]).double())
    torch.testing.assert_close(modes.tau[0], torch.tensor([2, 10, 0.5, 0.5]).double())
    torch.testing.assert_close(modes.freq[0], torch.tensor([0, 0, 3, 3]).double() / (2 * math.pi))
    assert modes.unstable[0].tolist() == [True, False, False, False]


def test_condition_is_one_over_the_overlap_of_unit_vectors():
    modes = decompose(random(3, 12, 12))
    left = modes.left / modes.left.norm(dim=2, keepdim=True)
    overlap = (left * modes.right.mT).sum(2).abs()
    torch.testing.assert_close(modes.condition, 1 / overlap)
    normal = decompose(torch.diag(torch.arange(1.0, 5)))
    torch.testing.assert_close(normal.condition, torch.ones(1, 4).double())


def test_slow_modes_and_gap():
    J = torch.stack(
        [
            torch.diag(torch.tensor(d, dtype=torch.float64))
            for d in ([0.99, 0.9, 0.1], [1.0, 0.5, 0.0])
        ]
    )
    modes = decompose(J)
    assert modes.n_slow(9).tolist() == [2, 1]
    torch.testing.assert_close(
        modes.gap(),
        torch.tensor([math.log(0.9) / math.log(0.99), math.inf]).double(),
        rtol=1e-6,
        atol=0,
    )
    assert decompose(torch.tensor([[0.5]])).gap().item() == math.inf
    assert decompose(rotation(0.7, 1.0)).gap().item() == 1.0
    assert decompose(torch.zeros(2, 2)).gap().item() == 1.0
    with pytest.raises(ValueError, match="tau_min must be > 0"):
        modes.n_slow(0)


def test_few_modes_are_the_first_of_all():
    J = random(4, 20, 20)
    every, few = decompose(J), decompose(J, k=7)
    for name in ("eigvals", "tau", "freq", "condition", "unstable", "resolved"):
        assert torch.equal(getattr(few, name), getattr(every, name)[:, :7])
    assert torch.equal(few.right, every.right[..., :7])
    assert torch.equal(few.left, every.left[:, :7])
    assert torch.equal(few.departure, every.departure)


def test_projector_keeps_pairs_whole_also_where_k_cuts_one():
    J = torch.block_diag(torch.tensor([[0.3]]), rotation(0.9, 1.0)).double()
    J = J + 0.5 * torch.triu(torch.ones(3, 3), 1)
    every, cut = decompose(J), decompose(J, k=1)
    P = every.projector(1)[0]
    torch.testing.assert_close(P @ P, P)
    torch.testing.assert_close(P @ J, J @ P)
    assert torch.linalg.matrix_rank(P) == 2
    torch.testing.assert_close(cut.projector(1)[0], P)
    torch.testing.assert_close(every.projector([1])[0], P)
    torch.testing.assert_close(
        every.projector(3)[0], torch.eye(3, dtype=torch.float64), atol=1e-14, rtol=0
    )
    with pytest.raises(ValueError, match=r"modes must be integers in \[0, 3\), got 3"):
        every.projector([3])


def test_real_basis_is_dual_and_block_diagonalizes():
    J = random(3, 14, 14)
    modes = decompose(J)
    eye = torch.eye(14, dtype=torch.float64).expand(3, -1, -1)
    torch.testing.assert_close(modes.real_left @ modes.real_right, eye, atol=1e-11, rtol=0)
    block = modes.real_left @ J @ modes.real_right
    pair = (modes.eigvals.imag != 0).double()
    outside = block * (1 - torch.eye(14)) * (1 - pair[:, :, None] * pair[:, None])
    assert outside.abs().max() < 1e-10


def test_rank_one_where_torch_raises_and_its_neighbors_in_the_batch():
    J = torch.stack([random(97, 97), rank_one(97), random(97, 97, seed=1)])
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.eig(J)
    modes = decompose(J)
    assert modes.resolved.all()
    assert_eigenvectors(J, modes)
    torch.testing.assert_close(modes.eigvals[1, 0], torch.tensor(2.0 + 0j).to(torch.complex128))
    assert modes.eigvals[1, 1:].abs().max() < 1e-12
    torch.testing.assert_close(eigenvalues(J).abs(), modes.eigvals.abs(), atol=1e-12, rtol=0)
    one = decompose(J[:1])
    torch.testing.assert_close(modes.eigvals[0], one.eigvals[0], atol=1e-12, rtol=0)


def test_a_matrix_that_lapack_cannot_solve_does_not_fail_the_batch(monkeypatch):
    J = torch.stack([rank_one(97), random(97, 97)])
    solve = scipy.linalg.eig

    def eig(matrix, **options):
        if np.linalg.matrix_rank(matrix) == 1:
            raise scipy.linalg.LinAlgError("no convergence")
        return solve(matrix, **options)

    monkeypatch.setattr(scipy.linalg, "eig", eig)
    with pytest.warns(ConvergenceWarning, match="1 of 2 Jacobians"):
        modes = decompose(J)
    assert modes.eigvals[0].isnan().all()
    assert modes.defective.tolist() == [True, False]
    assert_eigenvectors(J[1:], modes[1:])


def jordan() -> torch.Tensor:
    """0.9, a double defective 0.5, a pair, a triple semisimple 0.2; not normal."""
    block = torch.tensor([[0.5, 1.0], [0.0, 0.5]])
    J = torch.block_diag(torch.tensor([[0.9]]), block, rotation(0.3, 1.2), 0.2 * torch.eye(3))
    S = random(8, 8, seed=3)
    return S @ J.double() @ torch.linalg.inv(S)


def test_defective_cluster_is_an_invariant_subspace_and_the_rest_stays_exact():
    J = jordan()
    modes = decompose(J)
    assert modes.defective.item()
    assert modes.resolved[0].tolist() == [True, False, False] + [True] * 5
    assert_eigenvectors(J[None], modes, atol=1e-8)
    torch.testing.assert_close(
        modes.eigvals[0].abs(),
        torch.tensor([0.9, 0.5, 0.5, 0.3, 0.3, 0.2, 0.2, 0.2]).double(),
        atol=1e-6,
        rtol=0,
    )
    eye = torch.eye(8, dtype=torch.complex128)
    torch.testing.assert_close((modes.left @ modes.right)[0], eye, atol=1e-10, rtol=0)
    P = modes.projector([1, 2])[0]
    torch.testing.assert_close(P @ J, J @ P, atol=1e-9, rtol=0)
    torch.testing.assert_close(P @ P, P, atol=1e-9, rtol=0)


def test_where_no_clusters_help_the_schur_vectors_span_the_slowest_modes():
    J = torch.diag(torch.linspace(0.1, 0.99, 60)) + torch.triu(random(60, 60).float(), 1)
    J = J.double()
    modes = decompose(J)
    assert not modes.resolved.any()
    assert modes.tau[0, 0].item() == pytest.approx(-1 / math.log(0.99), rel=1e-5)
    for k in (1, 7, 30):
        R = modes.real_right[0, :, :k]
        torch.testing.assert_close(J @ R, R @ (R.T @ J @ R), atol=1e-11, rtol=0)
        block = R.T @ J @ R  # triangular: the k largest of its diagonal
        expected = torch.linspace(0.99, 0.1, 60)[:k].double()
        torch.testing.assert_close(block.diagonal(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_nilpotent_in_any_basis(n):
    Q = torch.linalg.qr(random(n, n, seed=4))[0]
    J = Q @ torch.diag(torch.ones(n - 1).double(), 1) @ Q.T
    modes = decompose(J)
    assert modes.defective.item()
    assert modes.left.isfinite().all()
    assert modes.departure.item() == pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(
        (modes.left @ modes.right)[0], torch.eye(n, dtype=torch.complex128), atol=1e-12, rtol=0
    )


def test_defective_pair():
    J = torch.block_diag(rotation(0.8, 1.0), rotation(0.8, 1.0), torch.tensor([[0.1]])).double()
    J[:2, 2:4] = torch.eye(2)
    Q = torch.linalg.qr(random(5, 5, seed=5))[0]
    J = Q @ J @ Q.T
    modes = decompose(J)
    assert modes.resolved[0].tolist() == [False] * 4 + [True]
    torch.testing.assert_close(modes.right.norm(dim=1), torch.ones(1, 5).double())
    P = modes.projector(4)[0]
    torch.testing.assert_close(P @ J, J @ P, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.trace(P), torch.tensor(4.0).double())


def test_low_rank_has_a_full_basis():
    """Many zeros, as in a low-rank network: not defective, although LAPACK's vectors may be."""
    U, V = random(100, 3) / 10, random(3, 100, seed=1) / 10
    modes = decompose(U @ V)
    assert modes.resolved.all()
    assert_eigenvectors((U @ V)[None], modes)


def test_block_basis_of_a_simple_matrix_is_its_eigenbasis():
    J = random(9, 9, seed=6).numpy()
    basis = block_basis(J)
    assert basis.resolved.all()
    np.testing.assert_allclose(basis.left @ basis.right, np.eye(9), atol=1e-12)
    np.testing.assert_allclose(
        np.sort_complex(basis.eigvals), np.sort_complex(np.linalg.eigvals(J)), atol=1e-12
    )


def test_henrici_and_gain_against_their_definitions():
    J = random(4, 12, 12) / 3.2
    eigvals = torch.linalg.eigvals(J)
    size = J.norm(dim=(1, 2))
    expected = (size**2 - eigvals.abs().square().sum(1)).sqrt() / size
    torch.testing.assert_close(henrici(J, eigvals), expected)
    torch.testing.assert_close(decompose(J).departure, expected)
    Q = torch.linalg.qr(random(5, 5))[0]
    normal = Q @ torch.diag(torch.arange(1.0, 6).double()) @ Q.T
    assert decompose(normal).departure.item() < 1e-7
    assert decompose(torch.zeros(3, 3)).departure.item() == 0.0
    burst, when = transient_gain(torch.stack([1e100 * J[0] / J[0].norm(), 0 * J[0]]), 9)
    assert burst.tolist() == [float("inf"), 0.0]
    assert when[0] == 4
    gain, step = transient_gain(J, 25)
    powers = [torch.linalg.matrix_power(J, k) for k in range(1, 26)]
    norms = torch.stack([torch.linalg.matrix_norm(p, 2) for p in powers])
    torch.testing.assert_close(gain, norms.max(0).values)
    assert step.tolist() == (norms.argmax(0) + 1).tolist()


def test_no_points():
    modes = decompose(torch.zeros(0, 7, 7))
    assert len(modes) == 0
    assert modes.right.shape == (0, 7, 7)
    assert modes.n_slow(10).shape == modes.gap().shape == (0,)
    assert modes.projector(2).shape == (0, 7, 7)
    assert eigenvalues(torch.zeros(0, 7, 7)).shape == (0, 7)
    assert len(Modes.from_dataset(modes.to_dataset())) == 0


def test_index_and_concatenate():
    modes = decompose(random(5, 6, 6), dt=0.2)
    assert len(modes[3]) == 1
    assert torch.equal(modes[3].eigvals[0], modes.eigvals[3])
    assert torch.equal(modes[-1].eigvals[0], modes.eigvals[4])
    assert torch.equal(modes[np.int64(-1)].eigvals[0], modes.eigvals[4])
    assert torch.equal(modes[np.array([4, 0])].tau, modes.tau[[4, 0]])
    assert torch.equal(modes[torch.tensor([4, 0])].tau, modes.tau[[4, 0]])
    both = modes[:2].concatenate(modes[2:])
    assert torch.equal(both.left, modes.left)
    assert both.dt == 0.2
    with pytest.raises(IndexError):
        modes[5]


def test_dataset_returns_the_modes(tmp_path):
    import xarray as xr

    modes = decompose(random(3, 5, 5), dt=0.1)
    modes.to_dataset().to_netcdf(tmp_path / "modes.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "modes.nc", engine="h5netcdf") as dataset:
        again = Modes.from_dataset(dataset.load())
    for name in ("eigvals", "right", "left", "tau", "resolved", "defective"):
        assert torch.equal(getattr(again, name), getattr(modes, name)), name
    assert again.dt == 0.1
    assert again.continuous is False
    with pytest.raises(ValueError, match="must hold a Modes, got Manifold"):
        Modes.from_dataset(xr.Dataset(attrs={"result": "Manifold"}))


def test_float32_and_numpy_are_taken_and_the_input_is_unchanged():
    J = random(2, 4, 4).float()
    before = J.clone()
    modes = decompose(J)
    assert modes.eigvals.dtype == torch.complex128
    assert torch.equal(J, before)
    torch.testing.assert_close(decompose(J.numpy()).eigvals, modes.eigvals)


@pytest.mark.parametrize(
    ("J", "options", "message"),
    [
        (torch.full((2, 3, 3), math.nan), {}, "J must be finite, got 18 of 18"),
        (torch.zeros(2, 3, 4), {}, r"J must have shape \(P, N, N\) with N >= 1, got \(2, 3, 4\)"),
        (torch.zeros(3), {}, r"got \(3,\)"),
        (torch.zeros(2, 2), {"dt": 0.0}, "dt must be > 0, got 0.0"),
        (torch.zeros(2, 2), {"dt": 0.1, "continuous": True}, "dt must be None"),
        (torch.zeros(2, 2), {"k": 3}, "k must be >= 1 and <= 2, got 3"),
        (torch.zeros(2, 2), {"axis": torch.zeros(3)}, r"axis must have shape \(2,\), got \(3,\)"),
    ],
)
def test_refused(J, options, message):
    with pytest.raises(ValueError, match=message):
        decompose(J, **options)


def test_complex_matrices_are_refused():
    with pytest.raises(TypeError, match="J must be real"):
        decompose(torch.zeros(2, 2, dtype=torch.complex64))
