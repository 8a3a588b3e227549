"""The training loop: what it computes, and that nothing is lost when it is stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tractable.core.seeds import derive, seeded
from tractable.train import (
    CheckpointError,
    EarlyStopping,
    TrainingDiverged,
    cosine_decay,
    fit,
    log_steps,
    minibatches,
    time_one_step,
)

fit = partial(fit, device="cpu")

# Also run in a second process that is killed, so it is text.
SETUP = """
import torch
from torch import nn
from tractable.train import fit, minibatches

torch.set_num_threads(1)

def make():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, 1))
    x = torch.randn(26, 5)
    return model, minibatches(x, x[:, :1] * x[:, 1:2], batch_size=4, seed=1)

def squared_error(model, batch):
    x, y = batch
    return (model(x) - y).square().mean()

def norm(model):
    return sum(p.square().sum() for p in model.parameters())

settings = dict(steps=60, learning_rate=0.01, clip=1.0, seed=5, device="cpu",
                record={"norm": norm}, record_at=range(0, 60, 6))
"""
space: dict = {}
exec(SETUP, space)
make, squared_error, norm, settings = (
    space[name] for name in ("make", "squared_error", "norm", "settings")
)


@pytest.fixture
def usual_ctrl_c():
    """Background jobs start with Ctrl-C ignored; these tests need Python's own handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_same_run(first, second) -> None:
    (model, result), (other_model, other) = first, second
    assert torch.equal(weights(model), weights(other_model))
    assert np.array_equal(result.losses, other.losses)
    assert np.array_equal(result.record_steps, other.record_steps)
    for name, values in result.history.items():
        assert np.array_equal(values, other.history[name])


def stored_step(path) -> int:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("data/losses").numel()


# ---- what it computes


def test_gradient_descent_on_a_quadratic_is_a_power():
    # IDENTITY: w(t) = (1 - rate * curvature)^t w(0)
    model = nn.Linear(3, 1, bias=False).double()
    start, curvature = weights(model).clone(), torch.tensor([0.5, 1.0, 3.0]).double()
    result = fit(
        model,
        lambda m, c: 0.5 * (c * m.weight[0] ** 2).sum(),
        [curvature],
        steps=25,
        optimizer=torch.optim.SGD,
        learning_rate=0.1,
        record={"w": lambda m: m.weight[0]},
        record_at=[0, 7, 25],
    )
    for step, w in zip(result.record_steps, result.history["w"], strict=True):
        expected = (1 - 0.1 * curvature) ** int(step) * start
        assert np.abs(w - expected.numpy()).max() < 1e-15
    assert result.record_steps.tolist() == [0, 7, 25]
    expected_loss = 0.5 * (curvature * start**2).sum().item()
    assert result.losses[0] == pytest.approx(expected_loss, rel=1e-15)
    assert result.losses.shape == (25,)


def test_equals_the_loop_written_by_hand():
    # INDEPENDENT: the same arithmetic without the library's loop, to the last bit
    model, batches = make()
    model[2] = nn.Identity()
    twin, _ = make()
    twin[2] = nn.Identity()
    schedule = cosine_decay(20, final=0.1)
    fit(model, squared_error, batches, steps=20, learning_rate=0.02, clip=0.5, schedule=schedule)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    flow = [batch for epoch in range(3) for batch in batches(epoch)]
    for step, batch in enumerate(flow[:20]):
        optimizer.param_groups[0]["lr"] = 0.02 * schedule(step)
        optimizer.zero_grad()
        squared_error(twin, batch).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
    assert torch.equal(weights(model), weights(twin))


def test_epochs_count_passes_over_the_data():
    model, batches = make()
    assert fit(model, squared_error, batches, epochs=2).steps == 2 * len(batches) == 14
    assert fit(model, squared_error, list(batches(0)), epochs=3).steps == 21


def test_an_optimizer_instance_keeps_its_learning_rate():
    model, batches = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fit(model, squared_error, batches, steps=3, optimizer=optimizer, schedule=lambda step: 0.5)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_batches_of_any_structure_reach_the_loss():
    model = nn.Linear(2, 1)
    x = torch.ones(3, 2)
    packed = nn.utils.rnn.pack_sequence([torch.ones(2), torch.ones(1)])
    seen = []

    def loss(m, batch):
        seen.append(batch)
        return m(batch["x"][0]).mean()

    fit(model, loss, [{"x": (x, [x]), "packed": packed, "name": "a"}], steps=1)
    assert torch.equal(seen[0]["x"][1][0], x)
    assert seen[0]["name"] == "a"
    assert isinstance(seen[0]["packed"], nn.utils.rnn.PackedSequence)


