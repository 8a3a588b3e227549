"""Advice about a model: each rule with its number, and what to do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tractable.core.nonlinearity import Nonlinearity
from tractable.spectra.audit_layers import Block, LayerAudit, chance_of_dead
from tractable.spectra.chain import Chain
from tractable.spectra.mean_field import MeanField, QStar
from tractable.spectra.measured_spectrum import MeasuredSpectrum
from tractable.spectra.phase import critical_line
from tractable.spectra.predict import Prediction, layer_ensemble

__all__ = ["Advice", "advise"]

SEVERITIES = ("problem", "warning", "note")
FAR_GROWTH = math.log(100.0)  # of the blocks of a model that is no chain
FAR = 1.5  # factor between q^1 and q* that counts as far
MANY_DEAD = 0.05  # share of dead units of a layer
FEW_INPUTS = 8  # are no evidence of dead units
ORTHOGONAL = 0.05  # deviation from orthogonality that is called orthogonal
TRAINABLE = 6.0  # depth scales that a trainable network spans at most (arXiv:1611.01232)


@dataclass(frozen=True)
class Advice:
    """One finding: a code for programs, a sentence for people, the numbers in it."""

    code: str
    """Short and fixed, such as ``not-orthogonal``."""
    severity: str
    """``problem`` (it will hardly train), ``warning``, or ``note``."""
    sentence: str
    """What is wrong, its number, what to do."""
    numbers: dict[str, float] = field(default_factory=dict)
    """The numbers of the sentence by name."""


def advise(
    chain: Chain,
    layers: tuple[LayerAudit, ...],
    measured: MeasuredSpectrum,
    predicted: Prediction | None,
    blocks: tuple[Block, ...] = (),
    *,
    target: float = 1.0,
) -> list[Advice]:
    """Return the advice for a model, most severe first.

    Parameters
    ----------
    chain, layers, measured, predicted, blocks
        What `audit` has found.
    target : float
        Largest relative variance to accept.
    """
    found = list(_of_units(chain, layers))
    if chain.reason or not chain.hidden or predicted is None:
        found += list(_of_other_models(chain, blocks))
    else:
        found += list(_of_chain(chain, layers[: len(chain.hidden)], measured, predicted, target))
    return sorted(found, key=lambda item: SEVERITIES.index(item.severity))


def _of_units(chain: Chain, layers: tuple[LayerAudit, ...]) -> Iterator[Advice]:
    """Units without slope at every input: more of them than a few inputs leave out by chance."""
    if chain.layers and len(chain.layers[0].h) < FEW_INPUTS:
        return  # inputs that are alike turn off the same units of a healthy network
    dead = [
        layer
        for call, layer in zip(chain.layers, layers, strict=True)
        if layer.dead > MANY_DEAD and layer.dead > MANY_DEAD + chance_of_dead(call)
    ]
    if dead:
        worst = max(dead, key=lambda layer: layer.dead)
        yield Advice(
            "dead-units",
            "warning",
            f"{worst.dead:.0%} of the units of layer {worst.name!r} have slope 0 at every input, "
            f"and {len(dead)} layers have more than {MANY_DEAD:.0%} of such dead units: shift "
            "their biases up, lower the learning rate, or take a nonlinearity without flat parts",
            {"dead": worst.dead, "layers": len(dead)},
        )


def _of_other_models(chain: Chain, blocks: tuple[Block, ...]) -> Iterator[Advice]:
    others = f" It has {', '.join(chain.others[:3])}." if chain.others else ""
    yield Advice(
        "theory-not-applicable",
        "note",
        f"No prediction: {chain.reason or 'no hidden layer'}.{others} The spectra of the whole "
        "and of its blocks are measured; residual connections and normalization keep a spectrum "
        "in bounds by themselves",
    )
    square = [block for block in blocks if block.n_in == block.n_out and block.mean > 0]
    if not square:
        return
    growth = math.fsum(math.log(block.mean) for block in square)
    if abs(growth) > FAR_GROWTH:
        way = "vanish" if growth < 0 else "explode"
        worst = max(square, key=lambda block: abs(math.log(block.mean)))
        yield Advice(
            f"gradients-{way}",
            "warning",
            f"gradients {way}: the mean eigenvalues of J J^T of the {len(square)} blocks that keep "
            f"their size multiply to {math.exp(growth):.3g}; the one farthest from 1 is "
            f"{worst.name!r} with {worst.mean:.3g}. Scale the last layer of each block",
            {"product": math.exp(growth), "blocks": len(square), "worst": worst.mean},
        )


def _of_chain(
    chain: Chain,
    layers: tuple[LayerAudit, ...],
    measured: MeasuredSpectrum,
    predicted: Prediction,
    target: float,
) -> Iterator[Advice]:
    depth = len(layers)
    phi = chain.hidden[0].phi
    assert phi is not None
    yield from _of_mean(layers, measured)
    yield from _of_variance(layers, phi, predicted, measured, target)
    yield from _of_weights(layers, phi)
    inner = layers[1:] or layers
    sigma_w = float(np.median([layer.sigma_w for layer in inner]))
    sigma_b = float(np.sqrt(np.median([layer.sigma_b**2 for layer in inner])))
    if phi.is_linear or sigma_w == 0:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mean_field = MeanField(phi, sigma_w, sigma_b)
            star = mean_field.q_star(max(layers[0].q, 1e-12))
        except ValueError:
            return
        yield from _of_length(layers, mean_field, star, depth)


def _of_mean(layers: tuple[LayerAudit, ...], measured: MeasuredSpectrum) -> Iterator[Advice]:
    """Chi off 1 by more than .5 / L: the mean of J J^T leaves exp(-.5) .. exp(.5)."""
    depth = len(layers)
    inner = layers[1:]  # the first layer's scale is that of the input
    chis = [layer.chi for layer in inner]
    if not chis:
        return
    if min(chis) <= 0:
        yield Advice(
            "no-gradient",
            "problem",
            "a layer passes no gradient at all: its weights or all its slopes are zero",
            {"chi": min(chis)},
        )
        return
    chi = math.exp(float(np.mean(np.log(chis))))
    bound = 0.5 / depth
    if abs(chi - 1) <= bound:
        return
    way, order = ("vanish", "ordered") if chi < 1 else ("explode", "chaotic")
    far = max(chi, 1 / chi) ** depth > math.exp(2)
    yield Advice(
        f"gradients-{way}",
        "problem" if far else "warning",
        f"gradients {way} with depth ({order} phase): chi = {chi:.4f} per layer, off 1 by "
        f"{abs(chi - 1):.4f}, more than 0.5 / L = {bound:.4f}; over {depth} layers the mean "
        f"eigenvalue of J J^T becomes {measured.mean:.3g} (measured). Initialize on the critical "
        "line: tractable.spectra.init_",
        {"chi": chi, "bound": bound, "mean": measured.mean, "depth": depth},
    )


def _of_variance(
    layers: tuple[LayerAudit, ...],
    phi: Nonlinearity,
    predicted: Prediction,
    measured: MeasuredSpectrum,
    target: float,
) -> Iterator[Advice]:
    depth = len(layers)
    variance = predicted.relative_variance
    low = _smallest_v(phi)
    if low >= 0.5:
        yield Advice(
            "relu",
            "warning" if depth * low > target else "note",
            f"{phi.name} cannot be isometric: each layer adds {low:.3g} at least to the relative "
            f"variance of the eigenvalues of J J^T, so that {depth} layers have {depth * low:.3g} "
            f"or more, whatever the weights (measured {measured.relative_variance:.3g}). Tanh, "
            "hard-tanh or a shifted ReLU can have any value above 0",
            {"minimum": depth * low, "measured": measured.relative_variance},
        )
    if math.isfinite(variance) and variance > target:
        yield Advice(
            "variance",
            "problem" if variance > 10 * target else "warning",
            f"the relative variance of the eigenvalues of J J^T is {variance:.3g} by prediction "
            f"and {measured.relative_variance:.3g} as measured, above {target:g}: the largest "
            "directions learn, the others do not",
            {
                "predicted": variance,
                "measured": measured.relative_variance,
                "target": target,
                "mean": measured.mean,
            },
        )


def _smallest_v(phi: Nonlinearity) -> float:
    """Return the smallest v over q: what a layer adds to the relative variance at best."""
    from tractable.spectra.phase import variance_per_layer

    if phi.is_linear:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return min(variance_per_layer(phi, q) for q in (1e-6, 1e-3, 0.1, 1.0, 10.0))


def _of_weights(layers: tuple[LayerAudit, ...], phi: Nonlinearity) -> Iterator[Advice]:
    inner = layers[1:]  # the spectrum is that from h^1 on
    bad = [layer for layer in inner if layer.ortho_error > ORTHOGONAL]
    convs = [layer for layer in bad if layer.kind.startswith("Conv")]
    added = [layer.r for layer in bad if math.isfinite(layer.r)]
    if convs:
        yield Advice(
            "conv-not-delta-orthogonal",
            "warning",
            f"{len(convs)} convolutions are not delta-orthogonal: their operators have singular "
            f"values of relative variance {np.nanmedian([c.r for c in convs]):.2g} (of squares); "
            'tractable.spectra.init_(model, "delta_orthogonal")',
            {"layers": len(convs)},
        )
    if len(bad) > len(convs):
        total = float(np.sum(added)) if added else math.nan
        kinds = {layer_ensemble(layer) for layer in bad}
        what = "Gaussian" if kinds == {"gaussian"} else "not orthogonal"
        yield Advice(
            "not-orthogonal",
            "warning" if _smallest_v(phi) < 0.5 else "note",
            f"the weights of {len(bad)} of {len(inner)} layers are {what}: this alone adds "
            f"{total:.3g} to the relative variance of the eigenvalues of J J^T, about 1 per "
            'layer; orthogonal weights add nothing: tractable.spectra.init_(model, "orthogonal")',
            {"layers": len(bad), "added": total},
        )


def _of_length(
    layers: tuple[LayerAudit, ...], field: MeanField, star: QStar, depth: int
) -> Iterator[Advice]:
    """Whether q stays where it is, and how deep signals get."""
    q1, q = layers[0].q, star.value
    last = layers[-1].q
    own = critical_line(field.phi, [max(layers[len(layers) // 2].q, 1e-12)])
    if not star.stable or math.isinf(q) or not bool(own.stable[0]):
        yield Advice(
            "q-unstable",
            "warning",
            f"the variance of the pre-activations has no stable fixed point with {field.phi.name}: "
            f"from {q1:.3g} in the first layer it goes to {last:.3g} in the last, and the best "
            "initialization for one layer is wrong for the next",
            {"q_first": q1, "q_last": last},
        )
        if math.isinf(q):
            return
    if star.n_fixed == -1:
        return
    slope = field.chi_q(max(q, 1e-12))
    xi_q = math.inf if slope >= 1 else -1 / math.log(slope) if slope > 0 else 0.0
    ratio = q1 / q if q > 0 else math.inf
    if max(ratio, 1 / max(ratio, 1e-300)) > FAR and xi_q > depth / 4:
        yield Advice(
            "input-scale",
            "warning",
            f"the first layer's pre-activations have the variance q^1 = {q1:.3g}, the fixed point "
            f"is q* = {q:.3g}, and q relaxes in {xi_q:.3g} layers, more than L / 4 = "
            f"{depth / 4:g}: the layers are not where their weights are critical. Scale the input "
            "or the first layer: tractable.spectra.init_(..., input_batch=x)",
            {"q_first": q1, "q_star": q, "xi_q": xi_q},
        )
    xi_c = field.xi_c(max(q, 1e-12))
    if depth > TRAINABLE * xi_c:
        yield Advice(
            "too-deep",
            "problem",
            f"signals of different inputs agree (or lose all likeness) after about xi_c = "
            f"{xi_c:.3g} layers; networks train up to about {TRAINABLE:g} xi_c = "
            f"{TRAINABLE * xi_c:.3g} layers, and this one has {depth}. Initialize on the critical "
            "line, where xi_c is infinite: tractable.spectra.init_",
            {"xi_c": xi_c, "depth": depth},
        )
