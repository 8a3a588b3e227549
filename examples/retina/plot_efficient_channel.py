"""
The most informative single channel, and the one that is learned
================================================================

One noisy channel that may spend a given power tells most about images with the spectrum of
photographs when its receptive field has a center and a surround. Beside this prediction stands the
kernel that gradient descent finds on samples of the same noisy images. What a network trained to
name objects learns behind its bottleneck is compared with it by the study ``retina-efficient``.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from tractable.vision.retina import efficient_channel, opposite_ratio, radial_fraction
from tractable.vision.retina.plots import plot_mosaic

# %%
# The theory: a power spectrum falling with the square of frequency, noise before and behind.

side, noise_in, noise_out, power = 16, 0.5, 0.1, 1.0
f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
f[0, 0] = 0.5 / side
spectrum = f**-2 / np.mean(f**-2)
channel = efficient_channel(spectrum, noise_in=noise_in, noise_out=noise_out, power=power)
predicted = np.fft.fftshift(channel.rf)

# %%
# The same problem for gradient descent. It knows no spectrum: it sees noisy images and maximizes
# the information of its answers, half the log of the power of each mode over that of its noise.

random = torch.Generator().manual_seed(0)
kernel = torch.zeros(side, side)
kernel[side // 2, side // 2] = 1.0
kernel += 0.05 * torch.randn(side, side, generator=random)
kernel.requires_grad_(True)
amplitude = torch.from_numpy(np.sqrt(spectrum)).float()
optimizer = torch.optim.Adam([kernel], lr=0.02)
for _step in range(300):
    white = torch.randn(128, side, side, generator=random)
    images = torch.fft.ifft2(torch.fft.fft2(white) * amplitude).real
    noisy = images + noise_in**0.5 * torch.randn(images.shape, generator=random)
    gain = torch.fft.fft2(kernel)
    answers = torch.fft.fft2(noisy) * gain
    total = answers.abs().square().mean(0) / side**2
    scale = power / total.mean()
    gain2 = gain.abs().square() * scale
    loss = -(torch.log((total * scale + noise_out) / (gain2 * noise_in + noise_out))).mean() / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# The theory fixes the gain at every frequency, not the phase: of all fields with this gain it takes
# the most compact one. So the gain that was learned is drawn with phase zero, too.

learned_gain = np.abs(np.fft.fft2(kernel.detach().double().numpy()))
learned = np.fft.fftshift(np.fft.ifft2(learned_gain).real)
both = np.stack([predicted, learned])
print("radial fraction", radial_fraction(both).round(3), "surround", opposite_ratio(both).round(2))
print(f"information {channel.information:.3f} and {-loss.item():.3f} nats per pixel")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
plot_mosaic(both, titles=["predicted", "learned"], crop=3, ax=left)
order = np.argsort(f.ravel())
peak = np.sqrt(channel.gain2).max(), learned_gain.max()
right.plot(f.ravel()[order], np.sqrt(channel.gain2).ravel()[order] / peak[0], label="predicted")
right.plot(f.ravel(), learned_gain.ravel() / peak[1], "o", ms=3, color="C1", label="learned")
right.set(xlabel="spatial frequency (cycles per pixel)", ylabel="gain over its peak")
right.legend()
