"""Datasets are read back as xarray reads them, whatever they hold."""

import numpy as np
import pytest
import xarray as xr

from tractable.core import netcdf

NUMBERS = xr.Dataset(
    {
        "rate": (
            ("time", "neuron"),
            np.linspace(0, 1, 6).reshape(3, 2),
            {
                "units": "Hz",
                "n": 3,
                "low": 0.5,
                "parts": [1, 2],
                "axes": ["x", "y"],
                "one": ["z"],
                "note": "",
            },
        ),
        "hole": ("neuron", [np.nan, 2.0]),
        "count": ("neuron", np.array([1, 2], dtype=np.int32)),
        "single": ("time", np.zeros(3, dtype=np.float32)),
        "scalar": ((), 4.5),
        "empty": ("nothing", np.zeros(0)),
    },
    coords={
        "time": ("time", [0.0, 0.5, 1.0], {"units": "s"}),
        "depth": ("neuron", [3.0, 4.0]),
        "temperature": 37.0,
    },
    attrs={"notes": "[]", "version": 2},
)
OTHERS = {
    "texts": xr.Dataset({"name": ("n", ["a", "b"])}, coords={"n": ["x", "y"]}),
    "truth values": xr.Dataset({"holds": ("n", [True, False])}),
    "complex": xr.Dataset({"root": ("n", np.array([1 + 2j, 3j]))}),
    "time": xr.Dataset({"t": ("n", np.array([1, 2], dtype="timedelta64[s]"))}),
    "label of two dimensions": xr.Dataset({"n": (("n", "m"), np.eye(2))}),
    "nothing": xr.Dataset(),
    "attributes alone": xr.Dataset(attrs={"title": "none"}),
}


@pytest.mark.parametrize("group", [None, "measured"])
@pytest.mark.parametrize("dataset", [NUMBERS, *OTHERS.values()], ids=["numbers", *OTHERS])
def test_a_dataset_is_what_xarray_reads(tmp_path, dataset, group):
    path = tmp_path / "a.nc"
    try:
        dataset.to_netcdf(path, group=group, engine="h5netcdf")
    except ValueError:  # a label of two dimensions has no place in netCDF
        pytest.skip("netCDF does not hold it")
    expected = xr.load_dataset(path, group=group, engine="h5netcdf")
    found = netcdf.load(path, group)
    xr.testing.assert_identical(found, expected)
    assert list(found.variables) == list(expected.variables)
    for name in expected.variables:
        assert found[name].dtype == expected[name].dtype
        for key, value in expected[name].attrs.items():
            assert type(found[name].attrs[key]) is type(value)


def test_numbers_are_read_without_xarrays_reader(tmp_path, monkeypatch):
    NUMBERS.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    monkeypatch.setattr(xr, "load_dataset", None)
    assert netcdf.load(tmp_path / "a.nc").equals(NUMBERS)


def test_a_group_keeps_out_of_the_others(tmp_path):
    path = tmp_path / "a.nc"
    NUMBERS.to_netcdf(path, group="measured", engine="h5netcdf")
    NUMBERS[["rate"]].to_netcdf(path, group="theory", engine="h5netcdf", mode="a")
    assert set(netcdf.load(path, "theory").data_vars) == {"rate"}
    with pytest.raises(KeyError):
        netcdf.load(path, "nowhere")


def test_damage_and_absence_are_errors_of_the_system(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"no file of this kind")
    for name in ("a.nc", "b.nc"):
        with pytest.raises(OSError, match="open"):
            netcdf.load(tmp_path / name)
