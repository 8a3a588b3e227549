"""
A graph unrolled in time
========================

Everything travels one edge per step of 10 ms. A node is driven by the image from the step of its
shortest path on; before, it says the same for every image.
"""

from tractable.vision.convrnn import ConvRNNSpec, Node
from tractable.vision.convrnn.plots import draw_unrolled

spec = ConvRNNSpec.chain(
    [
        Node("v1", 8),
        Node("v2", 8, cell="rgc"),
        Node("v4", 8, cell="rgc"),
        Node("it", 8, cell="gru"),
    ],
    n_classes=10,
)
spec.skip("v1", "v4").feedback("it", "v2")
print(spec.first_valid())
figure = draw_unrolled(spec, T=7)
