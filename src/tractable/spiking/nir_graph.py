"""Exchange with other packages through the Neuromorphic Intermediate Representation."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from tractable.core.checks import TractableWarning, check_choice, check_range
from tractable.spiking.layer import LIFLayer
from tractable.spiking.network import SpikingNet
from tractable.spiking.params import INTEGRATORS, Integrator, LIFParams

if TYPE_CHECKING:
    import nir

__all__ = ["from_nir", "to_nir"]

CONVENTIONS = ("portable", "physical")
_OURS = ("t_ref", "v_rest", "delay", "beta", "dt")


def to_nir(
    net: SpikingNet, *, convention: Literal["portable", "physical"] = "portable"
) -> nir.NIRGraph:
    r"""Return the network as a graph: Input, then Linear and CubaLIF for each layer, Output.

    NIR holds a spike for one step, so that the current jumps by ``w_in dt / tau_syn`` times the
    weight. Two gauges of the same network:

    ========== ============== ================ =================
    convention w_in           r                weight
    ========== ============== ================ =================
    portable   tau_syn / dt   tau_mem / dt     W dt / tau_mem
    physical   tau_syn / dt   1                W
    ========== ============== ================ =================

    Parameters
    ----------
    net : SpikingNet
        Without recurrent weights.
    convention : str
        ``portable`` is the gauge that snnTorch and Norse import; ``physical`` is refused by
        snnTorch.

    Returns
    -------
    nir.NIRGraph
        Times in seconds, voltages in mV relative to rest. Refractory time, delay, steepness, dt
        and integrator have no field in NIR and stand in the metadata.

    Raises
    ------
    ValueError
        For recurrent weights.

    Examples
    --------
    >>> graph = to_nir(SpikingNet.of_sizes(3, 2, params=LIFParams(t_ref=0.0, delay=0.0)))
    >>> sorted(graph.nodes)
    ['input', 'lif_0', 'linear_0', 'output']
    """
    import nir

    check_choice("convention", convention, CONVENTIONS)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([net.layers[0].n_in])})}
    edges, last = [], "input"
    dropped = set()
    for k, layer in enumerate(net.layers):
        if layer.recurrent_weight is not None:
            raise ValueError(f"layer {k} has recurrent weights, which are not exported")
        p, shape = layer.params, (layer.n_out,)
        dropped |= {name for name in ("t_ref", "delay") if getattr(p, name) > 0}
        gauge = p.tau_mem / p.dt if convention == "portable" else 1.0
        weight = layer.weight.detach().cpu().numpy()
        ours = {name: getattr(p, name) for name in _OURS}
        ours |= {"integrator": layer.integrator, "reset": layer.reset, "surrogate": layer.surrogate}
        nodes[f"linear_{k}"] = nir.Linear(weight / gauge)
        nodes[f"lif_{k}"] = nir.CubaLIF(
            tau_syn=np.full(shape, p.tau_syn / 1000),
            tau_mem=np.full(shape, p.tau_mem / 1000),
            r=np.full(shape, gauge),
            v_leak=np.zeros(shape),
            v_threshold=np.full(shape, p.threshold),
            v_reset=np.zeros(shape),
            w_in=np.full(shape, p.tau_syn / p.dt),
            metadata={"tractable": json.dumps(ours)},
        )
        edges += [(last, f"linear_{k}"), (f"linear_{k}", f"lif_{k}")]
        last = f"lif_{k}"
    nodes["output"] = nir.Output({"output": np.array([net.layers[-1].n_out])})
    edges.append((last, "output"))
    if dropped:
        warnings.warn(
            f"{' and '.join(sorted(dropped))} stand in the metadata only and are dropped by "
            "other packages; export networks with t_ref=0 and delay=0 to run there",
            TractableWarning,
            stacklevel=2,
        )
    return nir.NIRGraph(nodes, edges)


def from_nir(
    graph: nir.NIRGraph | str | Path,
    *,
    dt: float | None = None,
    integrator: Integrator | None = None,
    dtype: torch.dtype = torch.float32,
) -> SpikingNet:
    """Return the network of a graph in a row of Linear (or Affine without bias) and CubaLIF.

    Parameters
    ----------
    graph : nir.NIRGraph or path
        A graph, or the file that holds it.
    dt : float, optional
        Time step, ms; that of the metadata, or 0.1, when absent. A graph without our metadata
        holds a spike for one step, so that its weights are proportional to ``dt``; one with them
        keeps its weights.
    integrator : str, optional
        ``exact``, ``euler`` or ``peer_euler`` (that of other packages); by default that of the
        metadata, or ``peer_euler``.
    dtype : torch.dtype
        Type of the weights.

    Raises
    ------
    ValueError
        For nodes or connections that are not supported, by name.
    """
    import nir

    found = nir.read(graph) if isinstance(graph, str | Path) else graph
    if dt is not None:
        check_range("dt", dt, 0, open_low=True, open_high=True)
    if integrator is not None:
        check_choice("integrator", integrator, INTEGRATORS)
    chain = _chain(found)
    if len(chain) % 2:
        raise ValueError(
            f"the graph must be a row of Linear and CubaLIF nodes, got {[n for n, _ in chain]}"
        )
    layers = [
        _layer(chain[i], chain[i + 1], dt, integrator, dtype) for i in range(0, len(chain), 2)
    ]
    return SpikingNet(layers)


def _chain(graph: nir.NIRGraph) -> list[tuple[str, Any]]:
    """Return the nodes between input and output in order."""
    import nir

    following: dict[str, list[str]] = {}
    for source, target in graph.edges:
        following.setdefault(source, []).append(target)
    starts = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    if len(starts) != 1:
        raise ValueError(f"the graph must have one Input, got {len(starts)}")
    chain: list[tuple[str, Any]] = []
    name, seen = starts[0], set(starts)
    while True:
        targets = following.get(name, [])
        if len(targets) != 1:
            raise ValueError(f"node {name!r} must lead to one node, got {targets}")
        name = targets[0]
        node = graph.nodes[name]
        if isinstance(node, nir.Output):
            return chain
        if name in seen:
            raise ValueError(f"the graph has a loop through node {name!r}; loops are not imported")
        seen.add(name)
        if not isinstance(node, nir.Linear | nir.Affine | nir.CubaLIF):
            raise ValueError(
                f"node {name!r} is a {type(node).__name__}; Linear, Affine without bias and "
                "CubaLIF are imported"
            )
        chain.append((name, node))


def _layer(
    linear: tuple[str, Any],
    neuron: tuple[str, Any],
    dt: float | None,
    integrator: Integrator | None,
    dtype: torch.dtype,
) -> LIFLayer:
    import nir

    (linear_name, weights), (name, lif) = linear, neuron
    if isinstance(weights, nir.CubaLIF) or not isinstance(lif, nir.CubaLIF):
        raise ValueError(f"nodes {linear_name!r} and {name!r} must be Linear and CubaLIF, in order")
    if isinstance(weights, nir.Affine) and np.any(weights.bias != 0):
        raise ValueError(f"node {linear_name!r} has a bias, which the layers do not have")
    ours = json.loads(_metadata(lif).get("tractable", "{}"))
    step = dt if dt is not None else float(ours.get("dt", 0.1))
    tau_syn, tau_mem = (1000 * _one(name, lif, field) for field in ("tau_syn", "tau_mem"))
    leak, reset = _one(name, lif, "v_leak"), _one(name, lif, "v_reset")
    if abs(leak - reset) > 1e-9:
        raise ValueError(f"node {name!r} resets to {reset:g}, not to its rest {leak:g}")
    rest = float(ours.get("v_rest", leak))
    threshold = _one(name, lif, "v_threshold") - leak
    params = LIFParams(
        tau_mem=tau_mem, tau_syn=tau_syn, t_ref=float(ours.get("t_ref", 0.0)), v_rest=rest,
        v_th=rest + threshold, delay=float(ours.get("delay", 0.0)),
        beta=float(ours.get("beta", 1.0)), dt=step,
    )  # fmt: skip
    held = float(ours.get("dt", step))  # how long a spike lasted where the graph was made
    scale = np.broadcast_to(lif.w_in * lif.r * held / tau_syn, (len(weights.weight),))
    matrix = np.asarray(weights.weight, dtype=np.float64) * scale[:, None]
    layer = LIFLayer(
        matrix.shape[1], matrix.shape[0], params,
        integrator=integrator or ours.get("integrator", "peer_euler"),
        reset=ours.get("reset", "clamp"), surrogate=ours.get("surrogate", "fast_sigmoid"),
        dtype=dtype,
    )  # fmt: skip
    layer.weight.data = torch.tensor(matrix, dtype=dtype)
    return layer


def _metadata(node: Any) -> dict[str, Any]:
    value = getattr(node, "metadata", None)
    metadata = value if isinstance(value, dict) else {}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in metadata.items()}


def _one(name: str, node: Any, field: str) -> float:
    values = np.unique(np.asarray(getattr(node, field), dtype=float))
    if len(values) != 1:
        raise ValueError(
            f"{field} of node {name!r} differs between neurons ({values.min():g} to "
            f"{values.max():g}); one value per layer is imported"
        )
    return float(values[0])
