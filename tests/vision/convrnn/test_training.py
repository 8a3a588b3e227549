"""Training: the schedule, the labels, and what data a batch holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tractable.vision.convrnn.training import (
    accuracy,
    image_batches,
    one_cycle,
    predictions,
    train,
)


def blobs(n: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 3
    random = torch.Generator().manual_seed(0)
    images = torch.randn(n, 1, 4, 4, generator=random) * 0.3
    for label in range(3):
        images[labels == label, :, label] += 1
    return images, labels


def test_one_cycle_is_that_of_torch() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=1001, cycle_momentum=False
    )
    ours = one_cycle(1000)
    for step in range(1000):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(ours(step), abs=0.004)
        optimizer.step()
        peer.step()


def test_a_plain_module_learns() -> None:
    images, labels = blobs()
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    data = image_batches(images, labels, batch_size=40, seed=0, augment=False)
    result = train(net, data, steps=60, learning_rate=0.05, device="cpu", progress=False)
    assert result.steps == 60
    assert accuracy(net, images, labels) > 0.95
    assert predictions(net, images, batch_size=50).shape == (120, 3)
    assert net.training


def test_labels_beyond_the_logits_are_refused() -> None:
    images, labels = blobs()
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ValueError, match="below the number of logits"):
        train(net, [(images, labels)], steps=1, device="cpu", progress=False)
    with pytest.raises(ValueError, match="equally many"):
        accuracy(net, images, labels[:5])


def test_changed_images_are_shifted_and_mirrored_ones() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(16, 1, 1, 1)
    data = image_batches(images, torch.zeros(16, dtype=torch.long), batch_size=16, seed=0)
    seen = [x for epoch in range(8) for x, _ in data(epoch)]
    assert all(x.shape == images.shape for x in seen)
    first = seen[0][:, 0]
    rising = first[:, 4, 4] > first[:, 4, 3]
    assert 0 < int(rising.sum()) < 16
    assert torch.equal(seen[0], next(data(0))[0])
