"""Nets without a density of one state: those that see a batch, or change from call to call."""

from __future__ import annotations

import torch

from tractable.walkback.operators import TransitionOperator


def refuse_batch_statistics(operator: TransitionOperator) -> None:
    """Refuse an operator whose step for one state depends on others of its batch, or on chance.

    Raises
    ------
    ValueError
        A batch normalization is in training mode or keeps no running statistics, or units are
        dropped out.
    """
    for name, module in operator.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and (
            module.training or not module.track_running_stats
        ):
            raise ValueError(
                f"{name} normalizes over the batch: p(s' | s) is then no density of one state. "
                "Call eval(), or use LayerNorm or GroupNorm"
            )
        if isinstance(module, torch.nn.modules.dropout._DropoutNd) and module.training and module.p:
            raise ValueError(
                f"{name} drops out units: a move is then drawn from one net and scored by another. "
                "Call eval()"
            )
