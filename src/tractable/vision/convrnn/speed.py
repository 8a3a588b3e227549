"""How much accuracy waiting buys: the mean step of decision against accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tractable.core.checks import as_floats, check_finite, check_range
from tractable.vision.convrnn.decoders import Decoder

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SpeedAccuracy", "speed_accuracy"]

THETAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class SpeedAccuracy:
    """Accuracy of decisions at a threshold of confidence, and when they fall.

    Parameters
    ----------
    theta : ndarray, shape (n,)
        Thresholds.
    mean_step : ndarray, shape (n,)
        Mean step of decision.
    accuracy : ndarray, shape (n,)
        Share of right decisions.
    reached : ndarray, shape (n,)
        Share of movies whose confidence reaches the threshold; the others are decided where it is
        largest.
    """

    theta: np.ndarray
    mean_step: np.ndarray
    accuracy: np.ndarray
    reached: np.ndarray

    def to_dataset(self) -> xr.Dataset:
        """Return all fields as an `xarray.Dataset`."""
        import xarray as xr

        one = {"units": "1"}
        return xr.Dataset(
            {
                "mean_step": ("theta", self.mean_step, {"units": "steps"}),
                "accuracy": ("theta", self.accuracy, one),
                "reached": ("theta", self.reached, one),
            },
            coords={"theta": ("theta", self.theta, one)},
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> SpeedAccuracy:
        """Return what `to_dataset` stored."""
        names = ("theta", "mean_step", "accuracy", "reached")
        return cls(*(dataset[name].values for name in names))


def speed_accuracy(
    logits_t: Tensor,
    labels: Any,
    *,
    thetas: ArrayLike = THETAS,
    valid: Tensor | None = None,
) -> SpeedAccuracy:
    r"""Return accuracy and mean step of decision for thresholds of confidence.

    A movie is decided at the first valid step at which :math:`\max_k p_{tk} \ge \theta`, p the
    softmax of the logits; where there is none, at the step of the largest confidence (decoder
    ``threshold``).

    Parameters
    ----------
    logits_t : Tensor, shape (B, T, K)
        Such as `Output.logits_t`; finite.
    labels : sequence of int, shape (B,)
        Classes, 0 .. K - 1.
    thetas : array_like, shape (n,)
        In (0, 1].
    valid : Tensor of bool, shape (T,), optional
        Steps that depend on the image, such as `Output.valid`; default all.

    Returns
    -------
    SpeedAccuracy

    Raises
    ------
    ValueError
        Labels that are no classes, thresholds outside (0, 1], no valid step, NaN.

    References
    ----------
    Nayebi et al. 2018, arXiv:1807.00053, section on decoders.

    Examples
    --------
    >>> logits = torch.tensor([[[0.0, 1.0], [3.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]]])
    >>> found = speed_accuracy(logits, [0, 0], thetas=[0.6, 0.9])
    >>> found.mean_step.tolist(), found.accuracy.tolist(), found.reached.tolist()
    ([0.0, 0.5], [0.5, 1.0], [1.0, 0.5])
    """
    if not isinstance(logits_t, Tensor) or logits_t.ndim != 3 or 0 in logits_t.shape:
        got = tuple(getattr(logits_t, "shape", ())) or type(logits_t).__name__
        raise ValueError(f"logits_t must be a tensor (B, T, K), got {got}")
    check_finite("logits_t", logits_t.detach())
    z = logits_t.detach().cpu()
    y = torch.as_tensor(np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels))
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    if y.shape != (len(z),) or not whole or int(y.min()) < 0 or int(y.max()) >= z.shape[2]:
        raise ValueError(
            f"labels must be {len(z)} classes of 0 .. {z.shape[2] - 1}, got {y.dtype} of shape "
            f"{tuple(y.shape)}"
        )
    theta = np.atleast_1d(as_floats("thetas", thetas))
    check_finite("thetas", theta)
    if theta.ndim != 1 or not len(theta):
        raise ValueError(f"thetas must be numbers in (0, 1], got shape {theta.shape}")
    found = []
    for one in theta:
        check_range("thetas", float(one), 0.0, 1.0, open_low=True)
        decoder = Decoder("threshold", theta=float(one))
        answer, step = decoder(z, valid)
        seen = z if valid is None else z[:, valid.cpu()]
        reached = decoder.reaches(seen.softmax(-1).amax((1, 2)))
        right = answer.argmax(-1) == y
        found.append([float(v.double().mean()) for v in (step, right, reached)])
    return SpeedAccuracy(theta, *np.array(found).T)
