"""One answer from the logits of many steps.

Hard choices (`max_conf`, `threshold`) send no gradient to the choice: what is learned is what the
chosen step says. ``soft`` replaces the choice by weights that have one, with ``straight`` in the
gradient only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count, check_finite, check_range

__all__ = ["DECODERS", "Decoder", "decode"]

DECODERS = (
    *("last", "softmax_last", "linear_last", "max_conf", "threshold"),
    *("time_max", "w_avg", "w_avg_t", "w_time_avg", "mlp", "conv1d"),
)
TRAINED = ("w_avg_t", "mlp", "conv1d")


class Decoder(nn.Module):
    """A way to read out a movie.

    Parameters
    ----------
    name : str
        ``last``: the last step; ``softmax_last``, ``linear_last``: its probabilities, or its logits
        shifted and scaled to sum 1; ``max_conf``: the step whose largest probability is largest;
        ``threshold``: the first step at which it reaches theta, else that of ``max_conf``;
        ``time_max``: each class's maximum over time; ``w_avg``: each class's mean with weights
        softmax(beta logits) over time; ``w_avg_t``: a mean with trained weights of the steps;
        ``w_time_avg``: with weights softmax of the largest probabilities; ``mlp``: 250 ELU units
        on all logits; ``conv1d``: 4 filters of each width 2 .. 6 over time, their maxima.
    theta : float
        Of ``threshold``, in (0, 1].
    beta : float
        Of ``w_avg``.
    soft : float, optional
        Of ``max_conf`` and ``threshold``: width of a soft choice, in units of probability; then
        theta is trained.
    straight : bool
        With ``soft``: the numbers are those of the hard choice, the gradient that of the soft one.
    n_steps, n_classes : int, optional
        Of the trained ones: number of valid steps, and of classes.
    """

    def __init__(
        self,
        name: str = "last",
        *,
        theta: float = 0.9,
        beta: float = 1.0,
        soft: float | None = None,
        straight: bool = False,
        n_steps: int | None = None,
        n_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("decoder name", name, DECODERS)
        check_range("theta", theta, 0, 1, open_low=True)
        check_finite("beta", beta)
        if soft is not None:
            check_range("soft", soft, 0, open_low=True)
        if straight and soft is None:
            raise ValueError("straight needs the width of a soft choice: give soft")
        self.name, self.beta, self.soft, self.straight = name, beta, soft, straight
        self.theta = nn.Parameter(torch.tensor(float(theta)), requires_grad=soft is not None)
        if name in TRAINED:
            if n_steps is None or n_classes is None:
                raise ValueError(f"decoder {name!r} is trained: give n_steps and n_classes")
            check_count("n_steps", n_steps)
            check_count("n_classes", n_classes)
            self.n_steps, self.n_classes = n_steps, n_classes
            if name == "w_avg_t":
                self.weight = nn.Parameter(torch.zeros(n_steps))
            elif name == "mlp":
                self.net = nn.Sequential(
                    nn.Linear(n_steps * n_classes, 250), nn.ELU(), nn.Linear(250, n_classes)
                )
            else:
                widths = [w for w in range(2, 7) if w <= n_steps]
                if not widths:
                    raise ValueError(f"decoder 'conv1d' needs 2 valid steps, got {n_steps}")
                self.filters = nn.ModuleList(nn.Conv1d(n_classes, 4, w) for w in widths)
                self.last = nn.Linear(4 * len(widths), n_classes)

    def forward(self, logits_t: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits (B, K) and the step of decision (B,).

        Parameters
        ----------
        logits_t : Tensor
            (B, T, K).
        valid : Tensor, optional
            (T,), bool: which steps depend on the image.

        Raises
        ------
        ValueError
            No step is valid.
        """
        if logits_t.ndim != 3:
            raise ValueError(f"logits_t must have shape (B, T, K), got {tuple(logits_t.shape)}")
        n_batch, n_steps, _ = logits_t.shape
        if valid is not None and (valid.dtype != torch.bool or valid.shape != (n_steps,)):
            raise ValueError(
                f"valid must be {n_steps} booleans, one for each step, got {valid.dtype} of shape "
                f"{tuple(valid.shape)}"
            )
        at = torch.arange(n_steps)  # not on the device: its length is needed
        at = at if valid is None else at[valid.cpu()]
        if len(at) == 0:
            raise ValueError("no step is valid: the movie is shorter than the way to the readout")
        at = at.to(logits_t.device)
        seen = logits_t if len(at) == n_steps else logits_t.index_select(1, at)
        last = at[-1].expand(n_batch)
        if self.name == "last":
            return seen[:, -1], last
        if self.name == "softmax_last":
            return seen[:, -1].softmax(-1), last
        if self.name == "linear_last":
            low = seen[:, -1] - seen[:, -1].min(-1, keepdim=True).values
            return low / low.sum(-1, keepdim=True).clamp_min(1e-12), last
        if self.name in ("max_conf", "threshold"):
            return self._choose(seen, at)
        if self.name == "time_max":
            return seen.max(1).values, last
        if self.name == "w_avg":
            return ((self.beta * seen).softmax(1) * seen).sum(1), last
        if self.name == "w_time_avg":
            weight = seen.softmax(-1).max(-1).values.softmax(1)
            return (weight[..., None] * seen).sum(1), last
        if self.name == "w_avg_t":
            weight = torch.sigmoid(self.weight)
            if len(weight) != len(at):
                raise ValueError(f"decoder is for {len(weight)} valid steps, got {len(at)}")
            return torch.einsum("t,btk->bk", weight / weight.sum(), seen), last
        self._check_shape(seen)
        if self.name == "mlp":
            return self.net(seen.flatten(1)), last
        over_time = seen.transpose(1, 2)
        best = [nn.functional.elu(f(over_time)).max(-1).values for f in self.filters]
        return self.last(torch.cat(best, 1)), last

    def _check_shape(self, seen: Tensor) -> None:
        """Refuse steps and classes that are not those of the trained weights."""
        _, n_steps, n_classes = seen.shape
        given = (self.n_steps, self.n_classes)
        fits = n_steps == given[0] if self.name == "mlp" else n_steps >= min(6, given[0])
        if n_classes != given[1] or not fits:  # the widest of the sliding filters has 6 steps
            raise ValueError(
                f"decoder {self.name!r} is for {given[0]} valid steps and {given[1]} classes, got "
                f"{n_steps} and {n_classes}"
            )

    def reaches(self, confidence: Tensor) -> Tensor:
        """Return where a confidence is theta or more, in the coarser of the two precisions.

        Else 0.2 in double precision would stay below the 0.2 of single precision.
        """
        fine = confidence.dtype.itemsize > self.theta.dtype.itemsize
        return (confidence.to(self.theta.dtype) if fine else confidence) >= self.theta

    def _choose(self, seen: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        confidence = seen.softmax(-1).max(-1).values  # (B, valid steps)
        best = confidence.argmax(1)  # the first of equals
        if self.name == "threshold":
            reached = self.reaches(confidence)
            first = reached.int().argmax(1)
            best = torch.where(reached.any(1), first, best)
        hard = seen[torch.arange(len(seen), device=seen.device), best]
        if self.soft is not None:
            if self.name == "max_conf":
                weight = (confidence / self.soft).softmax(1)
            else:  # probability that this step is the first to reach theta
                reach = torch.sigmoid((confidence - self.theta) / self.soft)
                survive = torch.cumprod(1 - reach, 1)
                before = torch.cat([torch.ones_like(survive[:, :1]), survive[:, :-1]], 1)
                never = survive[:, -1:] * (confidence / self.soft).softmax(1)
                weight = before * reach + never
            soft = (weight[..., None] * seen).sum(1)
            return (soft + (hard - soft).detach() if self.straight else soft), at[best]
        return hard, at[best]


def decode(
    logits_t: Tensor, name: str = "last", valid: Tensor | None = None, **options: float
) -> tuple[Tensor, Tensor]:
    """Return logits (B, K) and the step of decision (B,) by an untrained decoder.

    Examples
    --------
    >>> logits = torch.tensor([[[0.0, 1.0], [3.0, 0.0], [0.0, 2.0]]])
    >>> decode(logits, "max_conf")
    (tensor([[3., 0.]]), tensor([1]))
    """
    if name in TRAINED:
        raise ValueError(f"decoder {name!r} is trained: make a Decoder and train it")
    check_finite("logits_t", logits_t)
    return Decoder(name, **options)(logits_t, valid)  # type: ignore[arg-type]  # numbers by name
