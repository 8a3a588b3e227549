"""The studies of `tractable.spectra`."""
