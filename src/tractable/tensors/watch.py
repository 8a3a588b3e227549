"""Records of message passing: history, convergence, oscillation, and a guard against divergence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tractable.tensors.beliefs import Beliefs

__all__ = ["Watch"]

BLOWN_UP = 4.0  # times the prior's second moment
MORE_DAMPING, MOST_DAMPING = 0.2, 0.9
PERIOD_TWO = -0.5  # correlation of successive steps
N_PERIOD_TWO = 5  # sweeps in a row
STRAIGHT = 0.98  # cosine of successive steps from which on they are followed to their limit
NEAR = 1e-2  # relative change below which this is done
REST = 4  # sweeps between two such leaps
UNINFORMED = 0.02  # of the prior variance: below, nothing was found


class Watch:
    """What happened in each sweep, for all starts.

    Parameters
    ----------
    beliefs : Beliefs
        The state that is watched.
    tol : float
        Relative change at which a start has converged.
    guard : bool
        Go back and damp where self-overlaps exceed four times the prior's second moment.
    """

    def __init__(self, beliefs: Beliefs, tol: float, *, guard: bool) -> None:
        self.beliefs, self.tol, self.guard = beliefs, tol, guard
        n_starts = len(beliefs.noise)
        self.history: list[dict[str, Any]] = []
        self.n_guards = torch.zeros(n_starts, dtype=torch.int64)
        self.alternating = torch.zeros(n_starts, dtype=torch.int64)
        self.previous: Tensor | None = None
        self.leapt = 0
        self.previous_size = torch.full((n_starts,), torch.inf, dtype=torch.float64)
        self.best = torch.full((n_starts,), -torch.inf, dtype=torch.float64)
        self.best_means = [x.clone() for x in beliefs.mean]

    def observe(self, sweep: int) -> dict[str, Any]:
        """Record the state after a sweep, and return the record."""
        b = self.beliefs
        entropy = b.free_entropy()
        shares = [b.data.n_geo / n for n in b.data.shape]
        record = {
            "iteration": sweep + 1,
            "noise": b.noise.numpy().copy(),
            "scale": b.scale.numpy().copy(),
            "delta": b.delta.numpy().copy(),
            "Q": torch.stack([b.overlap(m) * share for m, share in enumerate(shares)], 1).numpy(),
            "predicted_mse": torch.stack(
                [trace(b.spread(m)) * share for m, share in enumerate(shares)], 1
            ).numpy(),
            "predicted_error": b.tensor_error().numpy(),
            "free_entropy": (entropy / b.data.n_geo).numpy(),
            "log_evidence": (entropy + self._null()).numpy(),
            "change": b.change.numpy().copy(),
        }
        self.history.append(record)
        self._steps(sweep)
        if self.guard:
            self._guard(record, entropy)
        return {**record, "factors": b.mean}

    def _null(self) -> Tensor:
        """Return the log-likelihood of the observed entries as noise alone, (S,)."""
        b, data = self.beliefs, self.beliefs.data
        squares: Tensor | float = data.square_sum
        logs: Tensor | float = 0.0
        if (
            b.relative is not None
            and data.slice_squares is not None
            and data.slice_counts is not None
        ):
            squares = (data.slice_squares / b.relative).sum(1)
            logs = (data.slice_counts * b.relative.log()).sum(1)
        return -0.5 * (
            data.n_observed * torch.log(2 * torch.pi * b.noise) + logs + squares / b.noise
        )

    def _steps(self, sweep: int) -> None:
        """Compare the step of this sweep with the last: one that points back, or straight on."""
        b = self.beliefs
        step = torch.cat([x.flatten(1) for x in b.step], 1)
        size = step.norm(dim=1)
        if self.previous is not None:
            ratio = size / self.previous_size.clamp_min(1e-300)
            cosine = (step * self.previous).sum(1) / (size * self.previous_size).clamp_min(1e-300)
            back = (cosine < PERIOD_TWO) & (b.change > self.tol)
            self.alternating = torch.where(back, self.alternating + (ratio > 0.99).long(), 0)
            slow = (cosine > STRAIGHT) & (ratio > 0.5) & (ratio < 0.995) & (b.change < NEAR)
            if bool(slow.any()) and sweep - self.leapt >= REST:
                self._leap(torch.where(slow, ratio / (1 - ratio), 0.0))
                self.leapt = sweep
        self.previous, self.previous_size = step, size

    def _leap(self, length: Tensor) -> None:
        """Go on along steps that shrink geometrically to where they lead (Aitken).

        Near a fixed point at low noise the scales of the modes against one another are fixed by
        the priors alone, and settle slowly; fixed points stay what they are.
        """
        b = self.beliefs
        b.mean = [x + length[:, None, None] * d for x, d in zip(b.mean, b.step, strict=True)]
        b.change = torch.where(length > 0, b.change.clamp_min(2 * self.tol), b.change)

    def _guard(self, record: dict[str, Any], entropy: Tensor) -> None:
        b = self.beliefs
        blown = torch.zeros(len(entropy), dtype=torch.bool)
        for mode, own in enumerate(b.priors):
            bound = BLOWN_UP * float(own[0].moments(b.rank)[1].trace())
            blown |= ~(trace(torch.from_numpy(record["Q"][:, mode])) <= bound)
        better = (entropy > self.best) & ~blown
        if bool(better.all()):
            self.best, self.best_means = entropy, list(b.mean)
        elif bool(better.any()):
            keep = better[:, None, None]
            self.best = torch.where(better, entropy, self.best)
            self.best_means = [
                torch.where(keep, x, y) for x, y in zip(b.mean, self.best_means, strict=True)
            ]
        if not bool(blown.any()):
            return
        self.n_guards += blown
        b.damping = torch.where(
            blown, (b.damping + MORE_DAMPING).clamp_max(MOST_DAMPING), b.damping
        )
        back = blown[:, None, None]
        b.mean = [torch.where(back, x, y) for x, y in zip(self.best_means, b.mean, strict=True)]
        for used in b.used:
            if used is not None:
                used[:] = [torch.where(back, x, y) for x, y in zip(b.mean, used, strict=True)]
        b.change = torch.where(blown, torch.inf, b.change)

    @property
    def finished(self) -> bool:
        """Whether all starts have converged."""
        return bool((self.beliefs.change < self.tol).all())

    def last_change(self, start: int) -> float:
        """Return the relative change of a start in the last sweep."""
        return float(self.history[-1]["change"][start])

    def status(self, start: int) -> str:
        """Return ``converged``, ``oscillating``, ``max_iter`` or ``collapsed``."""
        b = self.beliefs
        if self._collapsed(start):
            return "collapsed"
        if bool(b.change[start] < self.tol):
            return "converged"
        return "oscillating" if int(self.alternating[start]) >= N_PERIOD_TWO else "max_iter"

    def _collapsed(self, start: int) -> bool:
        """Whether no mode knows more than its prior's mean."""
        b = self.beliefs
        for mode, own in enumerate(b.priors):
            first, second = own[start].moments(b.rank)
            width = float(second.trace() - first @ first)
            share = b.data.n_geo / b.data.shape[mode]
            gained = share * float(b.overlap(mode)[start].trace()) - float(first @ first)
            if width > 0 and gained > UNINFORMED * width:
                return False
        return True


def trace(matrices: Tensor) -> Tensor:
    """Return the traces of (S, r, r), (S,)."""
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
