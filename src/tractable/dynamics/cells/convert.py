"""The one-step map h_t = F(h_{t-1}, x_t) that every analysis of this package works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tractable.core.checks import check_choice, check_count
from tractable.dynamics.cells.gated_maps import GRUMap
from tractable.dynamics.cells.lstm_map import LSTMMap
from tractable.dynamics.cells.own_map import own_map
from tractable.dynamics.cells.rate_maps import RateMap, VanillaMap
from tractable.dynamics.cells.stacked_map import StackedMap

__all__ = ["Cell", "as_cell"]


@runtime_checkable
class Cell(Protocol):
    """One step of a recurrent network, with its Jacobians.

    ``h_t = F(h_{t-1}, x_t)`` on batches: ``state`` (B, N), ``x`` (B, D). The state is the FULL
    Markov state: an LSTM's is ``concat(h, c)``. Weights are copies; nothing requires grad.

    Attributes
    ----------
    n_state, n_input : int
        N and D.
    dt : float or None
        None: a discrete map, time in steps. A number: F is the Euler step ``v + dt f(v, x)`` of a
        continuous-time network, and the Jacobian of the field is ``(J - I) / dt``.
    bounds : (Tensor (N,), Tensor (N,)) or None
        Lower and upper corner of a box that F maps into itself; entries may be infinite.
        None: unknown.
    readout_slice : slice
        The part of the state that a readout sees (LSTM: ``slice(0, H)``).
    dtype, device
        Of the weights, of what F takes, and of what it returns.
    """

    @property
    def n_state(self) -> int:
        """Dimension N."""
        ...

    @property
    def n_input(self) -> int:
        """Dimension D."""
        ...

    @property
    def dt(self) -> float | None:
        """Time step, see above."""
        ...

    @property
    def readout_slice(self) -> slice:
        """What a readout sees."""
        ...

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Invariant box, see above."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        ...

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        ...

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        ...

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dh`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        ...

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dh`` (B, N, N) alone."""
        ...

    def pack(self, *parts: Tensor) -> Tensor:
        """Join the parts of a state, each (B, n_i), into (B, N)."""
        ...

    def unpack(self, state: Tensor) -> tuple[Tensor, ...]:
        """Split a state (B, N) into its parts (LSTM: h and c)."""
        ...

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Cell:
        """Return a copy with copied weights."""
        ...


LAYERS = (nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell)
SUPPORTED = (
    "nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell; UGRNN, UGRNNCell, RateNetwork, "
    "SequenceClassifier and whatever else has a method cell(); any object with the interface of "
    "Cell; any callable F(state, x) with n_state and n_input"
)


def as_cell(
    module: Any,
    *,
    n_state: Any = None,
    n_input: int | None = None,
    layer: int | None = None,
    direction: int | None = None,
    continuous: bool = False,
    tau: float | None = None,
    dt: float | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
    readout_slice: slice | None = None,
    jacobians: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
) -> Cell:
    r"""Return the one-step map of a recurrent module or function.

    Torch's own modules get closed-form Jacobians; weights are copied and the module is left as it
    is. Dropout between stacked layers counts as off. An object that already is a Cell comes back
    unchanged.

    Parameters
    ----------
    module : nn.Module, callable or Cell
        ``nn.RNN``, ``nn.GRU``, ``nn.LSTM`` and their ``...Cell``; the trainable modules of this
        package; any callable ``F(state, x)``, on batches or on single vectors. Note the order:
        ``nn.GRUCell`` takes ``(x, state)``, a function given here takes ``(state, x)``.
    n_state : int, torch.Size, or nested tuple or dict of these
        Own cells: width of the state, or of its parts. Default: ``module.hidden_size``.
    n_input : int
        Own cells: width of the input. Default: ``module.input_size``.
    layer : int, optional
        One layer of a stacked module; default all, as one cell with concatenated state.
    direction : {0, 1}, optional
        Of a bidirectional module: 0 forward, 1 backward (give it inputs in reversed time).
    continuous : bool
        ``module`` is a vector field f with ``tau dv/dt = f(v, x)``, and the cell its Euler map.
        An ``nn.RNN`` becomes ``tau dr/dt = -r + phi(W r + U x + b)``.
    tau : float, optional
        Time constant, > 0; default 1. Needs ``continuous``.
    dt : float, optional
        Euler step, > 0, in the unit of ``tau``; default ``tau / 10``. For an own cell without
        ``continuous``: the map is itself an Euler step of this length.
    bounds : (lower, upper), optional
        Own cells: a box that F maps into itself.
    readout_slice : slice, optional
        Own cells: what a readout sees; default all.
    jacobians : callable, optional
        Own cells: ``(state, x) -> (dF/dh (B, N, N), dF/dx (B, N, D))``.

    Returns
    -------
    Cell
        With the dtype and on the device of the module's weights.

    Raises
    ------
    TypeError
        For what is not supported; the message lists what is.
    ValueError
        A bidirectional module without ``direction``; NaN weights; an own cell that is stochastic
        or returns another shape; an argument that the cell has no use for.

    Examples
    --------
    >>> gru = torch.nn.GRU(3, 8, num_layers=2, dropout=0.5)
    >>> cell = as_cell(gru)
    >>> cell.n_state, cell.n_input, as_cell(gru, layer=1).n_state
    (16, 3, 8)
    >>> lstm = as_cell(torch.nn.LSTM(3, 8))
    >>> lstm.n_state, lstm.readout_slice
    (16, slice(0, 8, None))
    >>> own = as_cell(lambda h, x: torch.cos(h) * x, n_state=2, n_input=2)
    >>> own.n_state
    2
    """
    own = {"bounds": bounds, "readout_slice": readout_slice, "jacobians": jacobians}
    sizes = {"n_state": n_state, "n_input": n_input}
    for name, size in sizes.items():
        if isinstance(size, int | float):  # n_state may be a nest of parts
            check_count(name, size, 0)
    time = {"continuous": continuous or None, "tau": tau, "dt": dt}
    recurrent = {"layer": layer, "direction": direction}
    cell: Cell | None = None
    if isinstance(module, Cell):
        _refuse(module, own | time | recurrent)
        cell = module
    elif _is_torch(module, (nn.RNN, nn.GRU, nn.LSTM)):
        _refuse(module, own if isinstance(module, nn.RNN) else own | time)
        cell = _from_layers(module, layer, direction, continuous, tau, dt)
    elif _is_torch(module, (nn.RNNCell, nn.GRUCell, nn.LSTMCell)):
        _refuse(module, (own if isinstance(module, nn.RNNCell) else own | time) | recurrent)
        cell = _from_weights(module, "", continuous, tau, dt)
    elif callable(getattr(module, "cell", None)):
        _refuse(module, own | time | recurrent)
        cell = module.cell()
    if cell is not None:
        for name, wanted in sizes.items():
            if wanted is not None and wanted != getattr(cell, name):
                raise ValueError(
                    f"{name} of {type(module).__name__} is {getattr(cell, name)}, got {wanted}"
                )
        return cell
    if not callable(module):
        raise TypeError(
            f"unsupported cell {type(module).__name__}{_mend(module)}; supported: {SUPPORTED}"
        )
    _refuse(module, recurrent)
    n_state = getattr(module, "hidden_size", None) if n_state is None else n_state
    n_input = getattr(module, "input_size", None) if n_input is None else n_input
    if n_state is None or n_input is None:
        raise TypeError(
            f"{getattr(module, '__name__', type(module).__name__)} is none of the known modules"
            f"{_mend(module)}; an own cell F(state, x) needs n_state=... and n_input=.... "
            f"Supported: {SUPPORTED}"
        )
    return own_map(
        module,
        n_state=n_state,
        n_input=n_input,
        continuous=continuous,
        tau=tau,
        dt=dt,
        bounds=bounds,
        readout_slice=readout_slice,
        jacobians=jacobians,
    )


