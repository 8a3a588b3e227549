"""Arrays of any layout, trials, missing repetitions, Brain-Score's assemblies; what is refused."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
import xarray as xr

from tractable.vision.convrnn import (
    OST,
    FitResult,
    Recordings,
    SimilarityInTime,
    SyntheticNeurons,
    TimeSeries,
    ar2_latents,
    bootstrap_median,
    crossing_times,
    d_prime,
    layer_preference,
    layers_to_bins,
    load_brainscore,
    neural_fit,
    object_solution_times,
    rdm_noise_ceiling,
    recordings_of_assembly,
    similarity_in_time,
)

Y = np.random.default_rng(0).normal(size=(12, 4, 3, 2))
F = np.random.default_rng(1).normal(size=(12, 5, 2))
L = np.arange(12) % 2


def test_axes_of_any_order_are_the_same_recordings() -> None:
    swapped = Recordings.from_array(Y.transpose(2, 3, 0, 1), axes="neuron bin image repetition")
    np.testing.assert_array_equal(swapped.values, Y)
    data = xr.DataArray(
        Y.transpose(1, 0, 3, 2), dims=("trial", "picture", "bin", "neuron"),
        coords={"bin": [70.0, 80.0], "neuron": ["a", "b", "c"]},
    )  # fmt: skip
    named = Recordings.from_xarray(data, image="picture", repetition="trial")
    np.testing.assert_array_equal(named.values, Y)
    assert named.neurons == ("a", "b", "c")
    assert named.time_ms.tolist() == [70.0, 80.0]
    for times, units in (([0.07, 0.08], "s"), ([0.07, 0.08], "seconds"), ([7e4, 8e4], "us"),
                         (np.array([70, 80], "timedelta64[ms]"), None)):  # fmt: skip
        stamped = data.assign_coords(bin=("bin", times, {"units": units} if units else {}))
        in_ms = Recordings.from_xarray(stamped, image="picture", repetition="trial").time_ms
        np.testing.assert_allclose(in_ms, [70.0, 80.0])
    again = Recordings.from_dataset(named.to_dataset())
    np.testing.assert_array_equal(again.values, Y)
    assert again.neurons == named.neurons


def test_trials_in_any_order_are_gathered_by_image() -> None:
    image = np.repeat(np.arange(12), 4)
    order = np.random.default_rng(2).permutation(48)
    trials = Y.reshape(48, 3, 2)[order]
    found = Recordings.from_trials(trials[:-1], image[order][:-1])
    np.testing.assert_allclose(
        np.delete(found.mean(), image[order[-1]], 0), np.delete(Y.mean(1), image[order[-1]], 0)
    )
    assert found.n_repetitions.sum() == 47 * 3


def test_halves_are_disjoint_and_alike_with_missing_repetitions() -> None:
    values = np.zeros((4, 5, 1, 1))
    values[:] = 2.0 ** np.arange(5)[None, :, None, None]
    values[1, 3:] = np.nan
    ragged = Recordings.from_array(values, missing=True)
    for a, b in ragged.halves(20, seed=0):
        assert (a != b).all()
        for mean in (a[1, 0, 0], b[1, 0, 0]):  # one of 1, 2, 4
            assert mean in (1.0, 2.0, 4.0)
    assert ragged.length == pytest.approx(np.mean([1 / 2, 1, 1 / 2, 1 / 2])
                                          / np.mean([1 / 5, 1 / 3, 1 / 5, 1 / 5]))  # fmt: skip


def assembly() -> xr.DataArray:
    image = np.repeat([f"im{i}" for i in range(12)], 4)
    return xr.DataArray(
        Y.reshape(48, 3, 2), dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", image), "region": ("neuroid", ["V4", "IT", "IT"]),
            "neuroid_id": ("neuroid", ["a", "b", "c"]),
            "time_bin_start": ("time_bin", [70, 80]),
        },
        attrs={"stimulus_set": "the stimuli"},
    )  # fmt: skip


def test_brain_score_is_read_through_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("brainscore_vision")
    fake.load_dataset = lambda name: {"MajajHong2015.public": assembly()}[name]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "brainscore_vision", fake)
    found, stimuli = load_brainscore(area="IT")
    assert found.shape == (12, 4, 2, 2)
    assert (found.neurons, stimuli) == (("b", "c"), "the stimuli")
    assert found.time_ms.tolist() == [70.0, 80.0]
    place = [int(name[2:]) for name in found.images]
    np.testing.assert_allclose(found.mean(), Y.mean(1)[place][:, 1:])
    with pytest.raises(ValueError, match="area must be one of IT, V4"):
        load_brainscore(area="V1")


def test_without_brain_score_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brainscore_vision", None)
    with pytest.raises(ImportError, match=r"tractable\[brainscore\]"):
        load_brainscore()


def test_results_come_back_from_datasets() -> None:
    fit = neural_fit(F, Y, splits=2, n_halvings=2, mapping="latency", shifts=[0, 1])
    again = FitResult.from_dataset(fit.to_dataset())
    for name in ("score", "corrected", "shift", "excluded"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fit, name))
    ost = object_solution_times(F, L, 0.5, [70, 80], splits=2)
    np.testing.assert_array_equal(OST.from_dataset(ost.to_dataset()).times_ms, ost.times_ms)
    like = similarity_in_time(F, Y, n_boot=3, n_halvings=2)
    again_ = SimilarityInTime.from_dataset(like.to_dataset())
    np.testing.assert_array_equal(again_.score, like.score)


def test_a_time_series_of_a_network_is_taken_as_features() -> None:
    maps = torch.randn(12, 2, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    series = TimeSeries(maps, torch.tensor([True, True]))
    same = maps[..., 0, 0].permute(0, 2, 1).double().numpy()
    one, two = (neural_fit(x, Y, splits=1, n_halvings=2) for x in (series, same))
    np.testing.assert_allclose(one.score, two.score)


def bad(*index: int, value: float = np.nan) -> np.ndarray:
    changed = Y.copy()
    changed[index] = value
    return changed


NEURONS = SyntheticNeurons(n_neurons=2)
CALLS = [
    (lambda: neural_fit(F, bad(0, 0, 1, 0)), "hold NaN, in neurons 1"),
    (lambda: neural_fit(F, bad(0, 0, 1, 0, value=np.inf)), "infinite"),
    (lambda: neural_fit(F, Y[:, 0]), "images, repetitions, neurons, bins"),
    (lambda: neural_fit(F, Y[:, :1]), "at least 2 repetitions"),
    (lambda: neural_fit(F[:11], Y), "12 images"),
    (lambda: neural_fit(F[..., :1].repeat(3, 2), Y), "3 bins, but the responses have 2"),
    (lambda: neural_fit(F * np.nan, Y), "features must be finite"),
    (lambda: neural_fit(F[0, 0], Y), "features must be"),
    (lambda: neural_fit(F[:, :0], Y), "12 images"),
    (lambda: neural_fit(F, Y, method="lasso"), "method must be"),
    (lambda: neural_fit(F, Y, mapping="shred"), "did you mean 'shared'"),
    (lambda: neural_fit(F, Y, correct="all"), "correct must be"),
    (lambda: neural_fit(F, Y, method="pls"), "below the number of training images, 6, got 25"),
    (lambda: neural_fit(F, Y, method="pls", n_components=0), "n_components"),
    (lambda: neural_fit(F, Y, splits=0), "splits"),
    (lambda: neural_fit(F, Y, train=1.0), "train"),
    (lambda: neural_fit(F, Y, train=0.01), "without images"),
    (lambda: neural_fit(F, Y, groups=[0, 1]), "groups"),
    (lambda: neural_fit(F, Y, categories=np.arange(12)), "without images"),
    (lambda: neural_fit(F, Y, n_halvings=0), "n_halvings"),
    (lambda: neural_fit(F, Y, least_reliability=2.0), "least_reliability"),
    (lambda: neural_fit(F, Y, pca=0), "pca"),
    (lambda: neural_fit(F, Y, penalties=[0.0]), "penalties"),
    (lambda: neural_fit(F, Y, penalties=[]), "penalties"),
    (lambda: neural_fit(F, Y, mapping="latency", shifts=[5]), "shifts"),
    (lambda: neural_fit(F, Y, mapping="latency", shifts=[]), "shifts"),
    (lambda: neural_fit([F[..., 0], F[:, :2, 1]], Y, mapping="shared"), "equally many features"),
    (lambda: neural_fit(F, Y, splits=1).median("V9"), "area must be one of"),
    (lambda: bootstrap_median([]), "one neuron"),
    (lambda: bootstrap_median([1.0], level=1.0), "level"),
    (lambda: bootstrap_median([1.0], n_boot=1), "n_boot"),
    (lambda: Recordings.from_array(Y, axes="image repetition neuron"), "4 axes, but axes names 3"),
    (lambda: Recordings.from_array(Y, axes="image trial neuron bin"), "axes must name"),
    (lambda: Recordings.from_array(Y, axes="image image neuron bin"), "axes must name"),
    (lambda: Recordings.from_array(Y[:3]), "4 images"),
    (lambda: Recordings.from_array(Y, time_ms=[0.0]), "time_ms must have 2"),
    (lambda: Recordings.from_array(Y, neurons=["a"]), "neurons must have 3"),
    (lambda: Recordings.from_array(Y, areas=["a"]), "areas must have 3"),
    (lambda: Recordings.from_array(bad(0, 0, 1, 0), missing=True), "NaN in some bins"),
    (lambda: Recordings.from_array(bad(0, slice(None), 1), missing=True), "neuron 1 to image 0"),
    (lambda: Recordings.from_array(bad(slice(None), slice(None), 1), missing=True),
     "neurons 1 are NaN throughout"),
    (lambda: Recordings.from_trials(Y[:, 0], [1, 2]), "image_of_trial"),
    (lambda: Recordings.from_xarray(xr.DataArray(Y[:, 0, 0], dims=("a", "b"))), "dimensions"),
    (lambda: recordings_of_assembly(xr.DataArray(Y[:, 0, 0], dims=("a", "b"))), "presentation"),
    (lambda: recordings_of_assembly(assembly().drop_vars("stimulus_id")), "stimulus_id"),
    (lambda: SyntheticNeurons(n_neurons=0), "n_neurons"),
    (lambda: SyntheticNeurons(rate_hz=0.0), "rate_hz"),
    (lambda: SyntheticNeurons(dispersion=-1.0), "dispersion"),
    (lambda: SyntheticNeurons(latency_bins={}), "latency_bins"),
    (lambda: SyntheticNeurons(latency_bins={"IT": -1}), "latency_bins"),
    (lambda: NEURONS.record(F * np.nan), "features must be finite"),
    (lambda: NEURONS.record(F[0, 0]), "features must be"),
    (lambda: NEURONS.record(F, 0), "n_repeats"),
    (lambda: ar2_latents(5, 5, 0), "n_bins"),
    (lambda: ar2_latents(5, 5, 5, decay=1.0), "decay"),
    (lambda: ar2_latents(5, 5, 5, period=2.0), "period"),
    (lambda: d_prime(3, 2, 0, 2), "hits must be between"),
    (lambda: d_prime(1, 2, np.nan, 2), "false_alarms"),
    (lambda: crossing_times([1.0], 1.0, [70.0]), "d must be"),
    (lambda: crossing_times([[1.0, 2.0]], 1.0, [80.0, 70.0]), "increase"),
    (lambda: object_solution_times(F, L[:11], 1.0, [70, 80]), "11 images"),
    (lambda: object_solution_times(F, L * 0, 1.0, [70, 80]), "two classes"),
    (lambda: object_solution_times(F, L, [1.0, 2.0], [70, 80]), "target_accuracy"),
    (lambda: object_solution_times(F, L, np.inf, [70, 80]), "target_accuracy"),
    (lambda: object_solution_times(F, L, 1.0, [70, 80], C=0.0), "C must"),
    (lambda: object_solution_times(Recordings.from_array(Y), L, 1.0, [70]), "2 bins"),
    (lambda: layers_to_bins([], 3), "layers"),
    (lambda: layers_to_bins([np.ones((3, 2)), np.ones((4, 2))], 3), "same images"),
    (lambda: layers_to_bins([np.ones((3, 2))] * 3, 2), "n_bins"),
    (lambda: layers_to_bins([np.ones((3, 2))], 2, shares=[-1.0]), "shares"),
    (lambda: layer_preference([], Y), "layers"),
    (lambda: similarity_in_time(F, Y, measure="cca"), "measure"),
    (lambda: similarity_in_time(F[:, :1], Y), "two neurons and two features"),
    (lambda: rdm_noise_ceiling(np.ones((1, 4, 4))), "subjects"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_bad_calls_name_the_argument(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
