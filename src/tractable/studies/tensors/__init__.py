"""The studies of `tractable.tensors`."""
