"""The learning dynamics of a task: its modes, and everything that follows from them."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tractable.core.checks import TractableWarning, check_choice, check_range, check_shape
from tractable.linear.arrays import as_float64, check_scale
from tractable.linear.correlations import (
    Correlations,
    centered,
    check_semidefinite,
    correlations,
    inverse_root,
)
from tractable.linear.mode_readers import ModeReaders
from tractable.linear.modes import task_modes
from tractable.linear.records import brief
from tractable.linear.start import Start, chosen_method, start_of_model
from tractable.linear.strengths import check_depth
from tractable.linear.weights import read_weights

if TYPE_CHECKING:
    from tractable.linear.arrays import Numbers
    from tractable.linear.simulation import Simulation

__all__ = ["ModeDynamics"]

METHODS = ("auto", "aligned", "riccati", "ode")


@dataclass(frozen=True, eq=False)
class ModeDynamics(ModeReaders):
    r"""What a deep linear network learns from its data, and when.

    Made by `from_data`, `from_correlations` or `from_model`. Mode a of the task is an input
    pattern ``V[:, a]``, an output pattern ``U[:, a]`` and an association strength ``s[a]``; the
    network's strength in this mode rises from ``init_strength[a]`` to ``s[a] / lam[a]`` (L3), (L8).

    Parameters
    ----------
    U : ndarray, shape (n_out, K)
        Output singular vectors: feature synthesizers.
    s : ndarray, shape (K,)
        Singular values of the input-output correlation, descending.
    V : ndarray, shape (n_in, K)
        Input singular vectors: object analyzers; the largest entry of each is positive.
    lam : ndarray, shape (K,)
        Input variance along each mode; 1 for white inputs.
    init_strength : ndarray, shape (K,)
        Initial strength of the product of all layers in each mode.
    depth : int
        Number of weight matrices.
    tau : float
        Time constant: with tau = 1 a time is steps * learning rate.
    method : {"aligned", "riccati", "ode"}
        How the dynamics are evaluated.
    reason : str
        Why so.
    warnings : tuple of str
        What to know before trusting the numbers.
    cov_x, cov_yx : ndarray
        The correlations.
    sum_y2 : float or None
        Trace of Sigma_y; None where it is unknown.
    belief_scale : float
        Factor from the map to a belief where inputs are items; see `beliefs`.
    inputs : ndarray or None
        The examples, shape (P, n_in), for `beliefs`.
    items, features : tuple of str
        Names of examples and outputs, or empty.
    weights : tuple of ndarray
        The start, where the method needs it.
    whitening : ndarray or None
        Sigma_x^(-1/2), where the inputs were whitened.
    targets : ndarray or None
        The targets, shape (P, n_out), for stochastic gradient descent.
    X_mean, Y_mean : ndarray or None
        Means of the examples that were taken off, shapes (n_in,), (n_out,).
    """

    U: np.ndarray
    s: np.ndarray
    V: np.ndarray
    lam: np.ndarray
    init_strength: np.ndarray
    depth: int
    tau: float
    method: str
    reason: str
    warnings: tuple[str, ...]
    cov_x: np.ndarray
    cov_yx: np.ndarray
    sum_y2: float | None = None
    belief_scale: float = 1.0
    inputs: np.ndarray | None = None
    items: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    weights: tuple[np.ndarray, ...] = ()
    whitening: np.ndarray | None = None
    targets: np.ndarray | None = None
    X_mean: np.ndarray | None = None
    Y_mean: np.ndarray | None = None

    __repr__ = brief

    @classmethod
    def from_data(
        cls,
        X: Numbers,
        Y: Numbers,
        *,
        depth: int = 2,
        init_strength: Numbers = 1e-3,
        tau: float = 1.0,
        norm: str = "mean",
        center: bool = False,
        rank: int | None = None,
        white_tol: float = 1e-3,
        method: str = "auto",
        whiten: bool = False,
        items: Sequence[str] | None = None,
        features: Sequence[str] | None = None,
    ) -> Self:
        r"""Return the dynamics for examples.

        Parameters
        ----------
        X : array, shape (P, n_in)
            Inputs; rows are examples. NumPy or torch, float32 or float64; read in blocks.
        Y : array, shape (P, n_out)
            Targets.
        depth : int
            Number of weight matrices, >= 1; 2 is one hidden layer.
        init_strength : float or array, shape (K,)
            Initial strength of the product of the layers in each mode, > 0: not the standard
            deviation of a layer.
        tau : float
            Time constant, > 0.
        norm : {"mean", "sum"}
            Loss per example or in total; all times scale with it.
        center : bool
            Take the means off X and Y first.
        rank : int, optional
            Keep this many modes.
        white_tol : float
            Largest relative deviation at which inputs count as decorrelated in the task's modes.
        method : {"auto", "aligned", "riccati", "ode"}
            ``auto`` takes the closed form where it is valid, else solves the flow numerically.
        whiten : bool
            Learn from Sigma_x^(-1/2) x instead: exact and quick, but other dynamics than those of
            a network that sees x.
        items, features : sequence of str, optional
            Names of the P examples and of the outputs.

        Raises
        ------
        ValueError
            Arguments out of range, shapes that do not fit, entries that are not finite.

        Warns
        -----
        TractableWarning
            The inputs are correlated; the initial strength exceeds that of modes.

        Examples
        --------
        >>> dynamics = ModeDynamics.from_data(np.eye(3), np.diag([3.0, 2.0, 1.0]), norm="sum")
        >>> dynamics.method, dynamics.s
        ('aligned', array([3., 2., 1.]))
        >>> dynamics.half_rise().round(3)
        array([1.334, 1.9  , 3.453])
        """
        found = correlations(X, Y, norm=norm, center=center)
        return cls._from_statistics(
            found,
            depth=depth,
            init_strength=init_strength,
            tau=tau,
            rank=rank,
            white_tol=white_tol,
            method=method,
            whiten=whiten,
            inputs=centered(X, found.mean_x),
            targets=centered(Y, found.mean_y),
            items=tuple(items or ()),
            features=tuple(features or ()),
        )

    @classmethod
    def from_correlations(
        cls,
        cov_yx: Numbers,
        cov_x: Numbers | None = None,
        *,
        depth: int = 2,
        init_strength: Numbers = 1e-3,
        tau: float = 1.0,
        norm: str = "mean",
        rank: int | None = None,
        white_tol: float = 1e-3,
        method: str = "auto",
        whiten: bool = False,
        sum_y2: float | None = None,
        items: Sequence[str] | None = None,
        features: Sequence[str] | None = None,
    ) -> Self:
        r"""Return the dynamics for correlations that are known.

        Each input direction counts as one item: with ``cov_yx = Y / P`` and white inputs (the
        convention of the semantic theory) `beliefs` ends at Y.

        Parameters
        ----------
        cov_yx : array, shape (n_out, n_in)
            Correlation of outputs with inputs.
        cov_x : array, shape (n_in, n_in), optional
            Correlation of inputs; the identity if left out.
        norm : {"mean", "sum"}
            How the correlations were made: decides the scale of `beliefs` only.
        sum_y2 : float, optional
            Trace of the output correlation, for `loss`.
        depth, init_strength, tau, rank, white_tol, method, whiten, items, features
            As in `from_data`; items are the input directions.

        Examples
        --------
        >>> Y = np.array([[1.0, 1.0], [1.0, 0.0]])  # two features of two items
        >>> dynamics = ModeDynamics.from_correlations(Y / 2, items=["oak", "rose"])
        >>> dynamics.beliefs([0.0, 200.0]).round(3)[:, 1]  # the second feature
        array([[ 0.002, -0.001],
               [ 1.   ,  0.   ]])
        """
        check_choice("norm", norm, ("mean", "sum"))
        cov = as_float64("cov_yx", cov_yx).copy()
        if cov.ndim != 2 or not cov.size:
            raise ValueError(f"cov_yx must have shape (n_out, n_in), got {cov.shape}")
        check_scale("cov_yx", float(np.abs(cov).max()))
        n_in = cov.shape[1]
        square = np.eye(n_in) if cov_x is None else as_float64("cov_x", cov_x).copy()
        check_shape("cov_x", square.shape, (n_in, n_in))
        if not np.allclose(square, square.T, rtol=1e-6, atol=1e-9 * (1 + np.abs(square).max())):
            raise ValueError("cov_x must be symmetric; it is X X^T times the norm")
        if cov_x is not None:
            check_semidefinite("cov_x", square)
        scale = float(np.trace(square)) / (1 if norm == "mean" else n_in)
        return cls._from_statistics(
            Correlations(square, cov, sum_y2, None),
            depth=depth,
            init_strength=init_strength,
            tau=tau,
            rank=rank,
            white_tol=white_tol,
            method=method,
            whiten=whiten,
            belief_scale=scale,
            items=tuple(items or ()),
            features=tuple(features or ()),
        )

    @classmethod
    def from_model(
        cls,
        model: Any,
        X: Numbers,
        Y: Numbers,
        *,
        tau: float = 1.0,
        norm: str = "mean",
        center: bool = False,
        rank: int | None = None,
        white_tol: float = 1e-3,
        method: str = "auto",
        items: Sequence[str] | None = None,
        features: Sequence[str] | None = None,
    ) -> Self:
        """Return the dynamics of a network of your own, from the weights that it has now.

        Parameters
        ----------
        model : nn.Linear or nn.Sequential of nn.Linear
            Without biases. It is read, not trained.
        X, Y : array, shapes (P, n_in), (P, n_out)
            Examples.
        method : {"auto", "aligned", "riccati", "ode"}
            ``auto``: aligned where the start is aligned; `effective_init` for a small start with
            one hidden layer and white inputs; the Riccati solution for a balanced one; else the
            flow is integrated.
        tau, norm, center, rank, white_tol, items, features
            As in `from_data`.

        Raises
        ------
        TypeError
            A layer is not linear.
        ValueError
            A layer has a bias, shapes do not fit, or the method asked for does not hold here.

        Examples
        --------
        >>> import torch
        >>> first = torch.nn.Linear(3, 2, bias=False); second = torch.nn.Linear(2, 3, bias=False)
        >>> model = torch.nn.Sequential(first, second).double()
        >>> for layer in model:
        ...     _ = torch.nn.init.constant_(layer.weight, 0.3)
        >>> ModeDynamics.from_model(model, torch.eye(3), torch.eye(3)).method
        'riccati'
        """
        weights = read_weights(model)
        found = correlations(X, Y, norm=norm, center=center)
        check_shape("the model's first layer", weights[0].shape, ("units", len(found.cov_x)))
        check_shape("the model's last layer", weights[-1].shape, (len(found.cov_yx), "units"))
        return cls._from_statistics(
            found,
            depth=len(weights),
            init_strength=None,
            weights=weights,
            tau=tau,
            rank=rank,
            white_tol=white_tol,
            method=method,
            inputs=centered(X, found.mean_x),
            targets=centered(Y, found.mean_y),
            items=tuple(items or ()),
            features=tuple(features or ()),
        )

    @classmethod
    def _from_statistics(
        cls,
        found: Correlations,
        *,
        depth: int,
        init_strength: Numbers | None,
        tau: float,
        rank: int | None,
        white_tol: float,
        method: str,
        whiten: bool = False,
        weights: Sequence[np.ndarray] | None = None,
        inputs: np.ndarray | None = None,
        targets: np.ndarray | None = None,
        belief_scale: float = 1.0,
        items: tuple[str, ...] = (),
        features: tuple[str, ...] = (),
    ) -> Self:
        check_depth(depth)
        check_range("tau", tau, 0, open_low=True)
        check_range("white_tol", white_tol, 0)
        check_choice("method", method, METHODS)
        whitening = inverse_root(found.cov_x) if whiten else None
        if whiten:
            found = found.whitened()
        modes = task_modes(found.cov_yx, found.cov_x, rank=rank)
        for name, given, n in (
            ("items", items, len(found.cov_x) if inputs is None else len(inputs)),
            ("features", features, len(found.cov_yx)),
        ):
            if given and len(given) != n:
                raise ValueError(f"{name} must have {n} names, got {len(given)}")
        if weights is None:
            start = Start.of_strengths(modes, init_strength, depth)
        else:
            start = start_of_model(modes, weights, white=found.whiteness() <= white_tol)
        chosen, reason, notes = chosen_method(found, modes, start, white_tol, method)
        for note in notes:
            python_warnings.warn(note, TractableWarning, stacklevel=3)
        return cls(
            U=modes.U,
            s=modes.s,
            V=modes.V,
            lam=modes.lam,
            init_strength=start.strengths,
            depth=depth,
            tau=float(tau),
            method=chosen,
            reason=reason,
            warnings=tuple(notes),
            cov_x=found.cov_x,
            cov_yx=found.cov_yx,
            sum_y2=found.sum_y2,
            belief_scale=belief_scale,
            inputs=inputs,
            items=items,
            features=features,
            weights=() if chosen == "aligned" else tuple(start.matrices()),
            whitening=whitening,
            targets=targets,
            X_mean=found.mean_x,
            Y_mean=found.mean_y,
        )

    def simulate(
        self,
        lr: float,
        steps: int,
        seeds: int = 8,
        init: str | Sequence[Numbers] = "aligned",
        device: str | None = None,
        progress: Any = None,
        **settings: Any,
    ) -> Simulation:
        """Train networks on the same task by gradient descent.

        All arguments are those of `tractable.linear.simulate`.

        Examples
        --------
        >>> dynamics = ModeDynamics.from_correlations(np.diag([2.0, 1.0]), init_strength=0.01)
        >>> trained = dynamics.simulate(0.01, 800, seeds=2)
        >>> bool(trained.compare(dynamics).strength_error.max() < 0.02)
        True
        """
        from tractable.linear.training import simulate

        return simulate(
            self, lr, steps, seeds=seeds, init=init, device=device, progress=progress, **settings
        )
