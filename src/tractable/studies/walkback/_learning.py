"""How the studies learn an operator: one recipe, its variants, and what is asked of the result."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PAPER = "arXiv:1711.02282"


def generator(seed: int, *names: object) -> torch.Generator:
    """Return a generator of its own for each purpose."""
    from tractable.core.seeds import derive
    from tractable.core.seeds import generator as of_seed

    return of_seed(derive(seed, *names))


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained operator with its ladder and prior."""

    operator: Any
    schedule: Any
    prior: Any
    x: torch.Tensor
    updates: int

    def chain(self, n: int, *, extra: tuple[int, ...], seed: int, repeats: int = 1) -> np.ndarray:
        """Return draws after the ladder and so many cold steps, shape (len(extra), n, dim)."""
        import torch

        from tractable.walkback import sample

        random = generator(seed, "draws")
        state = sample(
            self.operator, n, schedule=self.schedule, prior=self.prior, repeats=repeats,
            generator=random,
        )  # fmt: skip
        found, done = [], 0
        with torch.inference_mode():
            for wanted in extra:
                for _ in range(wanted - done):
                    state = self.operator.sample(state, 1.0, generator=random)
                done = wanted
                found.append(state.numpy().astype(np.float64))
        return np.stack(found)

    def mean_samples(self, n: int, *, repeats: int, seed: int) -> np.ndarray:
        """Return draws of which the last step is its mean."""
        from tractable.walkback import sample

        drawn = sample(
            self.operator, n, schedule=self.schedule, prior=self.prior, repeats=repeats,
            return_mean=True, generator=generator(seed, "draws"),
        )  # fmt: skip
        return drawn.numpy().astype(np.float64)

    def paths(
        self, x: torch.Tensor, *, seed: int, n_shown: int = 6
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return heated and generated states at the same places of the ladder, and their T."""
        temperatures = self.schedule.temperatures
        heated, walked = self._both(x, seed)
        shown = np.unique(np.linspace(0, len(temperatures), n_shown).round().astype(int))
        at = np.maximum(shown - 1, 0)
        return heated[shown], walked[shown], temperatures.numpy()[at].astype(float)

    def levels(
        self, x: np.ndarray, *, seed: int, n: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the noise of each level, and the variances of walked and generated states."""
        import torch

        heated, walked = self._both(torch.from_numpy(x[:n]).float(), seed)
        noise = self._noise()
        return noise, heated[1:].var(1), walked[1:].var(1)

    def _noise(self) -> np.ndarray:
        import torch

        with torch.inference_mode():
            rows = [
                float(torch.as_tensor(self.operator.std(self.x[:64], T)).max(-1).values.median())
                for T in self.schedule.temperatures
            ]
        return np.array(rows)

    def _both(self, x: torch.Tensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return heated and generated states, data first, shape (L + 1, n, dim)."""
        import torch

        from tractable.walkback import walkback_path

        heated = walkback_path(self.operator, x, self.schedule, generator=generator(seed, "heat"))
        random = generator(seed, "walk")
        state = self.prior.sample(len(x), generator=random)
        walked = [state]
        with torch.inference_mode():
            for temperature in self.schedule.temperatures.flip(0):
                state = self.operator.sample(state, float(temperature), generator=random)
                walked.append(state)
        walked.reverse()
        both = heated.states, torch.stack(walked)
        return both[0].numpy().astype(np.float64), both[1].numpy().astype(np.float64)

    def complete(
        self, pixels: np.ndarray, known: np.ndarray, basis: np.ndarray | None, *, seed: int
    ) -> np.ndarray:
        """Return flat pixels with the unknown ones drawn, float64."""
        import torch

        from tractable.walkback import inpaint

        rotation = None if basis is None else torch.from_numpy(basis.copy()).float()
        done = inpaint(
            self.operator, torch.from_numpy(pixels).float(), torch.from_numpy(known),
            schedule=self.schedule, prior=self.prior, basis=rotation, num_resample=2,
            generator=generator(seed, "complete"),
        )  # fmt: skip
        return done.numpy().astype(np.float64)

    def sigma(self, x: torch.Tensor) -> float:
        """Return the median noise at temperature 1 over data x."""
        import torch

        with torch.inference_mode():
            return float(torch.as_tensor(self.operator.std(x, 1.0)).median())

    def last_noise(self) -> float:
        """Return the median noise of the hottest step."""
        return float(self._noise()[-1])

    def end_std(self, seed: int) -> float:
        """Return the standard deviation of the end of the walk."""
        heated, _ = self._both(self.x[:2000], seed)
        return float(heated[-1].std())


def operator_of(
    variant: str, dim: int, *, hidden: tuple[int, ...], sigma: float, skip: Any,
    variances: np.ndarray | None, temperature_power: float = 1.0, n_components: int = 0,
    pixels: tuple[tuple[int, ...], np.ndarray | None] | None = None,
) -> Any:  # fmt: skip
    """Return the operator of a variant, untrained.

    With ``pixels`` (shape of an image, basis of its components or None) the net is convolutional.

    With ``n_components`` the net sees and moves the first coordinates only: the others keep the
    Gaussian of their variances, which F = 0 has as its law.
    """
    import torch

    from tractable.walkback import GaussianOperator, mlp_operator

    seen: Any = "log_temperature"
    noise: Any = torch.tensor(sigma)
    settings: dict[str, Any] = {}
    if variant in ("tied", "tied_fixed"):
        seen, skip = "none", "leak"
    if variant in ("learned", "tied"):
        noise = "learned"
        settings["sigma_start"] = sigma
    elif skip == "gaussian":
        spread = torch.as_tensor(variances, dtype=torch.float32)
        noise = torch.minimum(noise, spread.sqrt() / 2)
        settings["variances"] = spread
    if skip == "leak" and seen != "none":
        settings["input_scaling"] = True
    if variant == "symmetric":
        return GaussianOperator(
            _energy(dim, 4 * hidden[0]), (dim,), skip=skip, sigma=noise, time_conditioning=seen,
            **settings,
        )  # fmt: skip
    if pixels is not None:
        return GaussianOperator(
            convolutional(*pixels, n_components or dim), (dim,), skip=skip, sigma=noise,
            time_conditioning=seen, **settings,
        )  # fmt: skip
    if 0 < n_components < dim:
        inner: Any = mlp_operator(n_components, hidden, sigma=0.1, skip="preconditioned").net
        return GaussianOperator(
            _leading(inner, n_components), (dim,), skip=skip, sigma=noise, time_conditioning=seen,
            **settings,
        )  # fmt: skip
    return mlp_operator(
        dim, hidden, skip=skip, sigma=noise, time_conditioning=seen,
        temperature_power=temperature_power, **settings,
    )  # fmt: skip


def _energy(dim: int, n_hidden: int) -> Any:
    """Return a net with symmetric weights: F = W' (g * tanh(W s + b)), minus an energy's gradient.

    Gain g and bias b depend on the noise; its Jacobian W' diag(g (1 - tanh^2)) W is symmetric.
    """
    import torch
    from torch import nn

    class Energy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(n_hidden, dim) * 3)
            self.bias = nn.Parameter(torch.randn(n_hidden) * 3)
            self.shift = nn.Linear(5, n_hidden, bias=False)
            self.gain = nn.Linear(5, n_hidden)
            nn.init.zeros_(self.gain.weight)
            nn.init.zeros_(self.gain.bias)

        def forward(self, s: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
            inside = s @ self.weight.T + self.bias + self.shift(more)
            return (self.gain(more) * inside.tanh()) @ self.weight / n_hidden**0.5

    return Energy()


def _leading(inner: Any, n: int) -> Any:
    """Return a net that acts on the first n coordinates and is 0 on the others."""
    from torch import nn

    class Leading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, s: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
            return nn.functional.pad(self.inner(s[:, :n], more), (0, s.shape[1] - n))

    return Leading()


def convolutional(shape: tuple[int, ...], basis: np.ndarray | None, n: int) -> Any:
    """Return a convolutional net on components: R' conv(R s), the first n columns of R only.

    Scaled components turned back by R are an image whitened without a rotation, whose pixels
    keep their neighbors; components beyond n are not seen and not moved.
    """
    import torch
    from torch import nn

    from tractable.walkback import conv_operator

    preset = "digits" if shape[-1] <= 8 else "mnist" if shape[0] == 1 else "cifar"
    made: Any = conv_operator(shape, preset, sigma=0.1, skip="preconditioned")
    dim = int(np.prod(shape))
    rotation = np.eye(dim)[:, :n] if basis is None else basis[:, :n]

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner: nn.Module = made.net
            self.register_buffer("basis", torch.from_numpy(rotation.copy()).float())

        def forward(self, s: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
            assert isinstance(self.basis, torch.Tensor)
            image = (s[:, :n] @ self.basis.T).reshape(len(s), *shape)
            moved = self.inner(image, more).flatten(1) @ self.basis
            return nn.functional.pad(moved, (0, s.shape[1] - n))

    return Pixels()


def learn(
    x: np.ndarray, *, variant: str, seed: int, n_steps: int, hidden: tuple[int, ...],
    sigma: float, factor: float, n_heat: int, n_cold: int, batch: int, skip: str,
    variances: np.ndarray | None = None, temperature_power: float = 1.0, update: Any = "pool",
    learning_rate: float = 2e-3, ema: float = 0.999, n_components: int = 0,
    pixels: tuple[tuple[int, ...], np.ndarray | None] | None = None,
    adapt_every: int | None = None,
) -> Learned:  # fmt: skip
    """Train the operator of a variant on points x, shape (n, dim)."""
    import torch

    from tractable.core.seeds import derive, seeded
    from tractable.walkback import Schedule, fit

    data = torch.from_numpy(np.asarray(x)).float()
    with seeded(derive(seed, "weights")):
        operator = operator_of(
            variant, data.shape[1], hidden=hidden, sigma=sigma, skip=skip, variances=variances,
            temperature_power=temperature_power, n_components=n_components, pixels=pixels,
        )  # fmt: skip
    schedule = Schedule.geometric(n_heat, factor=factor, num_cold=n_cold)
    mode: Any = {"elbo": "elbo", "released": "released_code"}.get(variant, "walkback")
    result = fit(
        operator, data, schedule=schedule, update=update, steps=n_steps, batch_size=batch,
        lr=learning_rate, ema=ema, seed=derive(seed, "training"), progress=False,
        mode=mode, device="cpu", adapt_every=adapt_every,
    )  # fmt: skip
    return Learned(result.ema_operator, result.schedule, result.prior, data, n_steps)


def denoiser(dim: int, hidden: tuple[int, ...]) -> Any:
    """Return the net of the operators as the noise estimate of a diffusion model."""
    from torch import nn

    from tractable.walkback import mlp_operator
    from tractable.walkback.gaussian_operator import noise_features

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made: Any = mlp_operator(dim, hidden, sigma=1.0, skip="preconditioned")
            self.net: nn.Module = made.net

        def forward(self, x: torch.Tensor, log_noise: torch.Tensor) -> torch.Tensor:
            return self.net(x, noise_features(log_noise.exp(), len(x)))

    return Net()


def diffuse(
    x: np.ndarray, test: np.ndarray, *, seed: int, n_steps: int, hidden: tuple[int, ...],
    length: int, lowest: float, highest: float, batch: int, n_draws: int,
    learning_rate: float = 2e-3,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Train a DDPM of the same net on as many rows; return draws and the bound of test points."""
    import copy

    import torch

    from tractable.core.seeds import derive, seeded
    from tractable.studies.walkback._ddpm import DDPM
    from tractable.train import cosine_decay, fit

    data = torch.from_numpy(np.asarray(x)).float()
    with seeded(derive(seed, "weights")):
        model = DDPM(denoiser(data.shape[1], hidden), data.shape[1], length, lowest, highest)
    averaged = copy.deepcopy(model)
    random = generator(seed, "rows")
    done = 0

    def loss(_: Any, rows: torch.Tensor) -> torch.Tensor:
        nonlocal done
        decay = min(0.999, (done + 1) / (done + 10))
        with torch.no_grad():
            for kept, now in zip(averaged.parameters(), model.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        done += 1
        return model.loss(rows, random)

    def epoch(_: int) -> Any:
        for _ in range(200):
            yield data[torch.randint(len(data), (batch,), generator=random)]

    fit(
        model, loss, epoch, steps=n_steps, learning_rate=learning_rate, seed=derive(seed, "ddpm"),
        device="cpu", clip=5.0, schedule=cosine_decay(n_steps, 0.01), progress=False,
    )  # fmt: skip
    draws = averaged.sample(n_draws, generator(seed, "draws")).numpy().astype(np.float64)
    points = torch.from_numpy(np.asarray(test)).float()
    random = generator(seed, "bound")
    bound = torch.stack([averaged.bound(points, random) for _ in range(8)]).mean(0)
    return draws, bound.numpy()


def untrained(model: Learned) -> Learned:
    """Return the operator of the same settings with F = 0, and its own prior."""
    import copy

    import torch

    from tractable.walkback import GaussianPrior

    operator: Any = copy.deepcopy(model.operator)
    with torch.no_grad():
        for weight in getattr(operator.net, "inner", operator.net).last.parameters():
            weight.zero_()
    prior = GaussianPrior.from_paths(
        operator, model.x, model.schedule, generator=generator(0, "blank")
    )
    return Learned(operator, model.schedule, prior, model.x, 0)


def multiplications(dim: int, hidden: tuple[int, ...], image: tuple[int, ...]) -> float:
    """Return the multiplications of the convolutional operator for one state."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    operator: Any = operator_of(
        "fixed", dim, hidden=hidden, sigma=0.1, skip="preconditioned", variances=None,
        pixels=(image, None),
    )  # fmt: skip
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        operator.sample(torch.randn(2, dim), torch.ones(2))
    return counter.get_total_flops() / 4  # two states, and a sum beside each product


def time_updates(
    dim: int, hidden: tuple[int, ...], length: int, batch: int,
    image: tuple[int, ...] | None = None,
) -> float:  # fmt: skip
    """Return the seconds of one pool update of an operator of this size, by trying some."""
    import time

    import torch

    from tractable.walkback import mlp_operator

    weights = dim * hidden[0] + sum(a * b for a, b in itertools.pairwise(hidden))
    weights += dim * hidden[-1]
    rows = int(min(length * batch, max(16, 2e9 / (8 * weights))))  # at most 2 GFLOP a try
    operator: Any = mlp_operator(dim, hidden, sigma=0.1, skip="preconditioned")
    if image is not None:
        rows = min(length * batch, 32)
        operator = operator_of(
            "fixed", dim, hidden=hidden, sigma=0.1, skip="preconditioned", variances=None,
            pixels=(image, None),
        )  # fmt: skip
    optimizer = torch.optim.Adam(operator.parameters(), 1e-3)
    x, temperature = torch.randn(rows, dim), torch.ones(rows)
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        with torch.no_grad():
            new = operator.sample(x, temperature)
        optimizer.zero_grad()
        (-operator.log_prob(x, new, temperature).mean()).backward()
        optimizer.step()
        best = min(best, time.perf_counter() - started)
    return best * length * batch / rows