# ---- what it leaves alone


def test_global_generators_and_modes_are_left_alone():
    model, batches = make()
    model[2].eval()  # a part that the user froze
    model[0].train()
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    fit(model, squared_error, batches, **settings | {"device": "cpu"})
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()
    assert model[0].training
    assert not model[2].training


def test_the_callers_generators_do_not_matter():
    first, batches = make()
    second, _ = make()
    with seeded(1):
        fit(first, squared_error, batches, steps=10, seed=7)
    with seeded(2):
        fit(second, squared_error, batches, steps=10, seed=7)
    assert torch.equal(weights(first), weights(second))
    third, _ = make()
    fit(third, squared_error, batches, steps=10, seed=8)  # other dropout masks
    assert not torch.equal(weights(first), weights(third))


def test_recording_does_not_change_the_training():
    first, batches = make()
    second, _ = make()
    modes = []

    def greedy(model):
        modes.append(model.training)
        random.random()
        np.random.rand()  # noqa: NPY002
        return torch.rand(3)

    fit(first, squared_error, batches, steps=15)
    fit(second, squared_error, batches, steps=15, record={"x": greedy}, record_at=range(16))
    assert torch.equal(weights(first), weights(second))
    assert modes == [False] * 16


# ---- stop and resume


@pytest.mark.parametrize("stop", [1, 7, 11, 59])  # epochs have 7 batches: 7 is a border
def test_resumed_equals_uninterrupted(tmp_path, stop):
    # IDENTITY: bit for bit, with dropout, clipping, Adam, and records
    whole, batches = make()
    reference = fit(whole, squared_error, batches, **settings)
    model, _ = make()
    path = tmp_path / "run.safetensors"
    short = settings | {"steps": stop, "record_at": range(0, stop, 6)}
    fit(model, squared_error, batches, checkpoint=path, **short)
    later, _ = make()  # fresh weights: everything must come from the file
    nn.init.zeros_(later[0].weight)
    result = fit(later, squared_error, batches, checkpoint=path, **settings)
    assert result.resumed_from == stop
    assert torch.equal(weights(whole), weights(later))
    assert np.array_equal(reference.losses, result.losses)
    assert result.history["norm"][-1] == reference.history["norm"][-1]


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.SGD, momentum=0.9),
        torch.optim.RMSprop,
        partial(torch.optim.AdamW, amsgrad=True, weight_decay=0.5),
        torch.optim.NAdam,
        torch.optim.Rprop,
        torch.optim.ASGD,
    ],
)
def test_every_optimizer_is_resumed(tmp_path, optimizer):
    # IDENTITY
    given = {"optimizer": optimizer, "learning_rate": 0.01}
    whole, batches = make()
    fit(whole, squared_error, batches, steps=12, **given)
    model, _ = make()
    for steps in (5, 12):
        fit(model, squared_error, batches, steps=steps, checkpoint=tmp_path / "c", **given)
        model, kept = make()[0], model
    assert torch.equal(weights(whole), weights(kept))


def test_a_shuffling_dataloader_is_resumed(tmp_path):
    # IDENTITY: its order comes from the global generator, which is seeded at each epoch
    _, batches = make()
    loader = DataLoader(TensorDataset(*batches.tensors), batch_size=4, shuffle=True)
    whole, _ = make()
    fit(whole, squared_error, loader, steps=20)
    for steps in (10, 20):
        model, _ = make()
        fit(model, squared_error, loader, steps=steps, checkpoint=tmp_path / "c")
    assert torch.equal(weights(whole), weights(model))


def test_a_list_of_batches_is_resumed(tmp_path):
    # IDENTITY: dropout goes on from the stored random state
    whole, batches = make()
    given = list(batches(0))
    fit(whole, squared_error, given, steps=20)
    for steps in (10, 20):
        model, _ = make()
        fit(model, squared_error, given, steps=steps, checkpoint=tmp_path / "c")
    assert torch.equal(weights(whole), weights(model))


