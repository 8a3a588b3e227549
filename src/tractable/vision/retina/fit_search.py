"""A difference of Gaussians and a Gabor function with their Jacobians, and the search for the best.

Parameters that must be positive are logarithms; linear ones are at their best in every start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize

__all__ = ["best_fit", "dog", "dog_start", "gabor", "gabor_starts"]

N_ANGLES = 8
N_REFINED = 4
STEPS = 300

Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def dog(shape: tuple[int, int], *, elliptical: bool) -> Model:
    """Return p -> (values, Jacobian), p = x, y, log s_c, q, a_c, a_s, b [, log ratio, angle]."""
    rows, columns = (axis.ravel().astype(float) for axis in np.mgrid[: shape[0], : shape[1]])

    def gaussian(p: np.ndarray, s: float) -> tuple[np.ndarray, list[np.ndarray]]:
        log_ratio, angle = (p[7], p[8]) if elliptical else (0.0, 0.0)
        k, cos, sin = np.exp(-2 * log_ratio), np.cos(angle), np.sin(angle)
        u = cos * (columns - p[0]) + sin * (rows - p[1])
        v = -sin * (columns - p[0]) + cos * (rows - p[1])
        r2 = u**2 + k * v**2
        e = np.exp(-r2 / (2 * s**2)) / (2 * np.pi * s**2 * np.exp(log_ratio))
        slope = e / s**2
        parts = [slope * (u * cos - k * v * sin), slope * (u * sin + k * v * cos)]
        parts += [e * (r2 / s**2 - 2)]  # by log s
        parts += [e * (k * v**2 / s**2 - 1), -slope * u * v * (1 - k)]
        return e, parts

    def model(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s_c, spread = np.exp(p[2]), np.exp(p[3])
        s_s = s_c * (1 + spread)
        center, dc = gaussian(p, s_c)
        surround, ds = gaussian(p, s_s)
        a_c, a_s = p[4], p[5]
        columns_ = [a_c * c - a_s * s for c, s in zip(dc, ds, strict=True)]
        by_q = -a_s * ds[2] * spread / (1 + spread)
        jacobian = [*columns_[:3], by_q, center, -surround, np.ones_like(center)]
        if elliptical:
            jacobian += columns_[3:]
        return a_c * center - a_s * surround + p[6], np.stack(jacobian, axis=1)

    return model


def gabor(shape: tuple[int, int]) -> Model:
    """Return p -> (values, Jacobian), p = x, y, log s, log g, log lambda, theta, phase, A, b."""
    rows, columns = (axis.ravel().astype(float) for axis in np.mgrid[: shape[0], : shape[1]])

    def model(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s2, g2, k = np.exp(2 * p[2]), np.exp(2 * p[3]), 2 * np.pi * np.exp(-p[4])
        cos, sin, amplitude = np.cos(p[5]), np.sin(p[5]), p[7]
        u = cos * (columns - p[0]) + sin * (rows - p[1])
        v = -sin * (columns - p[0]) + cos * (rows - p[1])
        envelope = np.exp(-(u**2 + g2 * v**2) / (2 * s2))
        wave, ahead = np.cos(k * u + p[6]), np.sin(k * u + p[6])
        by_u = amplitude * envelope * (-u / s2 * wave - k * ahead)
        by_v = amplitude * envelope * (-g2 * v / s2) * wave
        whole = envelope * wave
        jacobian = [
            -cos * by_u + sin * by_v,
            -sin * by_u - cos * by_v,
            amplitude * whole * (u**2 + g2 * v**2) / s2,
            -amplitude * whole * g2 * v**2 / s2,
            amplitude * envelope * ahead * k * u,
            by_u * v - by_v * u,
            -amplitude * envelope * ahead,
            whole,
            np.ones_like(u),
        ]
        return amplitude * whole + p[8], np.stack(jacobian, axis=1)

    return model


# --- starts and the search ------------------------------------------------------------------


def dog_start(
    values: np.ndarray, x: Any, y: Any, s_c: float, q: float, elliptical: bool
) -> tuple[float, np.ndarray]:
    """Return the error of a start, and the start with its linear parameters at their best."""
    p = np.array([x, y, np.log(s_c), q, 1.0, 1.0, 0.0, *([0.1, 0.1] if elliptical else [])])
    _, jacobian = dog(values.shape, elliptical=elliptical)(p)
    p[4:7], rss = _linear(jacobian[:, 4:7], values.ravel())
    return rss, p


def gabor_starts(values: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Return starts in all directions, of three wavelengths and widths, with their errors."""
    height, width = values.shape
    power = np.abs(np.fft.fft2(values - values.mean(), s=(2 * height, 2 * width)))
    fy, fx = np.fft.fftfreq(2 * height)[:, None], np.fft.fftfreq(2 * width)[None, :]
    at = np.unravel_index(power.argmax(), power.shape)
    frequency = float(np.hypot(fy[at[0], 0], fx[0, at[1]])) or 1 / max(height, width)
    energy = values**2 / (values**2).sum()
    rows, columns = np.mgrid[:height, :width]
    y, x = float((energy * rows).sum()), float((energy * columns).sum())
    angles = [float(np.arctan2(fy[at[0], 0], fx[0, at[1]])) % np.pi]
    angles += [i * np.pi / N_ANGLES for i in range(N_ANGLES)]
    starts = []
    for theta in angles:
        for wavelength in (1 / frequency, 2 / frequency, 0.5 / frequency):
            wavelength = float(np.clip(wavelength, 2.1, 4.0 * max(height, width)))
            for sigma in (0.25 * wavelength, 0.5 * wavelength, wavelength):
                starts.append(_gabor_start(values, x, y, sigma, wavelength, theta))
    return starts


def _gabor_start(
    values: np.ndarray, x: float, y: float, sigma: float, wavelength: float, theta: float
) -> tuple[float, np.ndarray]:
    sigma = float(np.clip(sigma, 0.4, 0.9 * max(values.shape)))
    p = np.array([x, y, np.log(sigma), 0.0, np.log(wavelength), theta, 0.0, 1.0, 0.0])
    _, jacobian = gabor(values.shape)(p)
    (even, odd, p[8]), rss = _linear(jacobian[:, [7, 6, 8]], values.ravel())
    p[6], p[7] = np.arctan2(odd, even), float(np.hypot(even, odd))
    return rss, p


def _linear(design: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    return solution, float(((values - design @ solution) ** 2).sum())


def best_fit(
    model: Model,
    values: np.ndarray,
    starts: list[tuple[float, np.ndarray]],
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Refine the best starts; return parameters, their covariance, R2 and AIC."""
    best: Any = None
    for _, start in sorted(starts, key=lambda item: item[0])[:N_REFINED]:
        found = optimize.least_squares(
            lambda p: model(p)[0] - values,
            np.clip(start, low + 1e-6, high - 1e-6),
            jac=lambda p: model(p)[1],
            bounds=(low, high),
            x_scale="jac",
            max_nfev=STEPS,
        )
        if best is None or found.cost < best.cost:
            best = found
    n, p = len(values), len(best.x)
    rss = 2 * float(best.cost)
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * rss / max(n - p, 1)
    total = float(((values - values.mean()) ** 2).sum())
    r2 = 1 - rss / total if total > 0 else np.nan
    return best.x, covariance, float(r2), float(n * np.log(max(rss, 1e-300) / n) + 2 * p)
