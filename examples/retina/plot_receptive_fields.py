"""
Receptive fields of any layer, and what they are
================================================

Fields of an untrained network are noise: the statistics say so. Fields that one draws oneself, a
center with its surround and an edge, are told apart.
"""

import numpy as np
import torch

from tractable.vision.retina import (
    RetinaVVS,
    classify_rf,
    orientation,
    radial_fraction,
    receptive_fields,
)
from tractable.vision.retina.plots import plot_mosaic

# %%
# The mean gradient of every cell of ``vvs_1`` over some images; silent cells are counted.

model = RetinaVVS(n_bn=1, d_vvs=1, kernel=5, retina_channels=8, vvs_channels=7, pool=2,
                  head=(10,), in_shape=(1, 16, 16))  # fmt: skip
images = torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
fields = receptive_fields(model, "vvs_1", images=images)
print(fields.n_dead, "silent cells; radial fraction", radial_fraction(fields.rf).round(2))

# %%
# A difference of Gaussians and a Gabor function beside them.

y, x = np.mgrid[-8:8, -8:8]
surround = np.exp(-(x**2 + y**2) / 2) / 2 - np.exp(-(x**2 + y**2) / 8) / 8
edge = np.exp(-(x**2 + y**2) / 8) * np.sin(2 * np.pi * x / 5)
drawn = np.stack([surround, edge])
print(classify_rf(drawn).counts(), orientation(drawn).anisotropy.round(2))
plot_mosaic(np.concatenate([drawn, fields.rf[:6]]))
