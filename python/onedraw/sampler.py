"""Sampler: the draw with its settings checked once and its position counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from . import _core, devices, operators, ops
from .arrays import check_fallback, device_of, logits_of, own
from .edits import placed_bias, placed_mask, set_bias
from .errors import raise_bad_rows
from .functional import Bias, Params, Values
from .params import BAD_TOKEN, POSITION, STREAM, merge, number, per_row, ties_keep
from .prepared import OnHost
from .progress import Progress
from .randomness import (
    LAST,
    check_generator,
    check_range,
    checked_seed,
    needs_seed,
    seed_from,
    take_seeds,
)
from .results import Draw, by_request, draw_of, draw_outputs
from .state import (
    made_state,
    on_device,
    own_bias,
    own_filters,
    own_mask,
)

__all__ = ["Sampler"]


class Sampler(Progress):
    """Logits to tokens, step after step: one Sampler a generation.

    Parameters
    ----------
    temperature, top_k, top_p, min_p, ties, seed, stream, params, allowed, logit_bias, bad_token
        As in `sample`, each a number or one a row; copied, so that a later change to a tensor
        given here changes nothing. A keyword wins over `params`, None being "not given".
    position : int, or list or Tensor [B]
        The index of the first token to be drawn in its request: the length of its prompt.
    generator : torch.Generator, optional
        Where an unseeded Sampler takes its seed, once, at its first draw (a list with None among
        its seeds: when it is made); by default torch's own. Row r then draws from stream r. A call
        that is refused takes none, but bad rows are found by drawing.
    raise_on_bad : bool
        Raise BadRowError at once, the position unchanged. If false, and on a device in any case,
        `check` raises it later.
    fallback : {"cpu"}, optional
        As in `sample`.

    Notes
    -----
    The number of rows B is fixed by the first draw, or by what is given one a row; `select`
    changes it. The token is that of `sample` with the same arguments, bit for bit. A call with
    logits of the shape of the call before allocates its result and nothing else. A Sampler must
    not be called from two threads at once.

    From its first draw on a CUDA device on, its positions live there, one a row, and the kernel
    advances them. No draw waits for the device, whatever it is given: what is on the host goes there
    through a pinned copy, so that it may be changed once the call returns. Draws on several streams
    wait for one another, in the order of the calls.

    A call captured into a CUDA graph draws new tokens at each replay. Draw once from logits of the
    same shape before the capture, give it only what is on the device, and keep the Sampler as long
    as the graph. A replay draws at the position that was last set or reached, by a draw of another
    shape or `reset`, too. After `select` or `load_state_dict`, a reset to another number of rows, or
    the reset of a Sampler that took its own seed, a graph of before goes on with its own settings,
    and counts positions that are no longer the Sampler's: capture anew.

    Examples
    --------
    >>> import onedraw, torch
    >>> sampler = onedraw.Sampler(temperature=0.8, top_k=50, top_p=0.9, seed=0)
    >>> logits = torch.linspace(0, 4, 100).expand(2, 100)
    >>> first, second = sampler(logits), sampler(logits)
    >>> sampler.position
    2
    >>> settings = onedraw.SamplingParams(0.8, 50, 0.9, seed=0)
    >>> torch.equal(second, onedraw.sample(logits, params=settings, position=1))
    True
    """

    def __init__(
        self,
        temperature: Values = None,
        top_k: Values = None,
        top_p: Values = None,
        min_p: Values = None,
        *,
        ties: str | None = None,
        seed: Values = None,
        stream: Values = None,
        position: Values = 0,
        generator: torch.Generator | None = None,
        params: Params = None,
        allowed: Tensor | None = None,
        logit_bias: Bias = None,
        bad_token: int = 0,
        raise_on_bad: bool = True,
        fallback: str | None = None,
    ) -> None:
        if params is not None:
            temperature, top_k, top_p, min_p, ties, seed, stream = merge(
                params, temperature, top_k, top_p, min_p, ties, seed, stream
            )
        check_fallback(fallback)
        if generator is not None:
            check_generator(generator)
        if seed is None:
            needs_seed("stream", stream)
        first = own(per_row(POSITION, 0 if position is None else position))
        state = made_state(
            own_filters(temperature, top_k, top_p, min_p),
            None if seed is None else own(checked_seed(seed, generator)),
            0 if stream is None else own(per_row(STREAM, stream)),
            first,
            len(params) if isinstance(params, (list, tuple)) else None,
            ties_keep=ties_keep(ties),
            bad_token=int(number(BAD_TOKEN, bad_token)),
            allowed=own_mask(allowed),
            logit_bias=own_bias(logit_bias),
        )
        take_seeds(state.seed, seed, generator)
        super().__init__(state, first)
        self._generator = generator
        self._raise_on_bad = raise_on_bad
        self._fallback = fallback

    def _settle(self, job: _core.Job, x: Tensor) -> None:
        """Fix the number of rows and the seed: at the first draw, when all of it is checked."""
        seed = self._state.seed
        if seed is None and not self._state.greedy():
            seed = seed_from(self._generator)
            job.set("seed", seed)
        self._state = replace(self._state, requests=ops.requests_of(x), seed=seed)
        self._settled, self._open = True, None

    def __call__(
        self,
        logits: Tensor,
        *,
        allowed: Tensor | None = None,
        logit_bias: Bias = None,
        keepdim: bool = False,
    ) -> Tensor:
        """Draw one token a row, and go on by one position (T for logits [B, T, V]).

        Parameters
        ----------
        logits : Tensor
            [..., V], with as many rows as before.
        allowed, logit_bias : optional
            For this call, in the place of those given to the Sampler.
        keepdim : bool
            Give [..., 1].

        Returns
        -------
        Tensor
            int64 [...], on the device of the logits.

        Examples
        --------
        >>> import onedraw, torch
        >>> greedy = onedraw.Sampler(temperature=0)
        >>> greedy(torch.tensor([[0.0, 2.0, 1.0]]), allowed=torch.tensor([True, False, True]))
        tensor([2])
        """
        if operators.traced(logits):
            made = self._traced(logits, allowed, logit_bias)
            return made["token"].unsqueeze(-1) if keepdim else made["token"]
        x = logits_of(logits, self._fallback)
        ready = self._ready
        if ready is None or not ready.fits(x):
            ready = self._prepare(x, self._fallback)
        token = torch.empty_like(ready.token)
        ready.job.output("token", token)
        self._run(ready, x, allowed, logit_bias)
        self._latest = ready.status
        if ready.bad():
            self._note(ready.status)
        self._advance(ready)
        if self._fallback is not None:
            token = token.to(device_of(logits))
        return token.unsqueeze(-1) if keepdim else token

    def draw(
        self,
        logits: Tensor,
        *,
        report: str | Sequence[str] = (),
        top_logprobs: int = 0,
        allowed: Tensor | None = None,
        logit_bias: Bias = None,
    ) -> Draw:
        """Draw as a call does, with the record that `onedraw.draw` gives; the position goes on too.

        Parameters
        ----------
        logits, allowed, logit_bias
            As in a call.
        report, top_logprobs
            As in `onedraw.draw`.

        Examples
        --------
        >>> import onedraw, torch
        >>> sampler = onedraw.Sampler(top_k=1)
        >>> sampler.draw(torch.tensor([[0.0, 2.0, 1.0]]), report="rank").rank
        tensor([1])
        >>> sampler.position
        1
        """
        if operators.traced(logits):
            return draw_of(self._traced(logits, allowed, logit_bias, report, top_logprobs))
        x = logits_of(logits, self._fallback)
        ready = self._ready
        if ready is None or not ready.fits(x):
            ready = self._prepare(x, self._fallback)
        outputs, job = draw_outputs(x, report, top_logprobs), ready.job
        try:
            for name, tensor in outputs.items():
                job.output(name, tensor)
            self._run(ready, x, allowed, logit_bias)
        finally:
            for name in outputs:
                job.output(name, None)
            job.output("status", ready.status)
        result = draw_of(outputs)
        self._latest = result.status
        if not devices.on_cuda(x) and bool(result.status.any()):
            self._note(result.status)
        self._advance(ready)
        return result if self._fallback is None else result.to(device_of(logits))

    def _traced(
        self, x: Tensor, allowed: Any, logit_bias: Any, report: Any = None, top: int = 0
    ) -> dict[str, Tensor]:
        """Record a draw: its positions are a tensor from here on, which the operator advances."""
        operators.check_traceable(self._state, x)
        if not isinstance(self._position, Tensor):
            self._position = on_device(self._position, x)
        self._begin_with(x)
        self._open = None
        if self._ready is not None:
            self._set_aside()  # the next direct draw begins from these tensors
        if self._bad is None:
            self._bad = torch.zeros_like(self._position, dtype=torch.int32)
        given = operators.settings_of(self._state, allowed, logit_bias, self._raise_on_bad)
        given["fallback"] = self._fallback
        made = operators.step(x, self._position, self._bad, given, report, top)
        self._latest = made["status"]
        return made

    def _run(self, ready: OnHost, x: Tensor, allowed: Any, logit_bias: Any) -> None:
        """Run at the present position; the edits of a call are taken back after it."""
        if self._last + ready.steps - 1 > LAST:
            check_range("position", self._last, ready.steps, "step")
        job = ready.job
        try:
            if allowed is not None:
                job.allow(placed_mask(x, allowed, self._fallback))
            if logit_bias is not None:
                set_bias(job, placed_bias(x, logit_bias, self._fallback))
            if not self._settled:
                self._settle(job, x)
            ready.run(x, self._position, self._turns)
        finally:
            if allowed is not None:
                job.allow(ready.mask)
            if logit_bias is not None:
                set_bias(job, ready.bias)

    def _note(self, status: Tensor) -> None:
        """Raise for bad rows, or remember them for `check`."""
        if self._raise_on_bad:
            raise_bad_rows(status)
        worst = own(by_request(status))
        self._bad = worst if self._bad is None else torch.maximum(self._bad, worst)

    def _advance(self, ready: OnHost) -> None:
        self._last += ready.steps
        self._position = ready.advanced(self._position)