def test_a_killed_process_is_resumed_bit_for_bit(tmp_path):
    # IDENTITY: SIGKILL in mid-epoch, in another process
    path = tmp_path / "run.safetensors"
    script = SETUP + (
        "import time\n"
        "model, batches = make()\n"
        "calls = []\n"
        "def slow(m, b):\n"
        "    calls.append(1)\n"
        "    time.sleep(0.01 if len(calls) < 12 else 0.5)\n"
        "    return squared_error(m, b)\n"
        f"fit(model, slow, batches, checkpoint={str(path)!r}, checkpoint_every_seconds=0, "
        "**settings | {'steps': 100_000, 'record_at': range(0, 60, 6)})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 120
        while not path.exists() or stored_step(path) < 9:
            assert process.poll() is None, "the training process ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    stopped = stored_step(path)
    assert 9 <= stopped < 60, "killed too late for this test to say anything"
    whole, batches = make()
    reference = fit(whole, squared_error, batches, **settings)
    model, _ = make()
    nn.init.zeros_(model[0].weight)
    result = fit(model, squared_error, batches, checkpoint=path, **settings)
    assert result.resumed_from == stopped
    assert_same_run((whole, reference), (model, result))


def test_ctrl_c_finishes_the_step_saves_and_raises(tmp_path, usual_ctrl_c):
    path = tmp_path / "run.safetensors"
    whole, batches = make()
    reference = fit(whole, squared_error, batches, **settings)
    model, _ = make()
    calls = []

    def press(model, batch):
        calls.append(1)
        if len(calls) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return squared_error(model, batch)

    with pytest.raises(KeyboardInterrupt):
        fit(model, press, batches, checkpoint=path, **settings)
    assert stored_step(path) == 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = fit(model, squared_error, batches, checkpoint=path, **settings)
    assert_same_run((whole, reference), (model, result))


def test_ctrl_c_during_the_last_record_is_not_lost(usual_ctrl_c):
    model, batches = make()

    def press(model):
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        fit(model, squared_error, batches, steps=3, record={"x": press}, record_at=[])


def test_a_finished_run_is_not_trained_again(tmp_path):
    model, batches = make()
    first = fit(model, squared_error, batches, checkpoint=tmp_path / "c", **settings)
    model, _ = make()

    def forbidden(model, batch):
        raise AssertionError("trained again")

    second = fit(model, forbidden, batches, checkpoint=tmp_path / "c", **settings)
    assert second.resumed_from == 60
    assert np.array_equal(first.losses, second.losses)
    assert second.history["norm"][-1] == np.float32(norm(model).item())


def test_checkpoints_are_written_while_training(tmp_path):
    model, batches = make()
    path = tmp_path / "run.safetensors"
    steps = []

    def look(model, batch):
        steps.append(stored_step(path) if path.exists() else 0)
        time.sleep(0.01)
        return squared_error(model, batch)

    fit(model, look, batches, steps=30, checkpoint=path, checkpoint_every_seconds=0)
    assert len(set(steps)) >= 3
    assert not list(tmp_path.glob("*.partial"))


def test_checkpoints_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    model, batches = make()
    fit(model, squared_error, batches, steps=5, checkpoint=path)
    content = path.read_bytes()

    def full_disk(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("no space left")

    with path.open("rb") as reader:
        fit(model, squared_error, batches, steps=6, checkpoint=path)
        assert reader.read() == content  # the old file is replaced, not written over
    content = path.read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        fit(model, squared_error, batches, steps=9, checkpoint=path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_tied_weights_are_stored(tmp_path):
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    model[1].weight = model[0].weight
    data = [(torch.ones(2, 5), torch.ones(2, 5))]
    fit(model, squared_error, data, steps=3, checkpoint=tmp_path / "c")
    kept = weights(model)
    nn.init.zeros_(model[0].weight)
    fit(model, squared_error, data, steps=3, checkpoint=tmp_path / "c")
    assert torch.equal(weights(model), kept)


# ---- refused


def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path):
    path = tmp_path / "run.safetensors"
    model, batches = make()
    fit(model, squared_error, batches, checkpoint=path, **settings)
    content = path.read_bytes()[:-100]
    path.write_bytes(content)
    before = weights(model).clone()
    with pytest.raises(CheckpointError, match=r"run.safetensors is damaged .*delete the file"):
        fit(model, squared_error, batches, checkpoint=path, **settings)
    assert path.read_bytes() == content
    assert torch.equal(before, weights(model))


def test_a_foreign_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "mine.safetensors"
    model, batches = make()
    save_file({"weight": torch.ones(2)}, path)
    content = path.read_bytes()
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        fit(model, squared_error, batches, checkpoint=path, **settings)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": torch.optim.SGD}, "optimizer is Adam there and SGD here"),
        ({"learning_rate": 0.5}, r"settings 0 lr is 0.01 there and 0.5 here"),
        ({"seed": 6}, "seed is 5 there and 6 here"),
        ({"clip": None}, "clip is 1.0 there and None here"),
        ({"record": {"size": norm}}, "record is"),
        ({"steps": 20}, r"beyond the 20 steps asked for \(step 60\)"),
        ({"steps": None, "epochs": 2}, "beyond the 2 epochs"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, change, message):
    model, batches = make()
    fit(model, squared_error, batches, checkpoint=tmp_path / "c", **settings)
    with pytest.raises(CheckpointError, match=message):
        fit(model, squared_error, batches, checkpoint=tmp_path / "c", **settings | change)


def test_another_model_is_refused_by_name(tmp_path):
    model, batches = make()
    fit(model, squared_error, batches, checkpoint=tmp_path / "c", **settings)
    wider = nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Dropout(0.4), nn.Linear(9, 1))
    message = r"model 0.weight is \(8, 5\) float32 there and \(9, 5\) float32 here"
    with pytest.raises(CheckpointError, match=message):
        fit(wider, squared_error, batches, checkpoint=tmp_path / "c", **settings)


def test_divergence_names_the_step_and_the_last_loss():
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)

    scales = [1.0, 1.0, 1.0, 1.0, float("nan")]
    # the loss of step 3 is 0.998^6 = 0.98806
    with pytest.raises(TrainingDiverged, match=r"nan at step 4 \(last finite loss 0.9881\)"):
        fit(
            model,
            lambda m, scale: scale * (m.weight**2).sum(),
            scales,
            steps=9,
            optimizer=torch.optim.SGD,
            learning_rate=0.001,
        )
    assert model.weight.isfinite().all()
    assert isinstance(TrainingDiverged(), RuntimeError)


