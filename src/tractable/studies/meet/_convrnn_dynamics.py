"""Training, states and modes of `meet-convrnn-dynamics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from tractable.core.checks import quiet
from tractable.dynamics import as_cell, decompose, eigenvalues, find_points
from tractable.studies.vision import _convrnn_parts as recall
from tractable.vision.convrnn import ConvRNN, NodeMap
from tractable.vision.convrnn.recall import movie_batches
from tractable.vision.convrnn.training import train

if TYPE_CHECKING:
    from tractable.studies.meet.meet_convrnn_dynamics import MeetConvrnnDynamics

VARIANT = "C"
NODE = "v2"
BIASES = {"tau_bias": -2.0, "gate_bias": -1.0}
AT_REST = 0.05  # of the first speed, after the longest delay
N_ROOTS = 12  # starts of the search for fixed points
ONE = {"units": "1"}
SPEED = {"units": "1", "long_name": "distance that the state moves in a step"}


def task_steps() -> int:
    """Return the steps from the first digit to the readout."""
    return recall.tasks()[VARIANT].n_frames - 1


# --- theory ----------------------------------------------------------------------------------


def summed_powers(z: np.ndarray, delays: np.ndarray) -> np.ndarray:
    """Return 1 + z + ... + z^(D-1) for each delay D, on a new last axis.

    Examples
    --------
    >>> summed_powers(np.array([0.5, 1.0]), np.array([1, 3])).real.tolist()
    [[1.0, 1.75], [1.0, 3.0]]
    """
    base = np.asarray(z)[..., None]
    near = np.abs(1 - base) < 1e-9
    safe = np.where(near, 0.0, base)
    return np.where(near, delays, (1 - safe**delays) / (1 - safe))


def explained(theory: xr.Dataset, measured: xr.Dataset) -> xr.DataArray:
    """Return the share of the logits' squared change that each forecast explains; at most 1."""
    axes = ("state", "digit")
    missed = ((measured.change - theory.change) ** 2).sum(axes)
    return 1 - missed / (measured.change**2).sum(axes)


# --- measurement -----------------------------------------------------------------------------


def graph(cell: str, width: int) -> Any:
    """Return the recall network of a cell."""
    return recall.recall_spec(cell, width, **BIASES)


def blank_map(net: ConvRNN) -> tuple[NodeMap, torch.Tensor]:
    """Return the cell's update while blank frames are shown, and what the cell's node sees then."""
    task = recall.tasks()[VARIANT]
    blank = torch.full((1, *recall.DIGIT_SHAPE), task.blank, dtype=torch.float64)
    with torch.no_grad():
        below = net.layers["v1"](blank, None, {})[0]
    return net.step_map(NODE, below), below


