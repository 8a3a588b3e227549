"""What inputs do to the slow modes: each word's push, and what it is worth at the readout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import check_finite, check_range, check_shape
from tractable.dynamics.readout import linear_readout
from tractable.dynamics.results import from_dataset, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from tractable.dynamics.modes import Modes
    from tractable.dynamics.points.point_set import PointSet

__all__ = ["InputEffects", "input_effects"]

CHUNK_BYTES = 2**28  # of Jacobians held at once


@dataclass(frozen=True, eq=False, repr=False)
class InputEffects:
    """Effect of V inputs at P points on the k slowest modes.

    Attributes
    ----------
    projection : Tensor, shape (P, V, k)
        Change of each slow coordinate in one step, ``l_a J_in (x - x*)``: a word's valence. In
        the real basis of `Modes.real_right`: for a conjugate pair, along Re r and Im r. Its sign
        is that of r_a: give `decompose` an axis to compare points.
    logit_weight : Tensor, shape (P, V), or None
        Change of the readout through the k modes, ``w . sum_a r_a l_a J_in (x - x*)``, with
        partners of pairs; None without a readout. After n more steps a real mode keeps
        ``lambda_a^n`` of it.
    inputs : Tensor, shape (V, D)
        The inputs.
    x_star : Tensor, shape (P, D)
        Constant input of each point.
    input_jacobian : Tensor, shape (P, N, D)
        J_in at each point.
    left : Tensor, shape (P, k, N)
        The rows ``l_a``, real.
    """

    projection: Tensor
    logit_weight: Tensor | None
    inputs: Tensor
    x_star: Tensor
    input_jacobian: Tensor
    left: Tensor

    def __len__(self) -> int:
        return len(self.projection)

    def __repr__(self) -> str:
        n_points, n_inputs, k = self.projection.shape
        return f"InputEffects({n_points} points, {n_inputs} inputs, {k} modes)"

    @property
    def instant(self) -> Tensor:
        """Change of the whole state in one step, ``J_in (x - x*)``, (P, V, N); made when read."""
        pushed = self.inputs @ self.input_jacobian.mT
        return pushed - (self.input_jacobian @ self.x_star[..., None]).mT

    def instant_at(self, point: int) -> Tensor:
        """Return `instant` at one point, shape (V, N): all points may need P V N numbers."""
        return (self.inputs - self.x_star[point]) @ self.input_jacobian[point].T

    def correlation(self, valence: Tensor | np.ndarray | Sequence[float]) -> Tensor:
        """Return the correlation of each point's first projection with a valence, shape (P,).

        NaN where either is constant.

        Parameters
        ----------
        valence : array, shape (V,)
            For instance the true score of each word, or its bag-of-words coefficient.
        """
        other = self._of_inputs("valence", valence)
        other = other - other.mean()
        first = self.projection[..., 0]
        spread = first - first.mean(1, keepdim=True)
        size = spread.norm(dim=1) * other.norm()
        varies = spread.norm(dim=1) > 1e-12 * first.norm(dim=1)
        return torch.where(varies & (size > 0), spread @ other / size.clamp(min=1e-300), math.nan)

    def match(self, valence: Tensor | np.ndarray | Sequence[float]) -> Tensor:
        r"""Return the cosine of l_1 with the mean effective difference of the inputs, shape (P,).

        The difference: mean of ``J_in x`` over inputs of positive valence minus that over negative.

        Parameters
        ----------
        valence : array, shape (V,)
            Only its sign counts; both signs must occur.
        """
        sign = self._of_inputs("valence", valence).sign()
        if not (sign > 0).any() or not (sign < 0).any():
            raise ValueError("valence must have positive and negative entries, got one sign only")
        contrast = self.inputs[sign > 0].mean(0) - self.inputs[sign < 0].mean(0)
        push = self.input_jacobian @ contrast
        first = self.left[:, 0]
        size = first.norm(dim=1) * push.norm(dim=1)
        return torch.where(size > 0, (first * push).sum(1) / size.clamp(min=1e-300), math.nan)

    def ranking(self, labels: Sequence[str], n: int = 10) -> list[tuple[str, float]]:
        """Return the n strongest inputs of each sign, most positive first.

        Parameters
        ----------
        labels : sequence of V strings
            Names of the inputs.
        n : int, >= 1
            Of each sign.

        Returns
        -------
        list of (label, effect)
            The median over points of ``logit_weight``, without a readout of the first projection.
        """
        check_range("n", n, 1)
        if len(labels) != self.projection.shape[1]:
            raise ValueError(
                f"labels must name {self.projection.shape[1]} inputs, got {len(labels)}"
            )
        if not len(self):
            return []
        weight = self.projection[..., 0] if self.logit_weight is None else self.logit_weight
        effect = weight.median(0).values
        order = effect.argsort(descending=True, stable=True).tolist()
        top = [i for i in order if effect[i] > 0][:n]
        bottom = [i for i in order if effect[i] < 0][-n:]
        return [(labels[i], float(effect[i])) for i in top + bottom]

    def to_dataset(self) -> xr.Dataset:
        """Return an `xarray.Dataset`: dims ``point``, ``input``, ``mode``, ``unit``, ``entry``."""
        return to_dataset(self, _DIMS)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> InputEffects:
        """Return the effects that `to_dataset` wrote."""
        return from_dataset(cls, dataset)

    def _of_inputs(self, name: str, value: Tensor | np.ndarray | Sequence[float]) -> Tensor:
        tensor = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
        check_shape(name, tensor.shape, (len(self.inputs),))
        check_finite(name, tensor)
        return tensor


_DIMS = {
    "projection": ("point", "input", "mode"),
    "logit_weight": ("point", "input"),
    "inputs": ("input", "entry"),
    "x_star": ("point", "entry"),
    "input_jacobian": ("point", "unit", "entry"),
    "left": ("point", "mode", "unit"),
}


@torch.no_grad()
def input_effects(
    points: PointSet,
    modes: Modes,
    inputs: Tensor | np.ndarray,
    k: int = 1,
    *,
    readout: Any = None,
) -> InputEffects:
    r"""Return what each input does to the slow modes at each point.

    .. math:: p_a(x) = l_a^T J_{in} (x - x^*), \qquad
              \Delta y(x) = w^T \sum_{a \le k} r_a p_a(x)

    Parameters
    ----------
    points : PointSet
        P points with their cell.
    modes : Modes
        At these points.
    inputs : array, shape (V, D)
        For instance the embedding of each word.
    k : int, >= 1
        Number of slow modes.
    readout : nn.Linear, array or (weight, bias), optional
        For ``logit_weight``; see `linear_readout`.

    Returns
    -------
    InputEffects
        In float64 on the CPU; empty for P = 0.

    Raises
    ------
    ValueError
        Widths that do not fit, NaN in the inputs, more modes than were computed.

    Notes
    -----
    Left vectors are normalized by ``l_a r_a = 1`` with ``||r_a|| = 1``: a projection is a length in
    state space along r_a, comparable between points. Cost: P (N D k + V D k).

    References
    ----------
    MWGGS: Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720, figure 4.

    Examples
    --------
    An integrator of the first input beside a leaky unit:

    >>> from tractable.dynamics.cells import as_cell
    >>> from tractable.dynamics.points import PointSet
    >>> A, B = torch.tensor([[1.0, 0.0], [0.0, 0.5]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    >>> cell = as_cell(lambda h, x: A @ h + B @ x, n_state=2, n_input=2)
    >>> points = PointSet.from_states(cell, torch.zeros(1, 2))
    >>> effects = input_effects(points, points.modes(), torch.eye(2), readout=[3.0, 0.0])
    >>> effects.projection[0, :, 0].tolist(), effects.logit_weight[0].tolist()
    ([2.0, 0.0], [6.0, 0.0])
    """
    cell = points.cell
    if cell is None:
        raise ValueError("points must have their cell, got points.cell = None: use with_cell")
    n_points, n = points.state.shape
    if len(modes) != n_points:
        raise ValueError(f"modes must be those of {n_points} points, got {len(modes)}")
    check_range("k", k, 1, modes.eigvals.shape[1])
    values = torch.as_tensor(inputs, dtype=torch.float64).detach().cpu()
    check_shape("inputs", values.shape, ("V", cell.n_input))
    check_finite("inputs", values)

    x_star = points.x_star.detach().to("cpu", torch.float64)
    input_jacobian = torch.empty(n_points, n, cell.n_input, dtype=torch.float64)
    size = max(1, CHUNK_BYTES // (8 * n * (n + cell.n_input)))
    for start in range(0, n_points, size):
        part = slice(start, start + size)
        input_jacobian[part] = cell.jacobians(points.state[part], points.x_star[part])[1].cpu()

    left = modes.real_left[:, :k].clone()
    direction = left @ input_jacobian  # (P, k, D)
    offset = (direction @ x_star[..., None])[..., 0]
    projection = (direction @ values.T).mT - offset[:, None]
    logit_weight = None
    if readout is not None:
        weight, _ = linear_readout(readout, cell)
        row = torch.einsum("n,pnk->pk", weight.to(torch.complex128), modes.right)
        row = row * modes.weights(k)
        through = torch.einsum("pk,pkn->pn", row, modes.left).real
        direction = (through[:, None] @ input_jacobian)[:, 0]
        logit_weight = direction @ values.T - (direction * x_star).sum(1, keepdim=True)
    return InputEffects(projection, logit_weight, values, x_star, input_jacobian, left)