def test_weights_that_the_last_update_made_nan_are_reported():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    with pytest.raises(TrainingDiverged, match=r"made weights NaN \(step 1, its loss was 0\)"):
        fit(model, lambda m, _: (m.weight**2).sqrt().sum(), [None], steps=1)


def test_a_schedule_leaves_the_callers_learning_rate_also_after_an_error():
    model, batches = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def stop(step, values):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(
                *(model, squared_error, batches),
                steps=5,
                optimizer=optimizer,
                schedule=lambda step: 0.1,
                record={"one": lambda m: 1.0},
                record_at=[2],
                on_record=stop,
            )
        assert optimizer.param_groups[0]["lr"] == 0.5


def test_exploding_descent_is_reported():
    model, batches = make()
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        fit(model, squared_error, batches, steps=500, optimizer=torch.optim.SGD, learning_rate=1e6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "give one of steps and epochs"),
        ({"epochs": 3}, "give one of steps and epochs"),
        ({"steps": -1}, "steps must be >= 0"),
        ({"steps": None, "epochs": 0}, "epochs must be >= 1"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"clip": -1.0}, "clip must be > 0"),
        ({"checkpoint": "/no/such/folder/c"}, "existing folder"),
        ({"early_stopping": EarlyStopping("loss", 3)}, "early_stopping.monitor must be one of"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)], lr=1.0)}, "has its own"),
        ({"record": {"name": str}}, "record 'name' must return a number"),
    ],
)
def test_bad_settings_are_refused(change, message):
    model, batches = make()
    with pytest.raises(ValueError, match=message):
        fit(model, squared_error, batches, **settings | change)


@pytest.mark.parametrize(
    ("data", "message"),
    [([], "data holds no batch"), (iter([torch.ones(1, 5)] * 2), "data ended after 2 steps")],
)
def test_data_that_end_are_reported(data, message):
    model, _ = make()
    with pytest.raises(ValueError, match=message):
        fit(model, lambda m, x: m(x).mean(), data, steps=5)


def test_a_loss_that_is_no_scalar_is_refused():
    model, batches = make()
    with pytest.raises(ValueError, match=r"scalar tensor, got shape \(4, 1\)"):
        fit(model, lambda m, batch: m(batch[0]), batches, steps=5)


# ---- early stopping


def test_early_stopping_waits_and_restores_the_best(tmp_path):
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    scores = [5.0, 3.0, 4.0, 2.0, 2.5, 2.2, 9.0, 9.0, 9.0]

    def run(**extra):
        return fit(
            model,
            lambda m, _: -m.weight.sum(),  # the weight counts the steps
            [None],
            steps=8,
            optimizer=torch.optim.SGD,
            learning_rate=1.0,
            record={"score": lambda m: scores[round(m.weight.item())]},
            record_at=range(9),
            early_stopping=EarlyStopping("score", patience=2),
            **extra,
        )

    result = run(checkpoint=tmp_path / "c")
    assert (result.steps, result.best_step, result.stopped_early) == (5, 3, True)
    assert model.weight.item() == 3.0
    assert result.history["score"].tolist() == scores[:6]
    again = run(checkpoint=tmp_path / "c")
    assert (again.steps, again.best_step, again.stopped_early) == (5, 3, True)
    assert model.weight.item() == 3.0


