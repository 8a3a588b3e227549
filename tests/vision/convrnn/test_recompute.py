"""Steps computed again for the gradient: every gradient is that of the plain run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tractable.vision.convrnn import ConvRNN, ConvRNNSpec, Node


def net(**cell: Any) -> ConvRNN:
    torch.manual_seed(0)
    nodes = [
        Node("a", 3, pool=2), Node("b", 4, cell="rgc", cell_args=cell, norm="group"),
        Node("c", 4, cell="gru"),
    ]  # fmt: skip
    spec = ConvRNNSpec.chain(nodes, n_classes=3).feedback("c", "b", entry="out")
    made = ConvRNN(spec, in_shape=(1, 6, 6)).double()
    with torch.no_grad():
        for p in made.parameters():  # feedback starts at no effect
            p.add_(0.1 * torch.randn_like(p))
    return made


def movie() -> torch.Tensor:
    return torch.rand(2, 7, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("how", ["step", "sqrt"])
def test_gradients_of_movies_and_weights(how: Any) -> None:
    made, x = net(), movie().requires_grad_()

    def gradients(**call: Any) -> list[torch.Tensor]:
        loss = made(x, **call).logits_t.square().sum()
        return list(torch.autograd.grad(loss, [x, *made.parameters()]))

    for plain, again in zip(gradients(), gradients(checkpoint=how), strict=True):
        torch.testing.assert_close(again, plain, atol=1e-10, rtol=1e-10)
    loss = made(x, checkpoint=how).logits_t.square().sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        first.square().sum().backward()


@pytest.mark.parametrize("still", [False, True])
def test_features_states_and_cut_gradients(still: bool) -> None:
    made = net()
    x = (movie()[:, 0] if still else movie()).requires_grad_()
    call: dict[str, Any] = {"T": 7, "image_off": 3} if still else {}

    def gradient(**more: Any) -> torch.Tensor:
        out = made(x, layers=["a", "b"], detach_every=3, keep_state=True, **call, **more)
        assert out.state is not None
        loss = out.features["a"].values.square().sum() + out.features["b"].values.sum()
        loss = loss + sum(s.square().sum() for s in out.state.states["c"])
        return torch.autograd.grad(loss, x)[0]

    torch.testing.assert_close(gradient(checkpoint="sqrt"), gradient(), atol=1e-10, rtol=1e-10)


def test_dropout_is_drawn_alike_the_second_time() -> None:
    made = net(recurrent_dropout=0.5).train()
    x = movie()

    def gradients(**call: Any) -> list[torch.Tensor]:
        torch.manual_seed(7)
        loss = made(x, **call).logits_t.square().sum()
        found = torch.autograd.grad(loss, list(made.parameters()))
        return [*found, torch.rand(3)]  # the numbers drawn afterwards are the same, too

    for plain, again in zip(gradients(), gradients(checkpoint="sqrt"), strict=True):
        torch.testing.assert_close(again, plain, atol=1e-10, rtol=1e-10)


def test_frozen_weights_and_changed_ones() -> None:
    made, x = net(), movie()
    for p in made.layers["b"].parameters():
        p.requires_grad_(False)
    made(x, checkpoint="sqrt").logits.sum().backward()
    assert all(p.grad is None for p in made.layers["b"].parameters())
    assert all(p.grad is not None for p in made.head.parameters())
    loss = made(x, checkpoint="sqrt").logits.sum()
    with torch.no_grad():
        next(made.head.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_half_precision_is_used_the_second_time() -> None:
    made, x, seen = net().float(), movie().float(), []
    made.layers["b"].register_forward_hook(lambda *call: seen.append(call[2][0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss = made(x, checkpoint="sqrt").logits_t.float().square().sum()
    once = list(seen)
    loss.backward()
    assert torch.bfloat16 in once
    assert sorted(map(str, seen)) == sorted(map(str, 2 * once))
