"""Students: deep linear networks that learn by gradient descent, many at once, beside the theory.

The loop is the theory's own object: full-batch gradient descent on the sufficient statistics
Y^T X and X^T X, in float64, with one batch axis over tasks and seeds. Examples enter once.

Source: Lampinen, Ganguli 2019, arXiv:1809.10374.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractable.core.checks import check_choice, check_finite, check_range
from tractable.core.progress import track
from tractable.linear.arrays import as_float64
from tractable.linear.inputs import check_count, check_size
from tractable.linear.records import brief, from_dataset, to_dataset
from tractable.linear.strengths import check_depth

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from torch import Tensor

    from tractable.linear.arrays import Numbers

__all__ = ["HeldOut", "StudentCurves", "train_students"]

Floats = NDArray[np.float64]
Start = Literal["aligned", "orthogonal", "gaussian"]


class HeldOut(NamedTuple):
    """Sufficient statistics of examples that are not trained on."""

    cov_yx: Numbers
    """Y^T X, (B, N3, N1) or (N3, N1)."""
    cov_x: Numbers
    """X^T X, (B, N1, N1) or (N1, N1)."""
    energy: Numbers
    """Sum of the squared targets, (B,) or one number."""


@dataclass(frozen=True, eq=False)
class StudentCurves:
    """Errors of trained students in time; see `train_students`."""

    t: Floats
    """Times, (T,): steps times the learning rate."""
    train: Floats
    """Training error over that of the zero map, (B, T)."""
    test: Floats
    """Squared distance from the teacher over its squared norm, or loss on held-out examples over
    that of the zero map, (B, T)."""
    best_t: Floats
    """Time of the smallest recorded test error of each student, (B,)."""
    best_test: Floats
    """That error, (B,)."""

    __repr__ = brief

    def to_dataset(self) -> xr.Dataset:
        """Return a dataset with the dimensions student and t."""
        dims: dict[str, tuple[str, ...]] = {
            "t": ("t",),
            "train": ("student", "t"),
            "test": ("student", "t"),
            "best_t": ("student",),
            "best_test": ("student",),
        }
        return to_dataset(self, dims)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> StudentCurves:
        """Return the result that `to_dataset` wrote."""
        return from_dataset(cls, dataset)


def train_students(
    cov_yx: Numbers,
    teacher: Numbers | None,
    *,
    learning_rate: float,
    steps: int,
    cov_x: Numbers | None = None,
    energy: Numbers | None = None,
    held_out: HeldOut | None = None,
    n_hidden: int | None = None,
    depth: int = 2,
    start: Start = "aligned",
    init_strength: float = 1e-5,
    n_records: int = 200,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> StudentCurves:
    r"""Train deep linear networks by full-batch gradient descent, all at once.

    .. math:: W_l \leftarrow W_l + \eta \, W_{l+1:L}^T
              (\Sigma_{yx} - W_{1:L} \Sigma_x) \, W_{1:l-1}^T

    Parameters
    ----------
    cov_yx : array, shape (B, N3, N1) or (N3, N1)
        Input-output correlation Y^T X of each of B students, summed over examples.
    teacher : array, shape of cov_yx, or None
        The map that the test error is measured from; None with `held_out`.
    learning_rate : float, > 0
        eta; t = steps * eta.
    steps : int, >= 1
        Steps of gradient descent.
    cov_x : array, shape (B, N1, N1) or (N1, N1), optional
        Input correlation X^T X; white inputs when missing.
    energy : array, shape (B,), optional
        Sum of the squared targets; that of cov_yx, right for white inputs, when missing.
    held_out : HeldOut, optional
        Other examples: the test error is then the loss on them over that of the zero map.
    n_hidden : int, optional
        Width of all hidden layers; min(N1, N3) when missing.
    depth : int, >= 1
        Number of weight matrices.
    start : str
        ``"aligned"``: along the singular vectors of cov_yx, as the theory assumes;
        ``"orthogonal"``: random, balanced; ``"gaussian"``: random, independent weights.
    init_strength : float, > 0
        Strength of each mode of the product at the start.
    n_records : int, >= 2
        Times at which errors are recorded, equally spaced, with both ends.
    seed : int
        Decides the random starts.
    device : str
        Where to train.
    progress : bool
        Show progress on a terminal.

    Returns
    -------
    StudentCurves

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN, or a learning rate so large that training diverged.

    References
    ----------
    Lampinen, Ganguli 2019, arXiv:1809.10374.

    Examples
    --------
    >>> from tractable.linear import noisy_task
    >>> task = noisy_task([4.0], n_in=20, n_out=10, noise=0.0)
    >>> curves = train_students(task.cov_yx, task.teacher, learning_rate=0.01, steps=400)
    >>> float(curves.test[0, -1].round(3))
    0.0
    """
    import torch

    check_choice("start", start, ("aligned", "orthogonal", "gaussian"))
    check_depth(depth)
    check_size("learning_rate", learning_rate)
    check_count("steps", steps)
    check_size("init_strength", init_strength)
    check_range("n_records", n_records, 2)
    S = _batch("cov_yx", cov_yx, device)
    test_error = _test_error(S, teacher, held_out)
    if n_hidden is not None:
        check_count("n_hidden", n_hidden)
    width = min(S.shape[1:]) if n_hidden is None else n_hidden
    C = None if cov_x is None else _batch("cov_x", cov_x, device)
    if C is not None and C.shape[1:] != (S.shape[2], S.shape[2]):
        raise ValueError(f"cov_x must have shape (n_in, n_in), got {tuple(C.shape[1:])}")
    if C is not None:
        C = C.expand(len(S), -1, -1)
    given = None if energy is None else as_float64("energy", energy, low=0.0)
    squares = (S**2).sum((1, 2)) if given is None else torch.as_tensor(given).to(S)
    if not bool((squares > 0).all()):
        raise ValueError(
            f"{'cov_yx' if given is None else 'energy'} must not be zero: the targets are, and "
            f"errors are over their energy"
        )
    layers = _start(S, depth, width, start, init_strength, seed)
    records = np.unique(np.linspace(0, steps, n_records).round().astype(int))
    train, test = [], []
    wanted = set(records.tolist())
    for step in track(range(steps + 1), "gradient descent", show=progress):
        forward = _products(layers)
        W = forward[-1]
        error = S - (W if C is None else torch.bmm(W, C))
        if step in wanted:
            # |Y|^2 - 2 tr(W S^T) + tr(W C W^T) = |Y|^2 - tr(W (S + error)^T)
            train.append(1 - (W * (S + error)).sum((1, 2)) / squares)
            test.append(test_error(W))
            if not torch.isfinite(train[-1]).all():
                raise ValueError(
                    f"learning_rate is too large, got {learning_rate}: training diverged at step "
                    f"{step}; keep it below {_stable_rate(S, C, depth):.2g}"
                )
        _descend(layers, forward, error, learning_rate)
    tested = torch.stack(test, 1).cpu().numpy()
    t = learning_rate * records
    best = tested.argmin(1)
    return StudentCurves(
        t=t,
        train=torch.stack(train, 1).cpu().numpy(),
        test=tested,
        best_t=t[best],
        best_test=tested[np.arange(len(best)), best],
    )


# --- parts ---------------------------------------------------------------------------------------


def _products(layers: Sequence[Tensor]) -> list[Tensor]:
    """Return W1, W2 W1, ..., the whole map."""
    import torch

    forward = [layers[0]]
    for layer in layers[1:]:
        forward.append(torch.bmm(layer, forward[-1]))
    return forward


def _descend(layers: list[Tensor], forward: list[Tensor], error: Tensor, rate: float) -> None:
    """Take one step in place; `error` is Sigma_yx - W Sigma_x."""
    import torch

    back = error
    for i in range(len(layers) - 1, 0, -1):
        below = torch.bmm(layers[i].transpose(1, 2), back)
        layers[i].baddbmm_(back, forward[i - 1].transpose(1, 2), alpha=rate)
        back = below
    layers[0].add_(back, alpha=rate)


def _stable_rate(S: torch.Tensor, C: torch.Tensor | None, depth: int) -> float:
    """Return 2 / (L lam s^(2 - 2/L)), the edge of stability (L12), for the steepest direction."""
    import torch

    end = S if C is None else S @ torch.linalg.pinv(C)
    lam = 1.0 if C is None else float(torch.linalg.matrix_norm(C, 2).max())
    s = float(torch.linalg.matrix_norm(end, 2).max())
    return 2 / (depth * lam * s ** (2 - 2 / depth))


def _test_error(
    S: Tensor, teacher: Numbers | None, held_out: HeldOut | None
) -> Callable[[Tensor], Tensor]:
    """Return the function of the maps (B, N3, N1) that gives their test errors (B,)."""
    if (teacher is None) == (held_out is None):
        raise ValueError("teacher or held_out must be given, and not both")
    if teacher is not None:
        W_bar = _batch("teacher", teacher, S.device).expand(len(S), -1, -1)
        if S.shape != W_bar.shape:
            raise ValueError(
                f"teacher must have the shape of cov_yx, {tuple(S.shape)}, got {tuple(W_bar.shape)}"
            )
        power = (W_bar**2).sum((1, 2)).clamp(min=1e-300)
        return lambda W: ((W - W_bar) ** 2).sum((1, 2)) / power
    assert held_out is not None
    cross = _batch("held_out.cov_yx", held_out.cov_yx, S.device)
    cov = _batch("held_out.cov_x", held_out.cov_x, S.device)
    energy = S.new_tensor(as_float64("held_out.energy", held_out.energy, low=0.0))
    return lambda W: 1 + (W * (W @ cov - 2 * cross)).sum((1, 2)) / energy


def _batch(name: str, value: Numbers, device: str | torch.device) -> Tensor:
    import torch

    array = as_float64(name, value)
    if array.ndim not in (2, 3):
        raise ValueError(f"{name} must have 2 or 3 dimensions, got shape {array.shape}")
    check_finite(name, array)
    array = array if array.ndim == 3 else array[None]
    return torch.as_tensor(array, device=device)


def _start(
    S: Tensor, depth: int, width: int, start: Start, init_strength: float, seed: int
) -> list[Tensor]:
    """Return the initial weights, [(B, N2, N1), (B, N2, N2), ..., (B, N3, N2)]."""
    import torch

    from tractable.core.seeds import generator

    random = generator(seed)
    B, n_out, n_in = S.shape
    sizes = [n_in, *[width] * (depth - 1), n_out]
    scale = init_strength ** (1 / depth)

    def gaussian(rows: int, columns: int) -> Tensor:
        return torch.randn(B, rows, columns, generator=random, dtype=torch.float64).to(S.device)

    def orthonormal(rows: int, columns: int) -> Tensor:
        Q = torch.linalg.qr(gaussian(max(rows, columns), min(rows, columns)))[0]
        return Q if rows >= columns else Q.transpose(1, 2)

    if start == "gaussian":
        layers = [gaussian(b, a) / np.sqrt(a) for a, b in itertools.pairwise(sizes)]
    elif start == "orthogonal":
        layers = [orthonormal(b, a) for a, b in itertools.pairwise(sizes)]
    else:
        U, _, Vt = torch.linalg.svd(S, full_matrices=False)
        rank = min(n_in, n_out, *sizes[1:-1])
        bases = [Vt[:, :rank].transpose(1, 2)]
        bases += [orthonormal(size, rank) for size in sizes[1:-1]]
        bases += [U[:, :, :rank]]
        layers = [torch.bmm(out, into.transpose(1, 2)) for into, out in itertools.pairwise(bases)]
    return [(scale * layer).contiguous() for layer in layers]