def test_a_first_record_that_is_nan_is_not_the_best():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    scores = [float("nan"), 3.0, 2.0, float("nan"), 1.0]
    result = fit(
        model,
        lambda m, _: -m.weight.sum(),
        [None],
        steps=4,
        optimizer=torch.optim.SGD,
        learning_rate=1.0,
        record={"score": lambda m: scores[round(m.weight.item())]},
        record_at=range(5),
        early_stopping=EarlyStopping("score", patience=2),
    )
    assert (result.steps, result.best_step, result.stopped_early) == (4, 4, False)


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 4)])
def test_early_stopping_knows_which_way_is_better(mode, best):
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    scores = [2.0, 2.5, 1.0, 3.0, 9.0]
    result = fit(
        model,
        lambda m, _: -m.weight.sum(),
        [None],
        steps=4,
        optimizer=torch.optim.SGD,
        learning_rate=1.0,
        record={"score": lambda m: scores[round(m.weight.item())]},
        record_at=range(5),
        early_stopping=EarlyStopping("score", patience=4, mode=mode, restore_best=False),
    )
    assert result.best_step == best
    assert model.weight.item() == 4.0


# ---- the parts


def test_minibatches_hold_every_row_once_in_an_order_of_the_epoch():
    x = torch.arange(23)
    batches = minibatches(x, batch_size=5, seed=2)
    epochs = [torch.cat([batch[0] for batch in batches(epoch)]) for epoch in range(3)]
    assert all(torch.equal(rows.sort().values, x) for rows in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[1], torch.cat([batch[0] for batch in batches(1)]))
    assert len(batches) == len(list(batches(0))) == 5
    dropped = minibatches(x, batch_size=5, drop_last=True)
    assert [len(batch[0]) for batch in dropped(0)] == [5] * 4 == [5] * len(dropped)


def test_lengths_bring_alike_rows_together():
    lengths = np.random.default_rng(derive(0, "lengths")).integers(1, 100, size=1000)
    spread = {}
    for key in (None, lengths):
        batches = minibatches(lengths, batch_size=10, lengths=key)
        rows = [batch[0] for batch in batches(0)]
        assert sorted(torch.cat(rows).tolist()) == sorted(lengths.tolist())
        spread[key is None] = np.mean([(row.max() - row.min()).item() for row in rows])
    assert spread[False] < 0.1 * spread[True]


def test_collate_makes_the_batch():
    batches = minibatches(torch.arange(4), batch_size=2, shuffle=False, collate=lambda x: x.sum())
    assert [batch.item() for batch in batches(0)] == [1, 5]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((torch.ones(3), torch.ones(4)), r"one common first length >= 1, got \[3, 4\]"),
        ((torch.ones(0),), r"got \[0\]"),
        ((), "one tensor or more"),
    ],
)
def test_bad_minibatches_are_refused(tensors, message):
    with pytest.raises(ValueError, match=message):
        minibatches(*tensors, batch_size=2)


@pytest.mark.parametrize("total", [0, 1, 7, 1000, 123_456])
def test_log_steps_go_from_zero_to_the_end(total):
    steps = log_steps(total)
    assert steps[0] == 0
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert len(steps) <= 51
    if total >= 1000:
        gaps = np.diff(np.log(steps[-20:]))
        assert gaps.max() < 1.2 * gaps.min()


def test_time_one_step_works_on_a_copy():
    model, batches = make()
    before = weights(model).clone()
    calls = []

    def slow(model, batch):
        calls.append(1)
        time.sleep(0.02)
        return squared_error(model, batch)

    seconds = time_one_step(model, slow, next(iter(batches(0))), device="cpu")
    assert 0.02 <= seconds < 2.0
    assert len(calls) == 4
    assert torch.equal(before, weights(model))


def test_fabric_on_one_process_changes_nothing(tmp_path):
    # INDEPENDENT: the same run with and without the object that spreads it over devices
    fabric_module = pytest.importorskip("lightning_fabric")
    whole, batches = make()
    reference = fit(whole, squared_error, batches, **settings)
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    model, _ = make()
    result = fit(
        model, squared_error, batches, fabric=fabric, checkpoint=tmp_path / "c", **settings
    )
    assert_same_run((whole, reference), (model, result))
    assert stored_step(tmp_path / "c") == 60


@pytest.mark.parametrize(
    ("options", "name"), [({"steps": 2.5}, "steps"), ({"epochs": 1.5}, "epochs")]
)
def test_half_a_step_is_refused(options: dict[str, float], name: str) -> None:
    """A loop that waits for step 2.5 does not end."""
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        fit(nn.Linear(1, 1), lambda m, x: m(x).sum(), [torch.zeros(1, 1)], **options)
