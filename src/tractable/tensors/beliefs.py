"""One sweep of approximate message passing: the state of several starts, and its update.

All starts stand side by side, (S, N_a, r); their columns are stacked when the tensor is read, so
that S starts cost one pass over it and not S.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tractable.tensors.observations import Observations
from tractable.tensors.priors import Gaussian, Prior
from tractable.tensors.weights import MaskWeights

__all__ = ["Beliefs", "equal_components", "hadamard"]

STRONG = 0.01  # signal lost to entries missing at random, over the noise, from which it is counted


@dataclass(eq=False)
class Beliefs:
    """Posterior means and covariances of all factor rows, for S starts.

    Parameters
    ----------
    data : Observations
        The array.
    priors : list of lists of Prior
        One for each mode and start.
    mean : list of Tensor
        (S, N_a, r) for each mode, float64.
    noise : Tensor, shape (S,)
        Noise variance of the array as it is.
    scale : Tensor, shape (S,)
        What the array is multiplied by, over model units.
    schedule : str
        ``sequential`` or ``parallel``.
    onsager : bool
        False leaves the Onsager term out; for demonstrations only.
    """

    data: Observations
    priors: list[list[Prior]]
    mean: list[Tensor]
    noise: Tensor
    scale: Tensor
    schedule: str = "sequential"
    onsager: bool = True
    excess: Tensor = field(init=False)
    """True over assumed noise variance, (S,); 1 unless the noise is assumed and wrong."""
    relative: Tensor | None = None
    """Noise variance of each slice over ``noise``, (S, N_m), for the mode ``data.noise_mode``."""
    tied: Tensor | None = None
    """Starts whose components are equal and stay so, (S,): rounding alone would part them."""
    refresh: bool = False
    """Contract the tensor once more where updates or slices are such that learning needs it."""

    def __post_init__(self) -> None:
        n_starts = len(self.noise)
        self.excess = torch.ones(n_starts, dtype=torch.float64)
        self.cov = [torch.zeros(*x.shape, x.shape[-1], dtype=torch.float64) for x in self.mean]
        self.A = [torch.zeros(n_starts, self.rank, self.rank, dtype=torch.float64)] * self.order
        self.u = [torch.zeros_like(x) for x in self.mean]
        self.used: list[list[Tensor] | None] = [None] * self.order
        self.damping = torch.zeros(n_starts, dtype=torch.float64)
        self.change = torch.full((n_starts,), torch.inf, dtype=torch.float64)
        self.step = [torch.zeros_like(x) for x in self.mean]
        self.before = self.mean
        self.contraction = torch.zeros(n_starts, dtype=torch.float64)
        self.slice_contraction = torch.zeros(n_starts, 1, dtype=torch.float64)
        self.fitted = [torch.zeros_like(x[..., 0]) for x in self.mean]  # <Y, What> of each slice
        self.ones = MaskWeights.of_ones(self.data.shape)
        self._summed: tuple[list[Any], Any] = ([], None)
        self._grams: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self._log_z: list[tuple[list[Any], Tensor] | None] = [None] * self.order

    @property
    def order(self) -> int:
        """Number of modes p."""
        return len(self.mean)

    @property
    def rank(self) -> int:
        """Number of components r."""
        return int(self.mean[0].shape[-1])

    @property
    def delta(self) -> Tensor:
        """Noise variance in model units, (S,)."""
        return self.noise / self.scale**2

    def sweep(self) -> None:
        """Update every mode once: two passes over the tensor."""
        engine, new = self.data.engine, list(self.mean)
        sequential = self.schedule == "sequential"
        self.before = self.mean
        for mode in range(self.order):
            if mode in (0, engine.n_left):
                partial = engine.partial(int(mode > 0), self._columns())
            projected = engine.finish(partial, mode, self._columns())
            new[mode] = self._update(mode, self._starts(projected, mode))
            if sequential:
                self.mean = list(self.mean)
                self.mean[mode] = new[mode]
        self.mean = new
        unequal = self.relative is not None and self.data.weights is not None
        if self.refresh and (unequal or not sequential):
            self._contract_anew()

    def look_at_rows(self) -> bool:
        """Count what each row has seen, from here on, once the signal is too strong for less.

        With entries missing at random, that a row sees a fixed share of all others leaves out a
        part of the signal's variance, (1 - f) times its power. Return whether this was new.
        """
        data = self.data
        if data.count is None:
            return False
        strength = self.signal_power()[0] / (data.n_observed * self.delta)
        if float(strength.max()) * (1 - data.fraction) < STRONG:
            return False
        self.data = replace(data, weights=data.count(), count=None)
        self.excess = torch.ones_like(self.excess)
        self.change = torch.full_like(self.change, torch.inf)
        return True

    def _contract_anew(self) -> None:
        """Contract the tensor with the means of now, which no pass of the sweep knew.

        Not those of parallel updates, nor all others when slices had theirs. Scale and noise are
        learned by comparing <Y, What> with the power of What. Were one of the old means and the
        other of the new, a scale that is wrong by a factor would drift further.
        """
        engine, columns = self.data.engine, self._columns()
        mode = self.order - 1 if self.relative is None else self.data.noise_mode
        assert mode is not None
        partial = engine.partial(int(mode >= engine.n_left), columns)
        projected = self._starts(engine.finish(partial, mode, columns), mode)
        by_row = (self.mean[mode] * projected).sum(-1)
        by_row = by_row * self.data.n_geo ** (-(self.order - 1) / 2) / self.scale[:, None]
        self.contraction = by_row.sum(1)
        if self.relative is not None:
            self.slice_contraction = by_row * self.relative

    def measure_change(self) -> None:
        """Set the steps of all means since the last sweep, and their largest relative size."""
        self.step = [x - y for x, y in zip(self.mean, self.before, strict=True)]
        size = torch.stack([x.flatten(1).norm(dim=1) for x in self.step])
        norm = torch.stack([x.flatten(1).norm(dim=1) for x in self.before])
        self.change = (size / norm.clamp_min(1e-300)).amax(0)

    def _columns(self) -> list[Tensor]:
        """Return the factors with all starts side by side, (N_a, S r), divided by slice noise."""
        return [
            x.transpose(0, 1).reshape(x.shape[1], -1)
            for x in map(self._weighted, range(self.order))
        ]

    def _weighted(self, mode: int) -> Tensor:
        x = self.mean[mode]
        noisy = self.relative is not None and mode == self.data.noise_mode
        return x / self.relative[:, :, None] if noisy else x  # type: ignore[index]  # it is given

    def _starts(self, projected: Tensor, mode: int) -> Tensor:
        """Return the MTTKRP (N_a, S r) as (S, N_a, r), divided by slice noise."""
        found = projected.reshape(len(projected), len(self.noise), -1).transpose(0, 1)
        if self.relative is not None and mode == self.data.noise_mode:
            return found / self.relative[:, :, None]
        return found

    def _update(self, mode: int, projected: Tensor) -> Tensor:
        """Return the new means of a mode (T2)-(T5), and keep its covariances."""
        old, n = self.mean[mode], self.data.n_geo
        root = n ** (-(self.order - 1) / 2)
        B = (self.scale / self.noise * root)[:, None, None] * projected
        A, reaction = self._row_wise(mode) if self.data.row_wise else self._alike(mode)
        u = B - reaction if self.onsager else B
        mean, cov = self._posterior(mode, A, u)
        if self.tied is not None:
            same = mean.mean(-1, keepdim=True).expand_as(mean)
            mean = torch.where(self.tied[:, None, None], same, mean)
        self.A[mode], self.u[mode] = A, u
        if bool(self.damping.any()) and self.used[mode] is not None:
            d = self.damping[:, None, None]
            mean, cov = (
                d * old + (1 - d) * mean,
                d[..., None] * self.cov[mode] + (1 - d[..., None]) * cov,
            )
        self.used[mode] = list(self.mean)
        self.cov[mode] = cov
        self.fitted[mode] = root * (mean * projected).sum(-1) * self.scale[:, None]
        if mode == self.data.noise_mode and self.relative is not None:
            by_row = (mean * projected).sum(-1) * self.relative
            self.slice_contraction = root * by_row / self.scale[:, None]
        if mode == self.order - 1:
            # <Y, What> in model units, with the newest factors of all modes.
            with_new = mean if self.schedule == "sequential" else old
            self.contraction = root * (with_new * projected).sum((1, 2)) / self.scale
        return mean

    def _posterior(self, mode: int, A: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of each row under the prior (T5)."""
        priors = self.priors[mode]
        if all(prior is priors[0] for prior in priors):
            together = getattr(priors[0], "log_z_mean_cov", None)
            if together is None:
                return priors[0].mean_cov(A, u)
            log_z, mean, cov = together(A, u)
            self._log_z[mode] = ([priors[0], A, u], log_z)
            return mean, cov
        parts = [prior.mean_cov(A[s], u[s]) for s, prior in enumerate(priors)]
        return torch.stack([m for m, _ in parts]), torch.stack([c for _, c in parts])

    # --- what the others say of a mode -------------------------------------------------------

    def _alike(self, mode: int) -> tuple[Tensor, Tensor | float]:
        """Return A (T2), (S, r, r), and the Onsager term (T4), (S, N_a, r), of rows all alike."""
        excess, n = self.excess[:, None, None], self.data.n_geo
        known = (self.data.fraction / self.delta)[:, None, None]
        A = hadamard([self.overlap(b) for b in self.others(mode)])
        if bool((self.excess != 1).any()):
            A = excess * A - (excess - 1) * hadamard([self.second(b) for b in self.others(mode)])
        A, strength = A * known, excess * known
        total: Tensor | float = 0.0
        for b in self.others(mode):
            used = self.used[b]
            if used is None:
                continue
            parts = [self.spread(b)]
            parts += [self.mean[g].mT @ used[g] / n for g in self.others(mode) if g != b]
            total = total + used[mode] @ (strength * hadamard(parts)).mT
        return positive(A), total

    def _row_wise(self, mode: int) -> tuple[Tensor, Tensor | float]:
        """Return A (T2), (S, N_a, r, r), and the Onsager term (T4), from what each row has seen.

        Both in one contraction of the weights, which may be as large as the tensor.
        """
        wanted, before = [[outer_columns(x, x) for x in self.mean]], []
        for b in self.others(mode):
            used = self.used[b]
            if used is not None and self.onsager:
                columns = [outer_columns(x, y) for x, y in zip(self.mean, used, strict=True)]
                columns[b] = self.cov[b].flatten(2)
                wanted.append(columns)
                before.append(used[mode])
        A, *parts = self._contract(mode, *wanted)
        total: Tensor | float = 0.0
        for C, x in zip(parts, before, strict=True):
            total = total + (C @ x[..., None])[..., 0] / self.delta[:, None, None]
        return positive(A / self.delta[:, None, None, None]), total

    def _contract(self, mode: int, *wanted: Sequence[Tensor]) -> list[Tensor]:
        """Return the contraction of the weights with each list of columns, (S, N_a, r, r) each.

        A list has columns (S, N_b, r^2) for every mode. The weights are read once.
        """
        weights, by_noise = self.data.weights or self.ones, self.data.noise_mode
        share = 1.0 if self.data.weights is not None else self.data.fraction
        flat = []
        for b in range(self.order):
            x = torch.cat([columns[b] for columns in wanted], -1)
            if self.relative is not None and b == by_noise:
                x = x / self.relative[:, :, None]
            flat.append(x.transpose(0, 1).reshape(x.shape[1], -1))
        found = weights.contract(mode, flat) * (share * self.data.n_geo ** -(self.order - 1))
        r, n_starts = self.rank, len(self.noise)
        shaped = found.reshape(len(found), n_starts, len(wanted), r, r).transpose(0, 1)
        if self.relative is not None and mode == by_noise:
            shaped = shaped / self.relative[:, :, None, None, None]
        return list(shaped.unbind(2))

    def others(self, mode: int) -> list[int]:
        """Return all modes but one."""
        return [b for b in range(self.order) if b != mode]

    def overlap(self, mode: int) -> Tensor:
        """Return xhat^T xhat / N, (S, r, r)."""
        x = self.mean[mode]
        return self._gram("mean", mode, x, lambda: x.mT @ x / self.data.n_geo)

    def spread(self, mode: int) -> Tensor:
        """Return the sum of the covariances of the rows / N, (S, r, r)."""
        cov = self.cov[mode]
        return self._gram("cov", mode, cov, lambda: cov.sum(1) / self.data.n_geo)

    def second(self, mode: int) -> Tensor:
        """Return sum of E[x x^T] / N over the rows, (S, r, r)."""
        return self.overlap(mode) + self.spread(mode)

    def _gram(self, kind: str, mode: int, of: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """Return what was computed of this very tensor before: each is asked for often."""
        found = self._grams.get((kind, mode))
        if found is None or found[0] is not of:
            found = self._grams[kind, mode] = of, compute()
        return found[1]

    # --- sums over all entries ---------------------------------------------------------------

    def signal_power(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return sums over the weighted observed entries, (S,) each.

        Of the squared mean signal, of its posterior second moment, and of the first-order variance
        (one factor's covariance at a time), in model units.
        """
        p, n = self.order, self.data.n_geo
        if not self.data.row_wise:
            G = [self.overlap(b) for b in range(p)]
            V = [self.spread(b) for b in range(p)]
            known = hadamard(G).sum((1, 2))
            whole = hadamard([g + v for g, v in zip(G, V, strict=True)]).sum((1, 2))
            parts = [hadamard([*G[:b], V[b], *G[b + 1 :]]).sum((1, 2)) for b in range(p)]
            first = torch.stack(parts).sum(0)
            strength = n * self.data.fraction
            return strength * known, strength * whole, strength * first
        state = [*self.mean, *self.cov, self.relative, self.data]
        if not same_objects(state, self._summed[0]):  # asked for again and again in a sweep
            self._summed = (state, self._row_wise_power())
        return self._summed[1]

    def tensor_error(self) -> Tensor:
        """Return the predicted relative squared error of the signal, of all entries alike, (S,)."""
        known = hadamard([self.overlap(b) for b in range(self.order)]).sum((1, 2))
        whole = hadamard([self.second(b) for b in range(self.order)]).sum((1, 2))
        return 1 - known / whole.clamp_min(1e-300)

    def _row_wise_power(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return `signal_power` where rows differ, in one contraction of the weights."""
        p = self.order
        mean = [outer_columns(x, x) for x in self.mean]
        cov = [c.flatten(2) for c in self.cov]
        second = [m + c for m, c in zip(mean, cov, strict=True)]
        varied = [[*mean[:b], cov[b], *mean[b + 1 :]] for b in range(p - 1)]
        seen, both, *parts = (
            part.flatten(2) for part in self._contract(p - 1, mean, second, *varied)
        )
        known = (seen * mean[-1]).sum((1, 2))
        whole = (both * second[-1]).sum((1, 2))
        first = (seen * cov[-1]).sum((1, 2))
        for part in parts:
            first = first + (part * mean[-1]).sum((1, 2))
        return known, whole, first

    def free_entropy(self) -> Tensor:
        """Return the Bethe free entropy over noise alone (T7), in nats, (S,)."""
        known, whole, first = self.signal_power()
        total = torch.zeros_like(self.noise)
        for mode in range(self.order):
            total = total + self._row_entropy(mode)
        extra = 0.5 * (self.excess - 1) * whole - 0.5 * self.excess * (known + first)
        return total + (self.contraction + extra) / self.delta

    def _row_entropy(self, mode: int) -> Tensor:
        A, u, x = self.A[mode], self.u[mode], self.mean[mode]
        priors, kept = self.priors[mode], self._log_z[mode]
        if kept is not None and same_objects(kept[0], [priors[0], A, u]):
            log_z = kept[1]
        elif all(prior is priors[0] for prior in priors):
            log_z = priors[0].log_z(A, u)
        else:
            log_z = torch.stack([prior.log_z(A[s], u[s]) for s, prior in enumerate(priors)])
        linear = log_z.sum(1) - (u * x).sum((1, 2))
        if A.ndim == 3:
            return linear + 0.5 * self.data.n_geo * (A * self.second(mode)).sum((-1, -2))
        second = self.cov[mode] + x[..., :, None] * x[..., None, :]
        return linear + 0.5 * (A * second).sum((1, 2, 3))


def equal_components(means: Sequence[Tensor], priors: Sequence[Sequence[Prior]]) -> Tensor | None:
    """Return which starts have equal components under priors that do not tell them apart, (S,).

    Their equality is invariant in exact arithmetic, (T2) to (T5), and unstable: rounding grows by
    a factor a sweep. None: no start, as always at rank 1.
    """
    rank = means[0].shape[-1]
    if rank == 1:
        return None
    equal = torch.ones(len(means[0]), dtype=torch.bool)
    for x, own in zip(means, priors, strict=True):
        equal &= (x == x[..., :1]).flatten(1).all(1)
        equal &= torch.tensor([exchangeable(prior, rank) for prior in own])
    return equal if bool(equal.any()) else None


def exchangeable(prior: Prior, rank: int) -> bool:
    """Return whether the components of a prior are independent, or Gaussian and alike."""
    first, second = prior.moments(rank)
    alike = bool((first == first[0]).all() and (second.diagonal() == second[0, 0]).all())
    off = second[~torch.eye(rank, dtype=torch.bool)]
    return alike and bool((off == off[0]).all()) and (prior.rank is None or type(prior) is Gaussian)


def same_objects(state: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether two lists hold the very same objects."""
    return len(state) == len(other) and all(x is y for x, y in zip(state, other, strict=True))


def hadamard(matrices: Sequence[Tensor]) -> Tensor:
    """Return the elementwise product."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = product * matrix
    return product


def outer_columns(x: Tensor, y: Tensor) -> Tensor:
    """Return x_rho y_rho' of each row, (S, N, r^2)."""
    return (x[..., :, None] * y[..., None, :]).flatten(2)


def positive(A: Tensor) -> Tensor:
    """Return A symmetric with eigenvalues clipped at 0: rounding must not make it indefinite."""
    A = (A + A.mT) / 2
    if A.shape[-1] == 1:
        return A.clamp_min(0)
    size = A.diagonal(dim1=-2, dim2=-1).abs().mean(-1)[..., None, None]
    shifted = A + 1e-12 * size * torch.eye(A.shape[-1], dtype=A.dtype)
    if bool((torch.linalg.cholesky_ex(shifted)[1] == 0).all()):
        return A
    values, vectors = torch.linalg.eigh(A)
    return (vectors * values.clamp_min(0)[..., None, :]) @ vectors.mT
