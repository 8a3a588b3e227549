"""Layers in a row: run window after window, the whole state in hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tractable.core.checks import check_count
from tractable.core.seeds import derive
from tractable.spiking.backend import Backend
from tractable.spiking.encode import SpikeEvents
from tractable.spiking.layer import LayerOutput, LayerState, LIFLayer
from tractable.spiking.params import Integrator, LIFParams

__all__ = ["NetOutput", "SpikingNet"]


@dataclass(frozen=True)
class NetOutput:
    """What a network did in a window.

    Attributes
    ----------
    layers : tuple of LayerOutput
        One for each layer, first to last.
    """

    layers: tuple[LayerOutput, ...]

    @property
    def spikes(self) -> Tensor:
        """Spikes of the last layer, (T, B, n_out)."""
        return self.layers[-1].spikes

    @property
    def state(self) -> tuple[LayerState, ...]:
        """State of every layer after the window."""
        return tuple(out.state for out in self.layers)


class SpikingNet(nn.Module):
    """Layers of spiking neurons, each fed by the one before.

    Parameters
    ----------
    layers : sequence of LIFLayer
        Their widths must fit and their time steps be equal.

    Examples
    --------
    >>> net = SpikingNet.of_sizes(100, 4, 1, seed=1)
    >>> spikes = torch.rand(1000, 1, 100) < 1e-3
    >>> net.simulate(spikes).spikes.shape
    torch.Size([1000, 1, 1])
    """

    layers: Sequence[LIFLayer]

    def __init__(self, layers: Sequence[LIFLayer]) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers must hold a layer, got none")
        for i, (first, second) in enumerate(itertools.pairwise(layers)):
            if first.n_out != second.n_in:
                raise ValueError(
                    f"layer {i} has {first.n_out} neurons but layer {i + 1} takes {second.n_in} "
                    "inputs"
                )
            if first.params.dt != second.params.dt:
                raise ValueError(
                    f"all layers must have one dt, got {first.params.dt} ms in layer {i} and "
                    f"{second.params.dt} ms in layer {i + 1}"
                )
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]  # of LIFLayers

    @classmethod
    def of_sizes(
        cls,
        *sizes: int,
        params: LIFParams | None = None,
        w0: float | Sequence[float] = 50.0,
        integrator: Integrator = "exact",
        surrogate: str = "fast_sigmoid",
        recurrent: bool = False,
        backend: Backend = "auto",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> SpikingNet:
        """Return a network with layers of the given sizes, inputs first.

        Parameters
        ----------
        *sizes : int
            Two or more.
        params : LIFParams, optional
            Constants of all neurons.
        w0 : float or sequence of float
            Initial scale, of all layers or of each, see `LIFLayer`.
        integrator, surrogate, backend, dtype
            As in `LIFLayer`.
        recurrent : bool
            Weights within every hidden layer.
        seed : int
            Decides the initial weights.
        """
        if len(sizes) < 2:
            raise ValueError(f"sizes must be two or more numbers, got {sizes}")
        scales = [w0] * (len(sizes) - 1) if isinstance(w0, int | float) else list(w0)
        if len(scales) != len(sizes) - 1:
            raise ValueError(f"w0 must hold {len(sizes) - 1} numbers, got {len(scales)}")
        check_count("seed", seed, 0)
        last = len(sizes) - 2
        return cls(
            [
                LIFLayer(
                    n,
                    m,
                    params,
                    w0=scale,
                    integrator=integrator,
                    surrogate=surrogate,
                    recurrent=recurrent and i < last,
                    backend=backend,
                    seed=derive(seed, "layer", i),
                    dtype=dtype,
                )
                for i, (n, m, scale) in enumerate(zip(sizes[:-1], sizes[1:], scales, strict=True))
            ]
        )

    @property
    def dt(self) -> float:
        """Time step, ms."""
        return float(self.layers[0].params.dt)

    def initial_state(self, n_batch: int) -> tuple[LayerState, ...]:
        """Return the state of rest."""
        return tuple(layer.initial_state(n_batch) for layer in self.layers)

    def forward(
        self,
        spikes: Tensor,
        state: tuple[LayerState, ...] | None = None,
        *,
        record: Iterable[str] = (),
    ) -> NetOutput:
        """Run all layers over a window, layer after layer; see `LIFLayer.forward`."""
        states = state or self.initial_state(spikes.shape[1])
        record, found = tuple(record), []
        for layer, before in zip(self.layers, states, strict=True):
            out = layer(spikes, before, record=record)
            found.append(out)
            spikes = out.spikes
        return NetOutput(tuple(found))

    @torch.no_grad()
    def simulate(
        self,
        spikes: Tensor | SpikeEvents,
        state: tuple[LayerState, ...] | None = None,
        *,
        record: Iterable[str] = (),
    ) -> NetOutput:
        """Run all layers without a graph, in the compiled loop where there is one.

        Parameters
        ----------
        spikes : Tensor or SpikeEvents
            Input spikes, (T, B, n_in), bool or 0 and 1; or one sample as a list of events, which
            is put on the grid of ``dt``.
        state : tuple of LayerState, optional
            Where the window before ended.
        record : iterable of str
            ``"current"`` keeps the currents too.

        Returns
        -------
        NetOutput
        """
        if isinstance(spikes, SpikeEvents):
            spikes = spikes.raster(self.dt).to(self.layers[0].weight.device)
        return self.forward(spikes, state, record=record)
