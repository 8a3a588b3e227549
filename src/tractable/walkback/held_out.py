"""What training is judged by: the bound on held-out data, the noise, the width of the walks."""

from __future__ import annotations

import inspect
import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tractable.core.checks import quiet
from tractable.core.seeds import derive
from tractable.walkback.bound import log_likelihood_bound
from tractable.walkback.fit_result import NoHeatingWarning, SigmaCollapseWarning
from tractable.walkback.operators import TransitionOperator

if TYPE_CHECKING:
    from tractable.walkback.trainer import Trainer

COLLAPSE = 3.0  # floors of sigma below which it has collapsed
EVAL_POINTS, EVAL_PATHS = 256, 8


def noise_at_one(trainer: Trainer) -> float:
    """Return the median noise at T = 1 over the data, NaN where the operator has none."""
    sd = noise_of(trainer.operator, trainer.x[:1024], 1.0, 0)
    return math.nan if sd is None else float(sd.median())


@torch.no_grad()
def noise_of(
    operator: TransitionOperator, s: Tensor, temperature: float, step: int
) -> Tensor | None:
    """Return the noise of an operator with a ``std(s, temperature)``, which may know steps."""
    std: Any = getattr(operator, "std", None)
    if not callable(std):
        return None
    knows = inspect.signature(std)
    try:
        knows.bind(s, temperature)
    except TypeError:  # something else of that name
        return None
    told = {"step": step} if "step" in knows.parameters else {}
    return torch.as_tensor(std(s, temperature, **told))


def evaluate(trainer: Trainer) -> bool:
    """Record the noise and the bound; return whether to stop."""
    state = trainer.state
    state.eval_step.append(state.step)
    state.sigma.append(noise_at_one(trainer))
    floor = getattr(trainer.operator, "sigma_min", 0.0)
    learned = getattr(trainer.operator, "sigma_kind", "fixed") != "fixed"
    if learned and state.sigma[-1] < COLLAPSE * floor:
        warnings.warn(
            f"sigma has fallen to {state.sigma[-1]:.3g} at iteration {state.step}, its floor "
            f"is {floor:.3g}: the objective grows without limit there and the bound does not. "
            "Fix sigma, raise sigma_min, or train with mode='elbo'",
            SigmaCollapseWarning,
            stacklevel=4,
        )
    if trainer.held is None:
        state.bound.append(math.nan)
        state.importance.append(math.nan)
        return False
    was = trainer.average.training
    trainer.average.eval()
    # Noise of its own: evaluating must not change the walks of training.
    own = torch.Generator(trainer.x.device).manual_seed(derive(trainer.seed, "evaluation") % 2**62)
    with quiet():  # of few paths the importance estimate is a lower bound, too
        found = log_likelihood_bound(
            trainer.average, trainer.held, schedule=trainer.schedule, prior=trainer.prior,
            num_paths=EVAL_PATHS, generator=own,
        )  # fmt: skip
    trainer.average.train(was)
    state.bound.append(found.mean)
    state.importance.append(float(found.log_prob_is.mean()))
    value = state.bound[-1] if trainer.monitor == "bound" else state.importance[-1]
    if value > state.best:
        state.best, state.best_step, state.waited = value, state.step, 0
        state.best_weights = {
            name: tensor.detach().clone() for name, tensor in trainer.average.state_dict().items()
        }
    else:
        state.waited += 1
    return has_waited(trainer)


def has_waited(trainer: Trainer) -> bool:
    """Return whether so many evaluations were no better that training stops."""
    return trainer.patience is not None and trainer.state.waited >= trainer.patience


def warn_unless_it_heats(trainer: Trainer, ends: Tensor) -> None:
    """Warn where the walks end as narrow as the data though the noise is wider."""
    if trainer.operator.kind == "binary":
        return
    top, step = float(trainer.schedule.temperatures[-1]), len(trainer.schedule) - 1
    noise = noise_of(trainer.operator, trainer.x[:1024], top, step)
    if noise is None:
        return
    width = float(ends.double().flatten(1).var(0).mean()) ** 0.5
    data = float(trainer.x.double().flatten(1).var(0).mean()) ** 0.5
    felt = float(noise.double().square().mean())
    if width < 1.1 * data and felt > 1.5 * data**2:
        warnings.warn(
            f"the walks end with a standard deviation of {width:.3g}, the data's is "
            f"{data:.3g}, though the noise of the last step alone is {felt**0.5:.3g}: F undoes "
            "the heating, and the operator learns no more than the prior. Fix sigma, or hide "
            "the temperature",
            NoHeatingWarning,
            stacklevel=4,
        )
