"""What a network answers: logits, decision, and the activity of its layers in time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tractable.vision.convrnn.unroll import States, Unrolled

__all__ = ["Output", "TimeSeries"]


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """Activity of a layer.

    Attributes
    ----------
    values : Tensor
        (B, T, C, H, W).
    valid : Tensor
        (T,), bool: from the first step on that depends on the image.
    """

    values: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """What a network answers.

    Attributes
    ----------
    logits : Tensor
        By the decoder, (B, K).
    logits_t : Tensor
        Of each step, (B, T, K).
    valid : Tensor
        (T,), bool: steps whose logits depend on the image.
    decision_step : Tensor
        (B,).
    features : dict of str to TimeSeries
        Of the layers asked for.
    states : dict of str to tuple of Tensor
        Of every cell after the last step; empty unless ``keep_state``.
    state : Unrolled, optional
        Where the network stands, to go on from; None unless ``keep_state``.
    """

    logits: Tensor
    logits_t: Tensor
    valid: Tensor
    decision_step: Tensor
    features: dict[str, TimeSeries]
    states: States
    state: Unrolled | None = None
