"""Temperatures of a walk: cold steps, then a ladder."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from tractable.core.checks import TractableWarning, check_finite, check_range
from tractable.walkback.operators import TransitionOperator, check_count

__all__ = ["Schedule"]


def check_schedule(schedule: Schedule) -> None:
    """Refuse what is no schedule.

    Raises
    ------
    TypeError
        With what came.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule must be a Schedule, got {type(schedule).__name__}: wrap temperatures as "
            "Schedule(temperatures)"
        )


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""The temperature of every step, the same in both directions.

    .. math:: T_t = f^{\max(0,\, t - 1 - N_1)}, \qquad t = 1 \ldots L

    (W6): N1 cold steps, then a ladder that begins at T = 1 and is multiplied by f.

    Attributes
    ----------
    temperatures : Tensor
        Shape (L,), float64, > 0. The first belongs to the step nearest to the data.

    Examples
    --------
    >>> Schedule.geometric(3, factor=2.0, num_cold=1).temperatures
    tensor([1., 1., 2., 4.], dtype=torch.float64)
    """

    temperatures: Tensor

    def __post_init__(self) -> None:
        given = torch.as_tensor(self.temperatures, dtype=torch.float64).reshape(-1)
        if len(given) == 0:
            raise ValueError("temperatures must hold a step at least, got none")
        check_finite("temperatures", given)
        if float(given.min()) <= 0:
            raise ValueError(f"temperatures must be above 0, got {float(given.min()):g}")
        object.__setattr__(self, "temperatures", given)

    def __len__(self) -> int:
        return len(self.temperatures)

    @classmethod
    def geometric(cls, num_heat: int, factor: float = 2.0, num_cold: int = 0) -> Schedule:
        """Return N1 cold steps and a ladder of ``num_heat`` steps.

        Parameters
        ----------
        num_heat : int
            K, >= 0; cold and heating steps together >= 1.
        factor : float
            f, >= 1. At most 1.25 keeps the bound tight; 2 is the paper's.
        num_cold : int
            N1, >= 0.
        """
        for name, value in (("num_heat", num_heat), ("num_cold", num_cold)):
            check_count(name, value, 0)
        check_range("factor", factor, 1)
        steps = num_heat + num_cold
        check_range("num_heat + num_cold", steps, 1)
        power = (torch.arange(steps, dtype=torch.float64) - num_cold).clamp_min(0)
        temperatures = torch.as_tensor(factor, dtype=torch.float64) ** power
        if not bool(torch.isfinite(temperatures).all()):
            raise ValueError(f"factor {factor:g} over {num_heat} steps overflows")
        return cls(temperatures)

    @classmethod
    def constant(cls, num_steps: int, temperature: float = 1.0) -> Schedule:
        """Return ``num_steps`` steps at one temperature."""
        check_count("num_steps", num_steps)
        return cls(torch.full((num_steps,), float(temperature), dtype=torch.float64))

    @classmethod
    def from_data(
        cls,
        x: Tensor,
        operator: TransitionOperator,
        factor: float = 2.0,
        num_cold: int = 0,
        max_steps: int = 100,
    ) -> Schedule:
        r"""Return a ladder whose last noise is as wide as the data.

        .. math:: K = \left\lceil \frac{\log(\sigma_{max}^2 / \sigma_{min}^2)}{\gamma \log f}
            \right\rceil + 1

        (W7), with the largest eigenvalue of the data's covariance and the operator's mean
        :math:`\sigma^2` at T = 1: a ladder that ends below the widest component leaves structure to
        the prior.

        Parameters
        ----------
        x : Tensor
            Data, ``(n, *event)``, n >= 2.
        operator : TransitionOperator
            With ``std(s, temperature)``.
        factor, num_cold
            As in `geometric`; factor > 1.
        max_steps : int
            Longest ladder; reaching it warns.

        Raises
        ------
        TypeError
            The operator has no ``std``.
        """
        check_range("factor", factor, 1, open_low=True)
        check_range("max_steps", max_steps, 1)
        operator.check_state(x, "x")
        if not callable(getattr(operator, "std", None)):
            raise TypeError(f"from_data needs an operator with std(s, T), got {type(operator)}")
        rows = x.double().flatten(1)
        check_range("len(x)", len(rows), 2)
        centered = rows - rows.mean(0)
        largest = float(torch.linalg.matrix_norm(centered, 2)) ** 2 / (len(rows) - 1)
        with torch.no_grad():
            noise: Tensor = operator.std(x[:4096], 1.0)  # type: ignore[operator]  # checked above
        least = float(noise.double().square().mean())
        gamma = float(getattr(operator, "temperature_power", 1.0))
        wanted = max(
            1, math.ceil(math.log(max(largest / least, 1.0)) / gamma / math.log(factor)) + 1
        )
        if wanted > max_steps:
            warnings.warn(
                f"the ladder needs {wanted} steps of factor {factor:g} to reach the data's width; "
                f"it is cut at max_steps={max_steps}",
                TractableWarning,
                stacklevel=2,
            )
        return cls.geometric(min(wanted, max_steps), factor, num_cold)
