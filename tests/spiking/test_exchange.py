"""Files and other packages: what is written is read again, and others read it too."""

from __future__ import annotations

from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch

from tractable.core.checks import TractableWarning, quiet
from tractable.spiking import (
    LIFParams,
    SpikeEvents,
    SpikingNet,
    from_image,
    from_nir,
    from_tonic,
    iter_shd,
    poisson_frozen,
    rate,
    read_ras,
    to_nir,
    write_ras,
)

FREE = LIFParams(t_ref=0.0, delay=0.0)


def test_ras_round_trip(tmp_path: Path) -> None:
    events = poisson_frozen(7, 20.0, 300.0, seed=1)
    path = tmp_path / "spikes.ras"
    write_ras(path, events)
    back = read_ras(path, n_units=7, duration_ms=300.0, one_based=False)
    np.testing.assert_allclose(back.times_ms, events.times_ms, atol=1e-3)
    np.testing.assert_array_equal(back.units, events.units)
    path.write_text("0.001 1\n0.002 2  # a comment\n")
    assert read_ras(path, n_units=2).units.tolist() == [0, 1]  # counts from one
    path.write_text("0.0999 0\n0.1 0\n")  # the last has a step of its own
    assert read_ras(path).raster()[:, 0, 0].nonzero().ravel().tolist() == [999, 1000]
    path.write_text("0.001 1\nnonsense\n")
    with pytest.raises(ValueError, match="line 2"):
        read_ras(path)


def test_shd_and_tonic(tmp_path: Path) -> None:
    path = tmp_path / "shd.h5"
    kinds = h5py.vlen_dtype(np.float32), h5py.vlen_dtype(np.int32)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (2,), dtype=kinds[0])
        units = file.create_dataset("spikes/units", (2,), dtype=kinds[1])
        times[0], units[0] = [0.02, 0.01], [3, 5]
        times[1], units[1] = [0.001], [699]
        file["labels"] = [4, 9]
    samples = list(iter_shd(path))
    assert [label for _, label in samples] == [4, 9]
    np.testing.assert_allclose(samples[0][0].times_ms, [10.0, 20.0], rtol=1e-6)
    assert samples[0][0].units.tolist() == [5, 3]
    with h5py.File(path, "a") as file:
        del file["labels"]
    with pytest.raises(ValueError, match="labels"):
        next(iter_shd(path))
    raw = np.array([(2000, 1), (500, 0)], dtype=[("t", int), ("x", int)])
    assert from_tonic(raw, 3).times_ms.tolist() == [0.5, 2.0]
    assert from_tonic(raw, 3).raster()[:, 0].nonzero().tolist() == [[5, 0], [20, 1]]
    with pytest.raises(ValueError, match="fields t and x"):
        from_tonic(np.zeros(3), 3)


def test_pictures_and_rates() -> None:
    image = np.eye(4, dtype=bool)
    events = from_image(image, jitter=False)
    assert events.units.tolist() == [3, 2, 1, 0]
    assert events.times_ms.tolist() == [5.0, 15.0, 25.0, 35.0]
    events = rate([0.0, 0.25, 1.0], 100.0, 200_000.0, seed=1)
    counts = np.bincount(events.units, minlength=3)
    assert counts.tolist() == pytest.approx([0, 5000, 20_000], abs=4 * 20_000**0.5)
    assert counts[2] == pytest.approx(20_000, rel=0.03)


@pytest.mark.parametrize("convention", ["portable", "physical"])
def test_nir_gives_the_same_raster(convention: str, tmp_path: Path) -> None:
    net = SpikingNet.of_sizes(20, 9, 4, w0=[150.0, 120.0], dtype=torch.float64, seed=2)
    inputs = torch.from_numpy(np.random.default_rng(0).random((2000, 2, 20)) < 0.004)
    with pytest.warns(TractableWarning, match="delay and t_ref stand in the metadata only"):
        graph = to_nir(net, convention=convention)  # type: ignore[arg-type]  # parametrized
    path = tmp_path / "net.nir"
    nir.write(path, graph)
    for source in (graph, path):
        back = from_nir(source, dtype=torch.float64)
        assert back.layers[0].params == net.layers[0].params
        ours, theirs = net.simulate(inputs), back.simulate(inputs)
        assert int(ours.spikes.sum()) > 5
        assert torch.equal(ours.spikes, theirs.spikes)


