"""The linear theory of a trained sentiment classifier, from its weights and its slow points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from tractable.core.checks import quiet
from tractable.dynamics import (
    PointSet,
    collect_states,
    input_effects,
    linear_check,
    manifold,
)
from tractable.studies.dynamics._sentiment_parts import ONE, STEPS, spread
from tractable.studies.dynamics.dynamics_sentiment import N_LINE

if TYPE_CHECKING:
    from tractable.studies.dynamics.dynamics_sentiment import DynamicsSentiment

N_MODES = 6
ROLLOUTS = ("rollout", "switching", "modes", "bag_of_words")
MODELS = ("linear", "identity", "mean", "affine")


def linear_theory(study: DynamicsSentiment, measured: xr.Dataset) -> xr.Dataset:
    """Return what linearization at the slow points says about the network."""
    model = study.rebuild(measured)
    cell, readout = model.cell().to(dtype=torch.float64), model.state_readout()
    weight = readout.weight[0].double()
    seen = cell.readout_slice  # an LSTM's readout does not see c

    # The line, and the modes at points spread evenly along it.
    points = PointSet.from_states(cell, torch.as_tensor(measured.point_state.values), kind="slow")
    with quiet():  # few or clustered points are ordered by their first component
        line = manifold(points, readout=readout)
    chosen = spread(line.theta, N_LINE)
    on_line, tangent = points[chosen], line.tangent[chosen]
    modes = on_line.modes(axis=tangent)
    n_modes = min(N_MODES, modes.eigvals.shape[1])
    first = modes.real_right[:, :, 0]
    # What each word does along the slowest mode.
    words = torch.as_tensor(measured.token.values)
    vectors = model.embedding.weight.detach()[words].double()
    effects = input_effects(on_line, modes, vectors, readout=readout)
    assert effects.logit_weight is not None  # a readout was given
    shown = PointSet.from_states(cell, torch.as_tensor(measured.shown_state.values), kind="slow")
    shown_modes = shown.modes(axis=line.axis)
    shown_effects = input_effects(shown, shown_modes, vectors, readout=readout)
    assert shown_effects.logit_weight is not None
    later = shown_modes.eigvals[:, 0].real[:, None] ** int(measured.effect_steps)

    # How far it carries.
    tokens = torch.as_tensor(measured.tokens.values)
    lengths = torch.as_tensor(measured.length.values)
    with torch.no_grad():
        visited = collect_states(cell, tokens, lengths, embedding=model.embedding)
    labels = measured.label.values
    undecided = int((on_line.state @ weight + readout.bias[0]).abs().argmin())
    one_step = linear_check(cell, visited, on_line, readout, progress=False)
    with quiet():  # an oscillating pair at the undecided point is in the answers
        runs = {
            name: linear_check(
                cell,
                visited,
                on_line,
                readout,
                mode=name,
                point=None if name == "switching" else undecided,
                labels=labels,
                progress=False,
            )
            for name in ROLLOUTS
        }
    identity = torch.eye(cell.n_state, dtype=torch.complex128)
    errors = np.vstack([one_step.error[None], one_step.baseline_error])
    thin = np.unique(np.linspace(0, errors.shape[1] - 1, 3000).astype(int))
    return xr.Dataset(
        {
            "theta": ("point", line.theta, ONE),
            "speed": ("point", line.speed, {"units": "1/step"}),
            "drift": ("point", line.drift, {"units": "1/step"}),
            "point_readout": ("point", points.state @ weight + readout.bias[0], LOGIT),
            "axis": ("unit", line.axis, ONE),
            "readout": ("unit", weight, ONE),
            "readout_bias": ((), float(readout.bias[0]), LOGIT),
            "pc_fraction": ((), line.pc_fraction, ONE),
            "spline_fraction": ((), line.spline_fraction, ONE),
            "length": ((), line.length, ONE),
            "axis_readout": ((), _cosine(line.axis[seen], weight[seen]), ONE),
            "line_theta": ("line", line.theta[chosen], ONE),
            "line_readout": ("line", on_line.state @ weight + readout.bias[0], LOGIT),
            "eigenvalue_real": (("line", "mode"), modes.eigvals.real[:, :n_modes], ONE),
            "eigenvalue_imag": (("line", "mode"), modes.eigvals.imag[:, :n_modes], ONE),
            "spectrum_real": (("shown", "all_modes"), shown_modes.eigvals.real, ONE),
            "spectrum_imag": (("shown", "all_modes"), shown_modes.eigvals.imag, ONE),
            "shown_readout": ("shown", shown.state @ weight + readout.bias[0], LOGIT),
            "tau": (("line", "mode"), modes.tau[:, :n_modes].clamp(max=1e6), STEPS),
            "alignment_axis": ("line", _cosines(first, line.axis[None]), ONE),
            "alignment_tangent": ("line", _cosines(first, tangent), ONE),
            "null_99": ((), _null_quantile(cell.n_state, 0.99), ONE),
            "undecided_real": ((), float(modes.eigvals[undecided, 0].imag == 0), ONE),
            "biorthogonality": (
                (),
                float((modes.left @ modes.right - identity).abs().max()),
                ONE,
            ),
            "word_weight": ("word", effects.logit_weight.median(0).values, LOGIT),
            "word_effect": (("shown", "word"), shown_effects.logit_weight * later, LOGIT),
            "valence_correlation": ("line", effects.correlation(measured.coefficient.values), ONE),
            "left_input_match": ("line", effects.match(measured.coefficient.values), ONE),
            "decay": (("shown", "lag"), _decay(shown, measured), ONE),
            "one_step_error": (("model", "step"), errors[:, thin], ONE),
            "logit": ("document", runs["bag_of_words"].logit, LOGIT),
            "rollout_logit": (
                ("rollout", "document"),
                np.stack([run.logit_linear for run in runs.values()]),
                LOGIT,
            ),
            **{
                name: ("rollout", [getattr(run, name) for run in runs.values()], ONE)
                for name in ("r2", "correlation", "sign_agreement", "accuracy")
            },
        },
        coords={
            "model": list(MODELS),
            "rollout": list(ROLLOUTS),
            "word": measured.word.values,
            "lag": measured.lag.values,
        },
    )


LOGIT = {"units": "logit"}


def _decay(points: PointSet, measured: xr.Dataset) -> Any:
    """Return ``m . J^t m``: what is left of a small displacement along m after t steps."""
    J = points.jacobians()[0]
    axis = torch.as_tensor(measured.decay_axis.values)
    left, kept = axis.expand(len(points), -1), []
    for _ in measured.lag.values:
        kept.append(left @ axis)
        left = (J @ left[..., None])[..., 0]
    return torch.stack(kept, 1)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(_cosines(one[None], other[None])[0])


def _cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    size = one.norm(dim=1) * other.norm(dim=1)
    return (one * other).sum(1) / size.clamp(min=1e-300)


def _null_quantile(n: int, q: float) -> float:
    """Return the quantile of |cos| between random directions: cos^2 is Beta(1/2, (n-1)/2)."""
    from scipy.stats import beta

    return float(np.sqrt(beta.ppf(q, 0.5, (n - 1) / 2)))
