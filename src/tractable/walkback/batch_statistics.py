"""An operator whose step depends on the other states of a batch has no density of one state."""

from __future__ import annotations

import torch

from tractable.walkback.operators import TransitionOperator


def refuse_batch_statistics(operator: TransitionOperator) -> None:
    """Refuse an operator whose step for one state depends on the others of its batch.

    Raises
    ------
    ValueError
        A batch normalization is in training mode or keeps no running statistics.
    """
    for name, module in operator.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and (
            module.training or not module.track_running_stats
        ):
            raise ValueError(
                f"{name} normalizes over the batch: p(s' | s) is then no density of one state. "
                "Call eval(), or use LayerNorm or GroupNorm"
            )