def test_nir_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="layer 0 has recurrent weights"), quiet():
        to_nir(SpikingNet.of_sizes(3, 2, 2, recurrent=True))
    ours = SpikingNet.of_sizes(3, 2, params=FREE)
    graph = to_nir(ours)
    bare = nir.CubaLIF(  # without metadata, scalar parameters, without reset
        *(np.array(x) for x in (0.005, 0.01, 1.0, 0.0, 10.0)),
        w_in=np.array(50.0),
    )
    nodes = {**graph.nodes, "lif_0": bare}
    back = from_nir(nir.NIRGraph(nodes, graph.edges, type_check=False))
    assert back.layers[0].integrator == "peer_euler"
    assert back.layers[0].params.threshold == 10.0
    # a spike of one step in a foreign graph; in ours a jump by the weight, whatever the step
    coarse = from_nir(nir.NIRGraph(nodes, graph.edges, type_check=False), dt=0.2)
    torch.testing.assert_close(coarse.layers[0].weight, 2 * back.layers[0].weight)
    torch.testing.assert_close(from_nir(graph, dt=0.2).layers[0].weight, ours.layers[0].weight)
    mixed = nir.CubaLIF(*(np.array(x) for x in ([0.005] * 2, [0.01, 0.02], [1.0] * 2, [0.0] * 2,
                                                [10.0] * 2)))  # fmt: skip
    with pytest.raises(ValueError, match="tau_mem of node 'lif_0' differs"):
        from_nir(nir.NIRGraph({**graph.nodes, "lif_0": mixed}, graph.edges, type_check=False))
    conv = nir.Scale(np.ones(2))
    with pytest.raises(ValueError, match="'lif_0' is a Scale"):
        from_nir(nir.NIRGraph({**graph.nodes, "lif_0": conv}, graph.edges, type_check=False))
    loop = nir.NIRGraph(graph.nodes, [*graph.edges[:2], ("lif_0", "linear_0")], type_check=False)
    with pytest.raises(ValueError, match="loop"):
        from_nir(loop)


@pytest.mark.peer
def test_snntorch_reads_the_graph_and_gives_the_same_voltage() -> None:
    snntorch = pytest.importorskip("snntorch")
    pytest.importorskip("nirtorch")
    from snntorch.import_nir import import_from_nir

    net = SpikingNet.of_sizes(6, 3, params=FREE, w0=1.5, integrator="peer_euler", seed=1)
    inputs = (torch.from_numpy(np.random.default_rng(0).random((400, 1, 6))) < 0.05).float()
    ours = net.simulate(inputs)
    assert int(ours.spikes.sum()) == 0  # subthreshold
    peer = import_from_nir(to_nir(net))
    linear = next(m for m in peer.modules() if isinstance(m, torch.nn.Linear))
    neuron = next(m for m in peer.modules() if isinstance(m, snntorch.Synaptic))
    theirs = []
    with torch.no_grad():
        for x in inputs:
            neuron(linear(x))
            theirs.append(neuron.mem.reshape(-1).clone())
    assert float((torch.stack(theirs) - ours.layers[0].v[:, 0]).abs().max()) <= 1e-4
    assert float(ours.layers[0].v.abs().max()) > 0.5


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the reader that Norse calls
def test_norse_reads_the_graph_and_gives_the_same_voltage() -> None:
    norse = pytest.importorskip("norse.torch")
    net = SpikingNet.of_sizes(6, 3, params=FREE, w0=1.5, integrator="peer_euler", seed=1)
    inputs = (torch.from_numpy(np.random.default_rng(0).random((400, 1, 6))) < 0.05).float()
    ours = net.simulate(inputs)
    peer, state, theirs = norse.from_nir(to_nir(net), dt=1e-4), None, []
    with torch.no_grad():
        for x in inputs:
            _, state = peer(x, state)
            theirs.append(state.state["lif_0"][0][1].v.reshape(-1).clone())
    assert float((torch.stack(theirs) - ours.layers[0].v[:, 0]).abs().max()) <= 1e-4


def test_events_and_rasters() -> None:
    events = SpikeEvents([0.04, 0.1], [1, 0], 2, 0.3)  # type: ignore[arg-type]  # lists are taken
    raster = events.raster(0.1)
    assert raster.nonzero().tolist() == [[0, 0, 1], [1, 0, 0]]
    back = SpikeEvents.from_raster(raster, 0.1)
    assert back.units.tolist() == [1, 0]
    with pytest.raises(ValueError, match="shape"):
        SpikeEvents.from_raster(torch.zeros(2, 3, 4), 0.1)