def logits(net: ConvRNN, step: NodeMap, below: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Return what the readout makes of flat states."""
    layer: Any = net.layers[NODE]
    return net.read(layer.finish(step.states(flat)[0], below.expand(len(flat), -1, -1, -1)))


def hold(
    cell: str,
    width: int,
    updates: int,
    batch_size: int,
    learning_rate: float,
    n_test: int,
    n_states: int,
    delays: tuple[int, ...],
    seed: int,
    device: str,
) -> xr.Dataset:
    """Train a network, show blank frames after the last distractor, and take its cell apart."""
    images, labels, test_images, test_labels = recall.digits(n_test)
    task: Any = recall.tasks()[VARIANT]
    net = recall.network(graph(cell, width), seed)
    untrained = spectrum_untrained(net)
    batches = movie_batches(task, images, labels, batch_size=batch_size, seed=seed)
    train(net, batches, steps=updates, learning_rate=learning_rate, seed=seed, device=device,
          progress=False)  # fmt: skip
    net = net.cpu().double().eval()
    movies = recall.movies_of(task, test_images, seed).double()
    step, below = blank_map(net)
    with torch.no_grad():
        shown = net(movies[:, : task.n_frames - task.n_tail], keep_state=True)
        first = step.flat(shown.states[NODE])
        course = blanks(net, step, below, first, delays)
    few = first[:n_states]
    modes = modes_at(net, step, below, few)
    accuracy = (course["logits"].argmax(-1) == test_labels).double().mean(1)
    change = course["logits"][1:, :n_states] - course["logits"][0, :n_states]
    at_rest = bool(course["speed"][-1] <= AT_REST * course["speed"][0])
    roots = count_roots(step, course["last"][:N_ROOTS]) if at_rest else -1
    return xr.Dataset(
        {
            "accuracy": ("delay", accuracy[1:].numpy(), ONE),
            "speed": ("delay", course["speed"][1:].numpy(), SPEED),
            "change": (("delay", "state", "digit"), change.numpy(), ONE),
            "eigenvalue": (("state", "mode", "part"), apart(modes["eigenvalue"]), ONE),
            "share": (("state", "mode", "digit", "part"), apart(modes["share"]), ONE),
            "untrained": (("mode", "part"), apart(untrained), ONE),
            "n_roots": ((), roots, {**ONE, "long_name": "fixed points found; -1: not at rest"}),
        },
        coords={"delay": list(delays), "part": ["real", "imaginary"]},
    )


def apart(values: torch.Tensor) -> np.ndarray:
    """Return real and imaginary parts on a new last axis."""
    return torch.view_as_real(values.to(torch.complex128)).numpy()


def spectrum_untrained(net: ConvRNN) -> torch.Tensor:
    """Return the eigenvalues before training, after blank frames from a state of zeros."""
    twin = ConvRNN(net.spec, in_shape=net.in_shape, unroll="engineering").double().eval()
    twin.load_state_dict(net.state_dict())
    step, below = blank_map(twin)
    flat = torch.zeros(1, step.n, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(task_steps()):
            flat = step(flat)
    return eigenvalues(twin.jacobian(NODE, step.states(flat), below).detach())[0]


def blanks(
    net: ConvRNN, step: NodeMap, below: torch.Tensor, first: torch.Tensor, delays: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """Return logits and mean speed at the beginning and after each delay, and the last states."""
    flat, seen, speed = first, [], []
    for t in range(max(delays) + 1):
        after = step(flat)
        if t == 0 or t in delays:
            seen.append(logits(net, step, below, flat))
            speed.append((after - flat).norm(dim=1).mean())
        if t < max(delays):
            flat = after
    return {"logits": torch.stack(seen), "speed": torch.stack(speed), "last": flat}


def modes_at(
    net: ConvRNN, step: NodeMap, below: torch.Tensor, states: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return eigenvalues at each state, and what each mode of the first step adds to the logits."""
    zero = torch.zeros(1, step.n, dtype=torch.float64)
    eye = torch.eye(step.n, dtype=torch.float64)
    with torch.no_grad():
        readout = (logits(net, step, below, eye) - logits(net, step, below, zero)).T
    values, shares = [], []
    for flat in states:
        jacobian = net.jacobian(NODE, step.states(flat[None]), below).detach()
        found = decompose(jacobian)
        with torch.no_grad():
            move = (step(flat) - flat).to(torch.complex128)
        written = readout.to(torch.complex128) @ found.right[0]
        values.append(found.eigvals[0])
        shares.append((written * (found.left[0] @ move)).T)
    return {"eigenvalue": torch.stack(values), "share": torch.stack(shares)}


def count_roots(step: NodeMap, starts: torch.Tensor) -> int:
    """Return the number of fixed points that are reached from some states at rest."""
    map_ = as_cell(step, n_state=step.n, n_input=1)
    with quiet():  # some starts may not arrive: the number counts those that do
        return len(find_points(map_, starts, kind="root", max_iter=30, progress=False))


def cost_of(study: MeetConvrnnDynamics) -> tuple[float, float, float]:
    """Return operations, bytes and seconds of the study, from one update of each cell."""
    task = recall.tasks()[VARIANT]
    images, labels = recall.digits(study.n_test)[:2]
    total, most, seconds = 0.0, 0.0, 0.0
    for cell in study.cells:
        net = recall.network(graph(cell, study.width), 0)
        batches = movie_batches(task, images, labels, batch_size=study.batch_size, seed=0)
        work, memory, time = recall.training_cost(net, next(batches(0)), study.updates)
        n = blank_map(net.double())[0].n
        modes = 30.0 * n**3 * (study.n_states + 1)
        total += study.n_seeds * (work + modes)
        seconds += study.n_seeds * (time + modes / 3e9)
        most = max(most, memory, 32.0 * n**2 * study.n_states)
    return total, most, seconds
