"""Fixed points, local minima of the speed, and points of slow manifolds."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tractable.core.checks import (
    TractableWarning,
    check_choice,
    check_count,
    check_finite,
    check_generator,
    check_range,
    check_shape,
)
from tractable.dynamics.cells import Cell, as_cell
from tractable.dynamics.points.gradient_solvers import adam, anderson, lbfgs
from tractable.dynamics.points.harvest import Request, harvest
from tractable.dynamics.points.krylov import krylov
from tractable.dynamics.points.point_set import (
    KINDS,
    Q_CONVENTIONS,
    PointSet,
    Rejected,
    Scan,
)
from tractable.dynamics.points.search import (
    ACTIVE,
    BELOW_TOL,
    MAX_NEWTON_STATE,
    NON_FINITE,
    Search,
    Watch,
)
from tractable.dynamics.points.selection import q_factor
from tractable.dynamics.points.slow_solvers import chord, damped
from tractable.dynamics.points.solvers import lm, newton, relax
from tractable.dynamics.readout import linear_readout

__all__ = ["PointSet", "Rejected", "Scan", "find_points"]

METHODS = {
    "root": ("auto", "newton", "lm", "relax", "krylov", "anderson", "adam", "lbfgs"),
    "local_min": ("auto", "lm", "adam", "lbfgs"),
    "slow": ("auto", "chord", "slow", "relax", "adam"),
}
SCAN_TOL = tuple(10.0**-k for k in range(4, 13))
ROOT_TOL = 1e-12
TAU_C = 20.0  # steps
RELAX_STEPS = 5
COMPLETE = ("auto", "newton", "lm", "krylov")  # may find every root
# Without a tol: more steps would slide along the manifold.
SLOW_STEPS = {"chord": 20, "slow": 10, "relax": 100, "adam": 150}
NEWTON_STEPS = 30  # of method="auto"; then Levenberg-Marquardt takes over


def find_points(
    cell: Cell | Any,
    starts: Tensor | np.ndarray,
    x_star: Tensor | np.ndarray | float | None = None,
    *,
    kind: str = "root",
    method: str = "auto",
    tol: float | None = None,
    tol_grad: float = 1e-6,
    tau_c: float | None = None,
    max_iter: int = 100,
    tol_scan: Sequence[float] | None = None,
    tol_unique: float | None = None,
    outlier_scale: float = 10.0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    max_memory: str | float = "1GiB",
    q_convention: str = "half_sum",
    progress: bool | Watch = True,
    generator: torch.Generator | None = None,
    readout: Any = None,
    resume: PointSet | None = None,
) -> PointSet:
    r"""Find where a recurrent network at constant input stops, or nearly stops.

    .. math:: q(h) = \tfrac12 \|h - F(h, x^*)\|^2

    Three different things, and the answer says which: a ``"root"`` has q = 0. A ``"local_min"`` is
    a minimum of q, where the residual is a left eigenvector of J with eigenvalue 1. A
    ``"slow"`` point lies on a slow manifold: what is left of its residual is drift along
    it. Root solvers slide along slow manifolds to their ends, and find few points there.

    Parameters
    ----------
    cell : Cell, or what `as_cell` takes
        The network; never changed.
    starts : array, shape (n, N)
        States to start from, best those that the network visits (`sample_starts`).
    x_star : array, shape (D,) or (n, D), optional
        Constant input, one for all or one per start; zero by default.
    kind : {"root", "local_min", "slow"}
        What to find.
    method : str
        "auto" is, for roots, Newton and then Levenberg-Marquardt where it fails (N > 1500:
        "krylov"); "lm" for minima; five steps of F and then "chord" for slow points. Or
        "newton", "lm", "krylov" for roots; "relax" and "anderson" (mixed steps of F; large
        contracting maps) for stable ones; "slow" (a Jacobian at every start and step), "relax" for
        slow points. "adam" (any kind; ``max_iter`` in thousands) and "lbfgs" (roots, minima) need
        one reverse pass through F a step, and no Jacobian: for cells without second derivatives.
    tol : float, > 0, optional
        A start is done at ``q <= tol``. Default 1e-12 (half_sum) for roots and minima. Slow points
        without a tol take 20 chord steps; with one they go on until it is reached, sliding if
        need be, and starts that do not reach it are rejected.
    tol_grad : float, > 0
        Minima: ``||(I-J)^T g|| <= tol_grad ||g||`` with ``g = h - F(h)``.
    tau_c : float, > 0, optional
        Slow points: modes with a longer time constant count as along the manifold; in steps, or in
        units of ``cell.dt``. Half the median sequence length is a good choice; default 20 steps.
    max_iter : int, >= 1
        Largest number of iterations per start and solver.
    tol_scan : sequence of float, > 0, optional
        Thresholds of `PointSet.scan`, in the convention; default 1e-4, 1e-5 .. 1e-12.
    tol_unique : float, >= 0, optional
        Points closer than this in the maximum norm, at the same input, are one; default 1e-3 of the
        rms entry of the states.
    outlier_scale : float, > 0
        A point is rejected farther from every start than this many median
        nearest-neighbor distances of the starts (or tenths of their rms spread); inf keeps all.
    dtype : torch.dtype
        float64, or float32: its rounding bounds q at about 1e-13.
    device : optional
        Default: that of the cell.
    max_memory : str or number of bytes
        For the Jacobians held at once: "512MiB", "1GiB".
    q_convention : {"half_sum", "mean"}
        Of tol, tol_scan and every q returned; "mean" is ``1/N ||h - F(h)||^2 = 2 q / N``.
    progress : bool or callable
        A bar on a terminal; or ``callback(stage, n_done, n_starts, info)`` at least every 2 s
        (one Jacobian block permitting), info with ``converged``, ``median_q``, ``eta_s``.
    generator : torch.Generator, optional
        Seeds the grouping of "chord"; a fixed seed by default. Nothing else is random.
    readout : nn.Linear, array or (weight, bias), optional
        For the readout range (of ``w . h``) in `PointSet.scan`; see `linear_readout`.
    resume : PointSet, optional
        An interrupted result for the same network, starts and inputs: only its unfinished starts
        are solved. It has no `PointSet.scan`, which is of all starts.

    Returns
    -------
    PointSet
        The distinct points with q evaluated at them. Empty, with a warning, where no start arrived.

    Raises
    ------
    ValueError
        Wrong shapes, NaN, unknown kind or method, a cell that is random or returns other shapes.

    Warns
    -----
    ConvergenceWarning
        No start arrived: holds the smallest q.
    TractableWarning
        Roots are missing (`index_sum` is not +1), not isolated, or N is too large for ``method``.

    Notes
    -----
    Where F maps a box into itself (``cell.bounds``: tanh, GRU, UGRNN), starts are clipped into it
    and solvers stay inside. Then the signs of det(I - J) over all roots add up to +1:
    `PointSet.index_sum` tells when roots are missing. Draw more starts in that case. For N > 1500
    (4096 for cells with a Jacobian in closed form) the sign counts the real eigenvalues beyond 1,
    found by Arnoldi iteration; where that does not converge, a warning says so and `index_sum` is
    None.

    Ctrl-C returns what is there, marked ``interrupted``. Go on, also after `PointSet.save` and
    `load`, with ``find_points(cell, starts, ..., resume=points)``.

    Cost of a Newton step per start: 2/3 N^3 + 3 N^2; of a chord step: 2 N^2.

    References
    ----------
    MWGGS (Maheswaranathan, Williams, Golub, Ganguli, Sussillo 2019, arXiv:1906.10720), section 4.1.

    Examples
    --------
    Two tanh units with self-excitation 2: three values of each, nine roots.

    >>> from torch import nn
    >>> rnn = nn.RNNCell(1, 2, bias=False)
    >>> rnn.weight_hh.data = 2 * torch.eye(2)
    >>> points = find_points(rnn, torch.cartesian_prod(*[torch.linspace(-1, 1, 9)] * 2))
    >>> points.index_sum, sorted(points.stability)[:5]
    (1, ['saddle(1)', 'saddle(1)', 'saddle(1)', 'saddle(1)', 'saddle(2)'])
    >>> points.state.max().item()
    0.957504
    """
    check_choice("kind", kind, KINDS)
    check_choice("q_convention", q_convention, Q_CONVENTIONS)
    check_choice(f"method for kind={kind!r}", method, METHODS[kind])
    check_choice("dtype", dtype, (torch.float64, torch.float32))
    _check_numbers(tol=tol, tol_grad=tol_grad, tau_c=tau_c, outlier_scale=outlier_scale)
    check_count("max_iter", max_iter)
    if tol_unique is not None:
        check_range("tol_unique", tol_unique, 0.0)
    levels = sorted(SCAN_TOL if tol_scan is None else map(float, tol_scan), reverse=True)
    for level in levels:
        _check_numbers(tol_scan=level)
    max_bytes = _bytes(max_memory)
    if generator is not None:
        check_generator("generator", generator)

    cell, given = _prepare(cell, starts, dtype, device)
    x = _inputs(x_star, cell, given)
    with torch.no_grad():
        _check_step(cell, given, x)
    request = Request(
        kind=kind,
        q_convention=q_convention,
        mu=_sigma_c(tau_c, cell) ** 2,
        threshold=tol is not None or kind != "slow",
        outlier_scale=outlier_scale,
        tol_unique=tol_unique,
        readout=None if readout is None else _readout(readout, cell),
        complete=method in COMPLETE,
        generator=generator,
        resume=resume,
    )
    factor = q_factor(q_convention, given) / 0.5  # of q in the convention to q in half sums
    half_tol = ROOT_TOL if tol is None else tol / factor
    if dtype == torch.float32 and half_tol < 0.1 * cell.n_state * torch.finfo(dtype).eps ** 2:
        warnings.warn(
            f"tol = {half_tol:.1e} (half_sum) is below the rounding of float32 for "
            f"N = {cell.n_state}; use dtype=torch.float64",
            TractableWarning,
            stacklevel=2,
        )
    todo = request.unfinished(cell, given, x)
    with torch.no_grad():
        search = Search(
            cell,
            given[todo],
            x[todo],
            tol=half_tol if request.threshold else 0.0,
            tol_grad=tol_grad,
            max_bytes=max_bytes,
            scan_tol=torch.tensor(levels, dtype=dtype) / factor,
            show=progress is True,
            watch=progress if callable(progress) else None,
        )
        if len(todo) and bool((search.status == NON_FINITE).all()):
            raise ValueError(
                f"cell must return finite states, got NaN or infinity at all {len(todo)} starts; "
                "are its weights finite?"
            )
        interrupted = False
        try:
            _solve(search, request, method, max_iter)
        except KeyboardInterrupt:
            interrupted = True
        return harvest(search, request, given, x, todo, interrupted)


def _solve(search: Search, request: Request, method: str, max_iter: int) -> None:
    """Run the solvers of a kind and method."""
    if request.kind == "slow":
        if method in ("auto", "chord", "slow"):
            relax(search, min(RELAX_STEPS, max_iter))
        method = "chord" if method == "auto" else method
        steps = max_iter if request.threshold else min(max_iter, SLOW_STEPS[method])
        if method == "chord":
            chord(search, request.mu, steps, request.generator)
        elif method == "slow":
            damped(search, request.mu, steps)
        elif method == "adam":
            adam(search, steps)
        else:
            relax(search, steps)
        return
    large = search.n_state > MAX_NEWTON_STATE
    if method == "newton" and large:
        warnings.warn(
            f"method='newton' factors matrices of {search.n_state} x {search.n_state}, more than "
            f"{MAX_NEWTON_STATE}: taking method='krylov'",
            TractableWarning,
            stacklevel=3,
        )
    without_jacobian = {"adam": adam, "lbfgs": lbfgs, "anderson": anderson}
    if method in without_jacobian:
        without_jacobian[method](search, max_iter)
    elif request.kind == "local_min" or method == "lm":
        lm(search, max_iter)
    elif method == "relax":
        relax(search, max_iter)
    elif method == "krylov" or large:
        krylov(search, max_iter)
    elif method == "newton":
        newton(search, max_iter)
    else:
        newton(search, min(NEWTON_STEPS, max_iter))
        failed = (search.status != BELOW_TOL) & (search.status != NON_FINITE)
        search.settle(failed.nonzero()[:, 0], ACTIVE)
        lm(search, max_iter)


def _prepare(
    cell: Cell | Any,
    starts: Tensor | np.ndarray,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> tuple[Cell, Tensor]:
    """Return a copy of the cell and the starts (n, N), both in dtype on device."""
    cell = as_cell(cell)
    cell = cell.to(dtype=dtype, device=cell.device if device is None else device)
    if hasattr(starts, "valid"):
        raise TypeError(
            f"starts must be states (n, {cell.n_state}), got a {type(starts).__name__}; draw some "
            "by sample_starts(trajectory, n, generator=...)"
        )
    given = _real("starts", starts, f"states (n, {cell.n_state})")
    given = given.to(device=cell.device, dtype=dtype)
    check_shape("starts", given.shape, ("n", cell.n_state))
    if len(given) == 0:
        raise ValueError(f"starts must hold at least one state, got shape {tuple(given.shape)}")
    check_finite("starts", given)
    return cell, given


def _inputs(x_star: Tensor | np.ndarray | float | None, cell: Cell, starts: Tensor) -> Tensor:
    """Return the constant input of each start (n, D)."""
    x = _real("x_star", 0.0 if x_star is None else x_star, f"an input ({cell.n_input},)")
    x = x.to(starts)
    if x.ndim == 0:
        x = x.expand(cell.n_input)
    if x.ndim == 1:
        check_shape("x_star", x.shape, (cell.n_input,))
    else:
        check_shape("x_star", x.shape, (len(starts), cell.n_input))
    check_finite("x_star", x)
    return x.expand(len(starts), cell.n_input)


def _real(name: str, value: Any, wanted: str) -> Tensor:
    """Return real numbers as a tensor that has them at hand."""
    try:
        if isinstance(value, np.ndarray):  # reversed, for instance: torch takes no negative strides
            value = np.asarray(value, order="C")
        tensor = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        packed = "; join the parts of a state by cell.pack(...)" if type(value) is tuple else ""
        raise TypeError(f"{name} must be {wanted}, got {value!r:.60}{packed}") from None
    if tensor.is_complex():
        raise TypeError(f"{name} must be real, got {tensor.dtype}")
    if tensor.is_meta:
        check_finite(name, tensor)
    return tensor


def _check_step(cell: Cell, starts: Tensor, x: Tensor) -> None:
    """Refuse a cell that returns another shape, or another state at the second call."""
    state, x = starts[:8], x[:8]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        first, second = cell(state, x), cell(state, x)
    check_shape("cell(state, x)", first.shape, tuple(state.shape))
    if not torch.allclose(first, second, rtol=1e-6, atol=1e-9, equal_nan=True):
        off = float((first - second).abs().max())
        raise ValueError(
            f"cell must be deterministic, got states that differ by {off:.1e} between two calls; "
            "dropout or noise switched on?"
        )


def _readout(readout: Any, cell: Cell) -> Tensor:
    """Return readout weights on the full state (N,)."""
    return linear_readout(readout, cell, device=cell.device)[0].to(cell.dtype)


def _sigma_c(tau_c: float | None, cell: Cell) -> float:
    """Return the singular value of I - J that separates slow from fast, 1 - exp(-1/tau_c)."""
    steps = TAU_C if tau_c is None else tau_c / (cell.dt or 1.0)
    return -math.expm1(-1.0 / steps)


def _check_numbers(**values: float | None) -> None:
    """Refuse numbers that are not positive."""
    for name, value in values.items():
        if value is not None:
            check_range(name, value, 0.0, open_low=True)


def _bytes(size: str | float) -> float:
    """Return a size such as "512MiB" in bytes."""
    text = str(size).strip()
    match = re.fullmatch(r"([0-9.]+(?:[eE][+]?[0-9]+)?)\s*(?:([KMGT])(i?))?B?", text)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:
        number = math.nan
    if not (match and number > 0):
        raise ValueError(
            f"max_memory must be like '512MiB', '2GB' or a number of bytes, got {size!r}"
        )
    power = " KMGT".index(match[2] or " ")
    return number * float(1024 if match[3] else 1000) ** power
