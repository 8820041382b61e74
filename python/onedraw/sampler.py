"""Sampler: the draw with its settings checked once and its position counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from . import _core, devices, ops
from .arrays import check_fallback, device_of, logits_of, own
from .edits import allow, bias
from .errors import raise_bad_rows
from .functional import Bias, Params, Values
from .params import BAD_TOKEN, POSITION, STREAM, PerRow, merge, number, per_row, ties_keep
from .randomness import (
    LAST,
    check_generator,
    check_range,
    checked_seed,
    largest,
    needs_seed,
    seed_from,
    shares,
    take_seeds,
)
from .results import Draw, draw_of, draw_outputs
from .state import (
    State,
    loaded,
    on_device,
    own_bias,
    own_filters,
    own_mask,
    requests_in,
    row_numbers,
    saved,
    set_state,
)

__all__ = ["Sampler"]


class Sampler:
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
    advances them: nothing waits for the device, and a call captured into a CUDA graph draws new
    tokens at each replay. Draw once from logits of the same shape before the capture, and keep the
    Sampler as long as the graph.

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
        key = None if seed is None else own(checked_seed(seed, generator))
        of_stream = 0 if stream is None else own(per_row(STREAM, stream))
        filters = own_filters(temperature, top_k, top_p, min_p)
        self._position: PerRow = own(per_row(POSITION, 0 if position is None else position))
        rows = len(params) if isinstance(params, (list, tuple)) else None
        lengths = {**filters, "seed": key, "stream": of_stream, "position": self._position}
        self._state = State(
            requests=requests_in(rows, lengths),
            **filters,
            ties_keep=ties_keep(ties),
            bad_token=int(number(BAD_TOKEN, bad_token)),
            seed=key,
            stream=of_stream,
            row_stream=key is None or shares(key, of_stream),
            allowed=own_mask(allowed),
            logit_bias=own_bias(logit_bias),
        )
        take_seeds(key, seed, generator)
        self._origin = self._state
        self._generator = generator
        self._raise_on_bad = raise_on_bad
        self._fallback = fallback
        self._bad: Tensor | None = None  # the worst status of each request so far
        self._worst: Tensor | None = None  # the same of each row since `_prepare`, on a device
        self._forget()

    def _forget(self) -> None:
        """Let the next draw prepare its job anew."""
        self._bad, self._worst = self._statuses(), None
        self._shape: torch.Size | None = None
        self._job: _core.Job | None = None
        self._status: ops.StatusBuffer | None = None
        self._workspace: Tensor | None = None
        self._last = largest(self._position)  # of all rows: the range is checked without a look
        self._settled = False

    def _prepare(self, x: Tensor) -> _core.Job:
        """Build a job for logits of this shape."""
        requests = ops.requests_of(x)
        state = self._state
        if state.requests is not None and state.requests != requests:
            raise ValueError(
                f"logits must have as many rows as this Sampler, {state.requests}, got {requests}: "
                "select(rows) keeps some of its rows, reset() begins anew"
            )
        job, rows = _core.Job(), x.shape[:-1]
        there = devices.on_cuda(x)
        if there and devices.capturing():
            raise RuntimeError(
                "logits must be of a shape and device that this Sampler has drawn from before a CUDA "
                f"graph is captured, got {list(x.shape)}: draw once first"
            )
        position = on_device(self._position, x) if there else self._position
        set_state(job, x, state, position, self._fallback)
        self._bad, self._worst = self._statuses(), None
        self._status = self._workspace = None
        if there:
            self._position = position
            self._workspace = devices.new_workspace(x)
            self._worst = own(torch.zeros(rows, dtype=torch.int32, device=x.device))
            job.output("worst", self._worst)
            self._latest = torch.zeros_like(self._worst)
            job.output("status", self._latest)
            self._stream = _core.cuda_stream(x)
        else:
            self._status = ops.StatusBuffer(rows.numel())
            job.output("status", self._status.tensor)
        self._token = ops.empty(rows, torch.int64, x)  # the model of every result
        self._steps = ops.steps_of(x)
        self._job, self._shape, self._device = job, x.shape, x.device
        return job

    def _settle(self, job: _core.Job, x: Tensor) -> None:
        """Fix the number of rows and the seed: at the first draw, when all of it is checked."""
        seed = self._state.seed
        if seed is None and not self._state.greedy():
            seed = seed_from(self._generator)
            job.set("seed", seed)
        self._state = replace(self._state, requests=ops.requests_of(x), seed=seed)
        self._settled = True

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
        x = logits_of(logits, self._fallback)
        job = self._job
        if job is None or x.shape != self._shape or x.device != self._device:
            job = self._prepare(x)
        token = torch.empty_like(self._token)
        job.output("token", token)
        self._run(job, x, allowed, logit_bias)
        status = self._status
        if status is not None and status.data != status.fine:
            self._note(status.tensor.view(x.shape[:-1]))
        self._advance()
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
        x = logits_of(logits, self._fallback)
        job = self._job
        if job is None or x.shape != self._shape or x.device != self._device:
            job = self._prepare(x)
        outputs = draw_outputs(x, report, top_logprobs)
        try:
            for name, tensor in outputs.items():
                job.output(name, tensor)
            self._run(job, x, allowed, logit_bias)
        finally:
            for name in outputs:
                job.output(name, None)
            job.output("status", self._latest if self._status is None else self._status.tensor)
        result = draw_of(outputs)
        if self._status is not None and bool(result.status.any()):
            self._note(result.status)
        self._advance()
        return result if self._fallback is None else result.to(device_of(logits))

    def _run(self, job: _core.Job, x: Tensor, allowed: Any, logit_bias: Any) -> None:
        """Run at the present position; the edits of a call are taken back after it."""
        if self._last + self._steps - 1 > LAST:
            check_range("position", self._last, self._steps, "step")
        if type(self._position) is int:  # a tensor is read where it is
            job.set("position", self._position)
        try:
            if allowed is not None:
                allow(job, x, allowed, self._fallback)
            if logit_bias is not None:
                bias(job, x, logit_bias, self._fallback)
            if not self._settled:
                self._settle(job, x)
            if self._workspace is None:
                ops.run(job, x)
            else:
                self._launch(job, x, self._workspace)
        finally:
            if allowed is not None:
                allow(job, x, self._state.allowed, self._fallback)
            if logit_bias is not None:
                bias(job, x, self._state.logit_bias, self._fallback)

    def _launch(self, job: _core.Job, x: Tensor, space: Tensor) -> None:
        """Run on a device: positions of single steps go on in the kernel."""
        if not x.numel():
            return
        if _core.cuda_stream(x) != self._stream:  # what is freed must outlive the work on this one
            for tensor in (space, self._position, self._worst, self._latest):
                tensor.record_stream(torch.cuda.current_stream(x.device))  # type: ignore[union-attr]
        devices.launch(job, x, space, advance=self._steps == 1)
        if self._steps > 1:
            self._position.add_(self._steps)  # type: ignore[union-attr]

    def _statuses(self) -> Tensor | None:
        """The worst status of each request so far; None where no row was looked at."""
        worst = self._worst
        if worst is None:
            return self._bad
        worst = own(worst.amax(dim=1) if worst.dim() > 1 else worst.reshape(-1))
        return worst if self._bad is None else torch.maximum(self._bad.to(worst.device), worst)

    def _note(self, status: Tensor) -> None:
        """Raise for bad rows, or remember them for `check`."""
        if self._raise_on_bad:
            raise_bad_rows(status)
        worst = own(status.amax(dim=1) if status.dim() > 1 else status.reshape(-1))
        self._bad = worst if self._bad is None else torch.maximum(self._bad, worst)

    def _advance(self) -> None:
        self._last += self._steps
        if self._workspace is not None:
            return
        if isinstance(self._position, Tensor):
            self._position.add_(self._steps)
        else:
            self._position += self._steps

    @property
    def status(self) -> Tensor:
        """The statuses of the last call, int32 [...]: 0, or why a row is bad (see `BadRowError`).

        A buffer on the device of the logits, which the next call writes; a record of `draw` has its
        own. To look at it on a device is to wait for it.
        """
        if self._job is None:
            raise ValueError("status must be asked for after a draw, and before rows are selected")
        known = self._latest if self._status is None else self._status.tensor
        return known.view(self._token.shape)

    @property
    def position(self) -> PerRow:
        """The index of the next token: an int, or int64 [B] (a copy); it may be set.

        On a CUDA device it is int64 [B] there.
        """
        return own(self._position)  # type: ignore[no-any-return]

    @position.setter
    def position(self, value: Values) -> None:
        position = own(per_row(POSITION, value))
        requests = requests_in(self._state.requests, {"position": position})
        self._state = replace(self._state, requests=requests)
        self._position = position
        self._forget()

    def reset(self, position: Values = 0) -> None:
        """Begin anew at `position` with the settings that this Sampler was made with.

        `select` is undone, the number of rows is open again unless something was given one a row,
        bad rows are forgotten, and an unseeded Sampler takes a new seed at its next draw.
        """
        checked = own(per_row(POSITION, value=position))
        requests = requests_in(self._origin.requests, {"position": checked})
        self._state = replace(self._origin, requests=requests)
        self._position, self._bad, self._worst = checked, None, None
        self._forget()

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keep some rows, in this order: what a batch does when requests are finished.

        Parameters
        ----------
        rows : list or Tensor
            Row numbers, integers [n] in [0, B - 1], or a bool Tensor [B]. Each row takes its
            parameters, seed, stream and position along, so that its tokens do not change. A row
            named twice draws equal noise twice. Of a tensor on a device this is a
            synchronisation.

        Examples
        --------
        >>> import onedraw, torch
        >>> sampler, logits = onedraw.Sampler(seed=3), torch.zeros(3, 50)
        >>> alone = onedraw.Sampler(seed=3)
        >>> torch.equal(sampler(logits), alone(logits))
        True
        >>> sampler.select([2])
        >>> bool(sampler(logits[2:]) == alone(logits)[2])
        True
        """
        requests = self._state.requests
        if requests is None:
            raise ValueError(
                "rows must be selected after the first draw: how many there are is not known yet"
            )
        chosen = row_numbers(rows, requests)
        self._state = self._state.select(chosen)
        if isinstance(self._position, Tensor):
            self._position = own(self._position[chosen.to(self._position.device)])
        self._bad, self._worst = self._statuses(), None
        if self._bad is not None:
            self._bad = self._bad[chosen.to(self._bad.device)]
        self._forget()

    def check(self) -> None:
        """Raise BadRowError for the rows that were bad since `reset`, by their present numbers.

        With ``raise_on_bad=False``, and on a device in any case, this is where one learns of them.
        On a device it is a synchronisation.
        """
        bad = self._statuses()
        if bad is not None:
            raise_bad_rows(bad)

    def state_dict(self) -> dict[str, Any]:
        """Give everything that the next draws depend on: numbers and copies of tensors.

        `torch.save` takes it, and `torch.load` needs no more than its safe default.

        Examples
        --------
        >>> import onedraw, torch
        >>> sampler, logits = onedraw.Sampler(top_p=0.9, seed=1), torch.zeros(4, 50)
        >>> _ = sampler(logits)
        >>> other = onedraw.Sampler()
        >>> other.load_state_dict(sampler.state_dict())
        >>> torch.equal(sampler(logits), other(logits))
        True
        """
        return saved(self._state, self._position, self._statuses())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the Sampler of `state` was, with its settings in the place of one's own."""
        self._state, self._position, self._bad = loaded(state)
        self._origin, self._worst = self._state, None
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: the job is left behind and the position is the copy's own."""
        return {
            **self.__dict__,
            "_job": None,
            "_shape": None,
            "_status": None,
            "_workspace": None,
            "_worst": None,
            "_bad": own(self._statuses()),
            "_position": self.position,
        }