def _mend(module: Any) -> str:
    """Return what was probably meant by something that is no cell."""
    if isinstance(module, type):
        return f": it is a class, give a network of it, {module.__name__}(...)"
    if isinstance(module, Mapping):
        return ": weights alone are no network, build it and load them (load_state_dict)"
    if isinstance(module, nn.Module):
        parts = [
            f"{name} ({type(part).__name__})"
            for name, part in module.named_modules()
            if name and (_is_torch(part, LAYERS) or callable(getattr(part, "cell", None)))
        ]
        if parts:
            return f": it holds {', '.join(parts)}; give that part, as in net.{parts[0].split()[0]}"
    return ""


def _is_torch(module: Any, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether the module computes what torch's does: not when a subclass has its own forward."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)


def _refuse(module: Any, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} has no meaning for {type(module).__name__}, got {value!r}")


def _from_layers(
    module: nn.RNNBase,
    layer: int | None,
    direction: int | None,
    continuous: bool,
    tau: float | None,
    dt: float | None,
) -> Cell:
    """Cell of nn.RNN, nn.GRU or nn.LSTM: one layer, or all of them stacked."""
    name = type(module).__name__
    if module.bidirectional and direction is None:
        raise ValueError(
            f"a bidirectional {name} is not one dynamical system; pass direction=0 (forward) or "
            "direction=1 (backward, on inputs in reversed time)"
        )
    if direction is not None:
        check_choice("direction", direction, (0, 1) if module.bidirectional else (0,))
    if layer is not None:
        check_choice("layer", layer, range(module.num_layers))
    elif module.bidirectional and module.num_layers > 1:
        raise ValueError(
            f"layers of a bidirectional {name} read both directions of the layer below; pass "
            f"layer=0..{module.num_layers - 1} to study one"
        )
    suffix = "_reverse" if direction == 1 else ""
    chosen = range(module.num_layers) if layer is None else [layer]
    cells = [_from_weights(module, f"_l{k}{suffix}", continuous, tau, dt) for k in chosen]
    return cells[0] if len(cells) == 1 else StackedMap(tuple(cells))


def _from_weights(
    module: Any, suffix: str, continuous: bool, tau: float | None, dt: float | None
) -> Cell:
    """Read one layer's weights in torch's layout."""
    weight_ih = getattr(module, f"weight_ih{suffix}")
    weight_hh = getattr(module, f"weight_hh{suffix}")
    zero = torch.zeros_like(weight_hh[:, 0])
    bias_ih = getattr(module, f"bias_ih{suffix}") if module.bias else zero
    bias_hh = getattr(module, f"bias_hh{suffix}") if module.bias else zero
    if isinstance(module, nn.GRU | nn.GRUCell):
        return GRUMap(weight_ih, weight_hh, bias_ih, bias_hh)
    bias = bias_ih + bias_hh
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return LSTMMap(weight_ih, weight_hh, bias, getattr(module, f"weight_hr{suffix}", None))
    if continuous:
        return RateMap(
            weight_ih,
            weight_hh,
            bias,
            tau=1.0 if tau is None else tau,
            dt=dt,
            nonlinearity=module.nonlinearity,
        )
    if tau is not None or dt is not None:
        raise ValueError("tau and dt are those of a continuous-time network; pass continuous=True")
    return VanillaMap(weight_ih, weight_hh, bias, module.nonlinearity)
