"""The user's own cell: any callable F(state, x), with Jacobians by automatic differentiation."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacfwd, jacrev, vmap

from tractable.core.checks import (
    TractableWarning,
    check_count,
    check_finite,
    check_range,
    check_shape,
)
from tractable.core.seeds import seeded
from tractable.dynamics.cells.assembly import check_step
from tractable.dynamics.cells.nested import count, flatten, is_nest, lead_shape, unflatten
from tractable.dynamics.cells.probing import probe_points, probe_style

__all__ = ["OwnMap", "own_map"]

JACOBIAN_BYTES = 2**28  # memory of one chunk of automatic differentiation


@dataclass(frozen=True, eq=False)
class OwnMap:
    """A callable as a cell. Made by `own_map`, which finds out how the callable wants its input.

    Attributes
    ----------
    function : callable
        As given; a copy in evaluation mode when it is an ``nn.Module`` or a method of one.
    template : int, torch.Size, or nested tuple of these
        Shape of the state without the batch axis.
    style : {"batch", "single", "loop"}
        Whether ``function`` takes batches, or one state at a time (by vmap, or in a loop).
    inner_dtype : torch.dtype
        What ``function`` computes in; differs from ``dtype`` when it accepts only that.
    derivative : {"given", "jacfwd", "jacrev", "backward", "none"}
        How Jacobians are computed.
    """

    function: Callable[..., Any]
    template: Any
    n_state: int
    n_input: int
    style: str
    inner_dtype: torch.dtype
    dtype: torch.dtype
    device: torch.device
    dt: float | None
    tau: float | None
    box: tuple[Tensor, Tensor] | None
    readout_slice: slice
    derivative: str = "none"
    given: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    recipe: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The box given by the user, in the cell's dtype."""
        if self.box is None:
            return None
        low, high = (side.to(dtype=self.dtype, device=self.device) for side in self.box)
        return low, high

    def _single(self, state: Tensor, x: Tensor) -> Tensor:
        """F on one state (N,) and one input (D,)."""
        if self.style == "batch":
            return self._apply(state[None], x[None])[0]
        return self._apply(state, x)

    def _apply(self, state: Tensor, x: Tensor) -> Tensor:
        """Call the function on what it accepts; pack, and take the Euler step of a field."""
        parts = unflatten(state.to(self.inner_dtype), self.template)
        result = self.function(parts, x.to(self.inner_dtype))
        result = flatten(result, self.template, state.shape[:-1]).to(state.dtype)
        if self.tau is not None:
            assert self.dt is not None
            return state + (self.dt / self.tau) * result
        return result

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state (B, N)."""
        check_step(state, x, self.n_state, self.n_input)
        if len(state) == 0:
            return torch.empty_like(state)
        if self.style == "batch":
            return self._apply(state, x)
        if self.style == "single":
            return vmap(self._apply)(state, x)
        return torch.stack([self._apply(*pair) for pair in zip(state, x, strict=True)])

    def jacobians(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``dF/dh`` (B, N, N) and ``dF/dx`` (B, N, D)."""
        check_step(state, x, self.n_state, self.n_input)
        if self.given is not None:
            J, J_inp = self.given(state, x)
            check_shape("jacobians(...)[0]", J.shape, (len(state), self.n_state, self.n_state))
            check_shape("jacobians(...)[1]", J_inp.shape, (len(state), self.n_state, self.n_input))
            return J.detach().to(self.dtype), J_inp.detach().to(self.dtype)
        J, J_inp = self._differentiate(state, x, (0, 1))
        return J, J_inp

    def recurrent_jacobian(self, state: Tensor, x: Tensor) -> Tensor:
        """Return ``dF/dh`` (B, N, N)."""
        if self.given is not None:
            return self.jacobians(state, x)[0]
        check_step(state, x, self.n_state, self.n_input)
        return self._differentiate(state, x, (0,))[0]

    def _differentiate(self, state: Tensor, x: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
        """Jacobians with respect to the state (0) and the input (1)."""
        widths = (self.n_state, self.n_input)
        if len(state) == 0 or (wanted == (0, 1) and self.n_input == 0):
            J = self._differentiate(state, x, (0,))[0] if len(state) else None
            empty = [state.new_zeros(len(state), self.n_state, widths[i]) for i in wanted]
            return empty if J is None else [J, empty[1]]
        if self.derivative == "none":
            raise TypeError(
                "the cell cannot be differentiated by torch (jacfwd, jacrev and backward all "
                "failed; numpy inside?); write it in torch or pass jacobians=..."
            )
        if self.derivative == "backward":
            return self._backward(state, x, wanted)
        transform: Callable[..., Any] = jacfwd if self.derivative == "jacfwd" else jacrev
        per_point = 8 * self.n_state * sum(widths[which] for which in wanted)
        chunk = max(1, JACOBIAN_BYTES // (per_point * state.element_size()))
        result = vmap(transform(self._single, argnums=wanted), chunk_size=chunk)(state, x)
        return [J.detach() for J in result]

    def _backward(self, state: Tensor, x: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
        """One backward pass per output, for functions that torch.func cannot transform."""
        with torch.enable_grad():
            inputs = (state.detach().requires_grad_(), x.detach().requires_grad_())
            result = self(*inputs)
            rows = [
                torch.autograd.grad(
                    result[:, unit].sum(), inputs, retain_graph=True, materialize_grads=True
                )
                for unit in range(self.n_state)
            ]
        return [torch.stack([row[which] for row in rows], dim=1) for which in wanted]

    def pack(self, *parts: Any) -> Tensor:
        """Join the parts of a state, in the nesting of the template, into (B, N)."""
        bare = not is_nest(self.template) or isinstance(self.template, Mapping)
        value: Any = parts[0] if bare and len(parts) == 1 else parts
        return flatten(value, self.template, lead_shape(value, self.template))

    def unpack(self, state: Tensor) -> tuple[Any, ...]:
        """Split a state (B, N) into the parts that the function takes."""
        parts = unflatten(state, self.template)
        return tuple(parts) if isinstance(parts, tuple | list) else (parts,)

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> OwnMap:
        """Return a copy; a module's weights are copied, a function is cast around."""
        return own_map(
            self.function,
            dtype=dtype or self.dtype,
            device=device or self.device,
            derivative=self.derivative,
            **self.recipe,
        )


def own_map(
    function: Callable[..., Any],
    *,
    n_state: Any,
    n_input: int,
    continuous: bool = False,
    tau: float | None = None,
    dt: float | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
    readout_slice: slice | None = None,
    jacobians: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    derivative: str | None = None,
) -> OwnMap:
    r"""Make a cell of a callable ``F(state, x)`` or of a vector field.

    .. math:: h_t = F(h_{t-1}, x_t) \qquad \text{or} \qquad \tau\, dv/dt = f(v, x)

    Parameters
    ----------
    function : callable
        Takes ``(state, x)``, returns the next state: on batches (B, N), (B, D), or on single
        vectors (N,), (D,); which of them is found by trying. A nested state comes and goes as a
        nested tuple. An ``nn.Module`` (or a method of one) is copied and evaluated in eval mode.
    n_state : int, torch.Size, or nested tuple or dict of these
        Width of the state, or of its parts; a ``torch.Size`` is the shape of a part.
    n_input : int
        Width D of the input.
    continuous : bool
        ``function`` is a vector field; the cell is its Euler map.
    tau : float, optional
        Time constant of the field, > 0; default 1.
    dt : float, optional
        Euler step, > 0; default ``tau / 10``. Without ``continuous``: ``function`` is itself an
        Euler step of this length.
    bounds : (lower (N,), upper (N,)), optional
        A box that F maps into itself.
    readout_slice : slice, optional
        What a readout sees; default all.
    jacobians : callable, optional
        ``(state (B, N), x (B, D)) -> (dF/dh (B, N, N), dF/dx (B, N, D))``.
    dtype, device : optional
        Default: those of the module's weights; for a function float64 on the CPU when it
        accepts that, else float32 or the current GPU.
    derivative : str, optional
        How Jacobians are computed, where it is known: finding out costs three of them.

    Returns
    -------
    OwnMap
        A cell.

    Raises
    ------
    ValueError
        When the function returns another shape or NaN, or two calls differ, or it mixes the
        samples of a batch.

    Notes
    -----
    A function that closes over float32 tensors computes in float32 whatever the cell's dtype:
    values are cast on the way in and out. Residuals then end near 1e-14, not 1e-30.

    Examples
    --------
    >>> W = torch.tensor([[0.0, -0.5], [0.5, 0.0]], dtype=torch.float64)
    >>> cell = own_map(lambda h, x: torch.tanh(W @ h + x), n_state=2, n_input=2)
    >>> cell.style, cell.derivative
    ('single', 'jacfwd')
    >>> zero = torch.zeros(1, 2, dtype=torch.float64)
    >>> torch.equal(cell.recurrent_jacobian(zero, zero)[0], W)
    True
    """
    if not callable(function):
        raise TypeError(f"the cell must be callable, got {type(function).__name__}")
    template, width = n_state, count(n_state)
    check_range("n_state", width, 1)
    check_count("n_input", n_input, 0)
    recipe = dict(
        n_state=n_state,
        n_input=n_input,
        continuous=continuous,
        tau=tau,
        dt=dt,
        bounds=bounds,
        readout_slice=readout_slice,
        jacobians=jacobians,
    )
    tau, dt = _times(continuous, tau, dt)
    box = None if bounds is None else _box(bounds, width)
    function, module = _copied(function)
    places, wanted = _places(module, device), dtype
    if module is not None:
        module.to(device=places[0], dtype=dtype)
        for name, tensor in module.named_parameters():
            if tensor.is_floating_point():
                check_finite(name, tensor.detach())
                wanted = wanted or tensor.dtype
    for place in places:
        try:
            style, inner = probe_style(function, template, n_input, place, wanted)
            break
        except ValueError:
            if place == places[-1]:
                raise
    cell = OwnMap(
        function=function,
        template=template,
        n_state=width,
        n_input=n_input,
        style=style,
        inner_dtype=inner,
        dtype=wanted or inner,
        device=place,
        dt=dt,
        tau=tau,
        box=box,
        readout_slice=slice(0, width) if readout_slice is None else readout_slice,
        given=jacobians,
        recipe=recipe,
    )
    known = "given" if jacobians else derivative or _derivative(cell)
    object.__setattr__(cell, "derivative", known)
    return cell


def _times(
    continuous: bool, tau: float | None, dt: float | None
) -> tuple[float | None, float | None]:
    if tau is not None:
        check_range("tau", tau, 0.0, open_low=True)
        if not continuous:
            raise ValueError("tau is the time constant of a vector field; pass continuous=True")
    if dt is not None:
        check_range("dt", dt, 0.0, open_low=True)
    if continuous:
        tau = 1.0 if tau is None else float(tau)
        dt = tau / 10 if dt is None else float(dt)
    return tau, dt


def _box(bounds: tuple[Tensor, Tensor], width: int) -> tuple[Tensor, Tensor]:
    low, high = (torch.as_tensor(side, dtype=torch.float64) for side in bounds)
    low, high = low.expand(width).clone(), high.expand(width).clone()
    if not bool((low <= high).all()):  # false for NaN too
        raise ValueError("bounds must be (lower, upper) with lower <= upper, without NaN")
    return low, high


def _copied(function: Callable[..., Any]) -> tuple[Callable[..., Any], nn.Module | None]:
    """Copy a module (or the module of a method) in evaluation mode; leave functions alone."""
    owner = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    if not isinstance(owner, nn.Module):
        return function, None
    try:
        module = copy.deepcopy(owner).eval().requires_grad_(False)
    except (RuntimeError, TypeError) as error:
        raise TypeError(
            f"{type(owner).__name__} cannot be copied ({error}); pass a function "
            "lambda state, x: module(state, x) instead"
        ) from error
    if owner is function:
        return module, module
    return getattr(module, function.__name__), module


def _places(module: nn.Module | None, device: torch.device | str | None) -> list[torch.device]:
    """Return where to try the function: a plain one may close over tensors on a GPU."""
    if device is not None:
        return [torch.device(device)]
    if module is not None:
        tensors = [*module.parameters(), *module.buffers()]
        return [tensors[0].device if tensors else torch.device("cpu")]
    gpu = [torch.device("cuda", torch.cuda.current_device())] if torch.cuda.is_available() else []
    return [torch.device("cpu"), *gpu]


def _derivative(cell: OwnMap) -> str:
    """Find the first way of differentiating that agrees with finite differences."""
    state, x = probe_points(3, cell.n_state, cell.n_input, cell.dtype, cell.device)
    step = torch.finfo(cell.inner_dtype).eps ** (1 / 3)
    direction = probe_points(6, cell.n_state, 0, cell.dtype, cell.device)[0][3:] * 10
    first, error = "none", 0.0
    with seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, at the first jacfwd
        with torch.no_grad():
            ahead, behind = cell(state + step * direction, x), cell(state - step * direction, x)
        secant = (ahead - behind) / (2 * step)
        for name in ("jacfwd", "jacrev", "backward"):
            try:
                J = replace(cell, derivative=name)._differentiate(state, x, (0, 1))[0]
            except Exception:  # torch.func refuses in many ways; the next one may work
                continue
            slope = (J @ direction[..., None])[..., 0]
            scale = slope.norm(dim=1) + secant.norm(dim=1) + torch.finfo(cell.dtype).tiny
            miss = float(((slope - secant).norm(dim=1) / scale).median())
            if miss < 0.05:
                return name
            if first == "none":
                first, error = name, miss
    if first != "none":
        warnings.warn(
            f"the cell's derivative by {first} differs from finite differences by "
            f"{error:.0%} near 0 (detached values or a surrogate gradient?); Jacobians are those "
            "of torch. Pass jacobians=... to give your own.",
            TractableWarning,
            stacklevel=4,
        )
    return first
