"""The loop of training, written out.

Its state is whole: operator, average, prior, schedule, pool, optimizer and random numbers go into
one checkpoint, and a resumed run has the bits of an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tractable.core.progress import track
from tractable.core.seeds import derive
from tractable.walkback.fit_result import FitResult, StepInfo
from tractable.walkback.held_out import evaluate, has_waited, warn_unless_it_heats
from tractable.walkback.interrupts import Interrupts
from tractable.walkback.objective import pair_loss, walkback_loss
from tractable.walkback.operators import TransitionOperator
from tractable.walkback.priors import follow_ends, walk_ends
from tractable.walkback.schedule import Schedule
from tractable.walkback.trainer_state import State, identity, save

END_WALKS = 4000


class Trainer:
    """The loop and its state."""

    def __init__(  # type: ignore[no-untyped-def]  # `fit` says them
        self, operator, x, schedule, prior, mode, update, steps, batch_size, lr, warmup, final_lr,
        optimizer, grad_clip, ema, amp, held, eval_every, patience, adapt_every, chunk, estimator,
        callbacks, folder, checkpoint_every, seed, monitor,
    ) -> None:  # fmt: skip
        self.operator, self.x, self.schedule, self.prior = operator, x, schedule, prior
        self.mode, self.update, self.steps, self.batch_size = mode, update, steps, batch_size
        self.lr, self.warmup, self.final_lr = lr, warmup, final_lr
        self.grad_clip, self.ema, self.amp, self.held = grad_clip, ema, amp, held
        self.eval_every = eval_every or max(1, steps // 20)
        self.patience, self.adapt_every, self.chunk = patience, adapt_every, chunk
        self.estimator, self.callbacks, self.monitor = estimator, callbacks, monitor
        self.folder, self.checkpoint_every, self.seed = folder, checkpoint_every, seed
        self.average = copy.deepcopy(operator) if ema is not None else operator
        if self.average is not operator:
            self.average.requires_grad_(False).eval()
        parameters = [p for p in operator.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError("operator has nothing to train: no parameter requires a gradient")
        self.parameters = parameters
        make = optimizer or (lambda params: torch.optim.Adam(params, lr=lr))
        self.optimizer = make(parameters)
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler("cuda", enabled=amp == "fp16")
        self.source = torch.Generator(x.device).manual_seed(derive(seed, "walkback") % 2**62)
        self.state, self.asked = State(), Interrupts()
        self.identity = {} if folder is None else identity(self)
        self.levels()

    # --- temperatures of the rows of a pool ------------------------------------------------------

    @property
    def path(self) -> Path:
        """The checkpoint."""
        assert self.folder is not None
        return self.folder / "walkback.safetensors"

    def levels(self) -> None:
        """Prepare what does not change while the schedule stands."""
        length, n = len(self.schedule), self.batch_size
        device, dtype = self.x.device, self.x.dtype
        self.level = torch.arange(length, device=device).repeat_interleave(n)
        self.row_temperature = self.schedule.temperatures.to(device, dtype)[self.level]

    def _fill_pool(self) -> Tensor:
        """Return states of whole walks, one batch at each temperature: ``(L, B, *event)``."""
        s, pool = self._batch(), []
        with torch.no_grad():
            for k, temperature in enumerate(self.schedule.temperatures.tolist()):
                pool.append(s)
                s = self.operator.sample(s, temperature, step=k, generator=self.source)
        return torch.stack(pool)

    def _batch(self) -> Tensor:
        device = self.x.device
        rows = torch.randint(len(self.x), (self.batch_size,), generator=self.source, device=device)
        return self.x[rows]

    # --- one iteration -------------------------------------------------------------------------

    def run(self, progress: bool) -> None:
        """Iterate to the end, to the patience, or until interrupted; a checkpoint is whole."""
        state = self.state
        self.operator.train()
        remaining = range(state.step, self.steps if not has_waited(self) else state.step)
        with self.asked, _autocast(self.operator, self.amp):
            for step in track(remaining, self._told, show=progress):
                loss = self._iterate(step)
                state.losses.append(loss)
                state.step = step + 1
                self._tell("on_step", loss)
                if self._is_due(self.adapt_every):
                    self._adapt()
                stop = False
                if self._is_due(self.eval_every):
                    stop = evaluate(self)
                    self._tell("on_eval", loss)
                if self._is_due(max(1, len(self.x) // self.batch_size)):
                    self._tell("on_epoch", loss)
                wanted = self.asked.wanted
                if self.folder is not None and (wanted or self._is_due(self.checkpoint_every)):
                    save(self)
                if wanted:
                    raise KeyboardInterrupt
                if stop:
                    break
        if self.folder is not None:
            save(self)

    def _told(self) -> str:
        """Describe the training beside its bar."""
        state = self.state
        if not state.losses:
            return "training"
        bound = f", bound {state.bound[-1]:.4g}" if self.held is not None and state.bound else ""
        return f"training: loss {state.losses[-1]:.4g}{bound}"

    def _is_due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _iterate(self, step: int) -> float:
        for group, base in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = base * self._rate(step)
        if self.update == "pool" and self.mode != "elbo":
            return self._from_pool()
        x = self._batch()
        if self.update == "online" and self.mode != "elbo":
            return self._online(x)
        loss, stats = walkback_loss(
            self.operator, x, self.schedule, mode=self.mode, prior=self.prior,
            estimator=self.estimator, generator=self.source, chunk=self.chunk,
        )  # fmt: skip
        self._finite(loss, None)
        self._learn(loss)
        follow_ends(self.prior, stats.end)
        return float(loss.detach())

    def _rate(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * share))

    def _from_pool(self) -> float:
        if self.state.pool is None:
            self.state.pool = self._fill_pool()
        pool = self.state.pool
        pool[0] = self._batch()
        before = pool.flatten(0, 1)
        with torch.no_grad():
            after = self.operator.sample(
                before, self.row_temperature, step=self.level, generator=self.source
            )
        source = before if self.mode == "released_code" else after
        self.optimizer.zero_grad(set_to_none=True)
        whole = self.chunk is None and not self.scaler.is_enabled()
        loss = pair_loss(
            self.operator, source, before, self.row_temperature, self.level,
            chunk=self.chunk, backward=whole or self.chunk is not None,
        )  # fmt: skip
        self._finite(loss, after)
        self._learn(None if not loss.requires_grad else loss, zero=False)
        moved = after.reshape(pool.shape)
        pool[1:] = moved[:-1]
        follow_ends(self.prior, moved[-1])
        return float(loss.detach())

    def _online(self, x: Tensor) -> float:
        s, total = x, 0.0
        for k, temperature in enumerate(self.schedule.temperatures.tolist()):
            with torch.no_grad():
                after = self.operator.sample(s, temperature, step=k, generator=self.source)
            t = torch.full((len(s),), temperature, dtype=s.dtype, device=s.device)
            at = torch.full((len(s),), k, device=s.device)
            source = s if self.mode == "released_code" else after
            loss = pair_loss(self.operator, source, s, t, at)
            self._finite(loss, after)
            self._learn(loss)
            total += float(loss.detach())
            s = after
        follow_ends(self.prior, s)
        return total / len(self.schedule)

    def _learn(self, loss: Tensor | None, *, zero: bool = True) -> None:
        if zero:
            self.optimizer.zero_grad(set_to_none=True)
        if loss is not None:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, self.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not self.operator:
            assert self.ema is not None
            done = self.state.step
            weight = 1 - min(self.ema, (1 + done) / (10 + done))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(self.operator.parameters()), weight
                )
                for ours, theirs in zip(
                    self.average.buffers(), self.operator.buffers(), strict=True
                ):
                    ours.copy_(theirs)

    def _finite(self, loss: Tensor, after: Tensor | None) -> None:
        if bool(torch.isfinite(loss)):
            return
        where = ""
        if after is not None and len(after) == len(self.row_temperature):
            bad = ~torch.isfinite(after.flatten(1)).all(1)
            if bool(bad.any()):
                where = f"; states are not finite at T = {float(self.row_temperature[bad][0]):g}"
        top = float(self.schedule.temperatures[-1])
        raise FloatingPointError(
            f"the loss is {float(loss)} at iteration {self.state.step}{where} (the ladder ends at "
            f"T = {top:g}): lower the learning rate, or the ladder's end"
        )

    def _tell(self, moment: str, loss: float) -> None:
        if not self.callbacks:
            return
        state = self.state
        info = StepInfo(
            state.step, loss, state.bound[-1] if state.bound else math.nan,
            state.sigma[-1] if state.sigma else math.nan, self.operator, self.average, self.prior,
            self.schedule,
        )  # fmt: skip
        for callback in self.callbacks:
            told = getattr(callback, moment, None)
            if told is None:
                continue
            try:
                told(info)
            except KeyboardInterrupt:  # waits for the end of the iteration, as Ctrl-C does
                self.asked.wanted = True

    def _adapt(self) -> None:
        """Fit the ladder to the present noise; the pool is filled anew where its length changes."""
        t = self.schedule.temperatures
        cold = int((t == t[0]).sum()) - 1
        factor = float(t[-1] / t[-2]) if len(t) > cold + 1 else 2.0
        fresh = Schedule.from_data(self.x, self.operator, factor, cold)
        if len(fresh) != len(self.schedule):
            self.schedule = fresh
            self.levels()
            self.state.pool = None

    def result(self) -> FitResult:
        """Return the trained operator; the prior is that of the averaged operator's walks."""
        state = self.state
        self.operator.eval()
        average = self.average
        if average is self.operator and state.best_weights:
            average = copy.deepcopy(self.operator)
        if state.best_weights:
            average.load_state_dict(state.best_weights)
        average.eval()
        own = torch.Generator(self.x.device).manual_seed(derive(self.seed, "ends") % 2**62)
        ends = walk_ends(average, self.x, self.schedule, END_WALKS, own)
        follow_ends(self.prior, ends, 0.0)
        warn_unless_it_heats(self, ends)
        history = {
            "loss": np.array(state.losses),
            "eval_step": np.array(state.eval_step),
            "bound": np.array(state.bound),
            "importance": np.array(state.importance),
            "sigma": np.array(state.sigma),
        }
        best = state.best_step if state.best_weights else state.step
        return FitResult(self.operator, average, self.prior, self.schedule, history, best)


class _autocast:
    """Run the network, and only it, in a lower precision."""

    def __init__(self, operator: TransitionOperator, amp: str | None) -> None:
        self.net = getattr(operator, "net", None) if amp else None
        self.dtype = torch.bfloat16 if amp == "bf16" else torch.float16

    def __enter__(self) -> None:
        if self.net is None:
            return
        plain, dtype = self.net.forward, self.dtype

        def lower(s: Tensor, *more: Any) -> Tensor:
            with torch.autocast(s.device.type, dtype=dtype):
                return plain(s, *more).to(s.dtype)

        self.net.forward = lower

    def __exit__(self, *error: object) -> None:
        if self.net is not None:
            del self.net.forward
