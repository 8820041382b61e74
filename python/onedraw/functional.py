"""The stateless functions: everything that a draw depends on is an argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import _core, devices, ops
from .arrays import device_of, logits_of
from .edits import set_edits
from .errors import raise_bad_rows
from .operators import traceable
from .params import PerRow, SamplingParams, merge
from .results import Draw, draw_of, draw_outputs

__all__ = ["draw", "kept_mask", "probs", "sample"]

Values = PerRow | Sequence[Any] | None
Params = SamplingParams | Sequence[SamplingParams] | None
Bias = Mapping[int, float] | Sequence[Mapping[int, float] | None] | Tensor | None


@traceable
def sample(
    logits: Tensor,
    *,
    temperature: Values = None,
    top_k: Values = None,
    top_p: Values = None,
    min_p: Values = None,
    ties: str | None = None,
    seed: Values = None,
    stream: Values = None,
    position: Values = None,
    generator: torch.Generator | None = None,
    allowed: Tensor | None = None,
    logit_bias: Bias = None,
    params: Params = None,
    keepdim: bool = False,
    bad_token: int = 0,
    raise_on_bad: bool = True,
    status_out: Tensor | None = None,
    fallback: str | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw one token a row: ``[..., V]`` -> int64 ``[...]``.

    Every parameter is a number, or a list or tensor [B] with one a row; None is off. Real ones are
    rounded to float32 once. Logits [B, T, V] are T steps of B requests: step t of request b has the
    parameters of b and is drawn at position[b] + t.

    Parameters
    ----------
    logits : Tensor
        float32, float16 or bfloat16, [V], [B, V] or [B, T, V], V up to 2^22; read in place with
        any row strides, as if detached (copied only if the last dimension is not contiguous). An
        array of another library is read through ``__dlpack__``, and gives a torch tensor too.
    temperature : float, optional
        0 is greedy (the first maximum, whatever filters and noise), else in [1e-6, 1e6]. None is 1.
    top_k : int, optional
        Keep the k likeliest. 0 and -1 are off; more than V keeps all.
    top_p : float, optional
        Of these keep the shortest prefix whose probability reaches p, in (0, 1]. 1 is off.
    min_p : float, optional
        Of these keep those at least min_p times as likely as the likeliest, in [0, 1]. 0 is off.
    ties : {"first", "keep"}, optional
        Of tokens as likely as the last one kept by top-k or top-p: keep those of lower id up to
        the cut (None, "first"), or all of them, as Hugging Face and vLLM do at k.
    seed : int, optional
        In [-2^63, 2^64 - 1]. Needs `position`. One a row (see `seeds`) makes a row's token
        independent of its place in the batch. One number, a bare int, gives row r the stream r
        (`stream` + r, if `stream` is one number, too), and promises nothing for another layout of
        the batch; if `stream` has one a row, these are read as they are.
    stream : int, optional
        In [0, 2^32 - 1], 0 if not given: sample j of one request draws from stream j. Needs `seed`.
    position : int, optional
        In [0, 2^32 - 1]: the index of the token being drawn in its request. Needs `seed`.
    generator : torch.Generator, optional
        Where an unseeded call takes its seed, one a call (a greedy one takes none), without waiting
        for a device. By default torch's own of the CPU, so that ``torch.manual_seed`` reproduces a
        run.
    allowed : Tensor, optional
        The tokens that may be drawn: bool [V] or one a row, or the same as bits packed in int32
        [..., ceil(V / 32)], the lowest bit first (as xgrammar and llguidance pack them). Read in
        place; one a request of logits [B, T, V] is copied to [B, T, ...] where B and T exceed 1.
    logit_bias : mapping, list of mappings, or Tensor, optional
        Added to the logits: {token id: value} for all rows, a list with one (or None) a row, or a
        tensor [V], or one a row (float32 is read in place, another dtype copied; one a request as
        for `allowed`).
    params : SamplingParams, or a list of them with one a row, optional
        What is not given as a keyword is taken from here. None is "not given", and turns off
        nothing that is set here; a parameter's own off value does: temperature=1.0, top_k=0,
        top_p=1.0, min_p=0.0, ties="first", stream=0.
    keepdim : bool
        Give [..., 1].
    bad_token : int
        The token of a bad row where `raise_on_bad` is false.
    raise_on_bad : bool
        Raise BadRowError if a row has a NaN or no token left; on the CPU alone (see Notes).
    status_out : Tensor, optional
        int32 [...], written: 0, or why a row is bad. Written before anything is raised.
    fallback : {"cpu"}, optional
        For logits on a device without a kernel: copy them, and what else is there, to the CPU (a
        synchronisation), draw there, and copy the tokens back. The token is the same as everywhere.
    out : Tensor, optional
        int64 of the result's shape, written and returned. One that is not contiguous costs a copy.

    Returns
    -------
    Tensor
        int64 [...], on the device of the logits; never requires grad.

    Raises
    ------
    ValueError, TypeError
        Names the parameter, what is allowed and what was given.
    BadRowError
        A ValueError that names the rows.

    Notes
    -----
    The token is a function of the logits, the parameters, seed, stream and position: bit for bit
    the same for every kernel, number of threads, batch, stride and dtype that represents the same
    logits. The rules are in ``csrc/spec/README.md``.

    Logits on a CUDA device are drawn from there, in one launch on its current stream, and nothing
    waits for it; what is given on the host goes there through a pinned copy made in the call.
    Parameters may be tensors on that device, too: their values are not looked at
    before the kernel does, which gives a row with one out of range the status 3. So on a device bad
    rows raise nothing: their token is `bad_token`, and `status_out` says why.

    Examples
    --------
    >>> import onedraw, torch
    >>> logits = torch.tensor([[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])
    >>> onedraw.sample(logits, temperature=0)
    tensor([3, 0])
    >>> onedraw.sample(logits, top_k=2, seed=onedraw.seeds(7, [0, 1]), position=0).shape
    torch.Size([2])
    >>> onedraw.sample(logits, temperature=[0, 1.5], top_k=[None, 1], keepdim=True)
    tensor([[3],
            [0]])
    """
    x = logits_of(logits, fallback)
    job = _core.Job()
    if params is not None:
        temperature, top_k, top_p, min_p, ties, seed, stream = merge(
            params, temperature, top_k, top_p, min_p, ties, seed, stream
        )
        ops.check_params(params, ops.requests_of(x))
    greedy = ops.set_filters(job, x, temperature, top_k, top_p, min_p, ties)
    if allowed is not None or logit_bias is not None:
        set_edits(job, x, allowed, logit_bias, fallback)
    if type(bad_token) is not int or bad_token != 0:
        job.bad_token = ops.check_bad_token(bad_token, x.shape[-1])
    rows = x.shape[:-1]
    shape = (*rows, 1) if keepdim else rows
    token = ops.new_or(out, "out", shape, torch.int64, x)
    job.output("token", token)
    status = ops.set_status(job, status_out, x)
    ops.set_key(job, x, greedy, seed, stream, position, generator)
    ops.run_checked(job, x, status_out, status, raise_on_bad)
    if out is not None:
        return out if token is out else ops.fill(out, token)
    return token if fallback is None else token.to(device_of(logits))


@traceable
def draw(
    logits: Tensor,
    *,
    report: str | Sequence[str] = (),
    top_logprobs: int = 0,
    temperature: Values = None,
    top_k: Values = None,
    top_p: Values = None,
    min_p: Values = None,
    ties: str | None = None,
    seed: Values = None,
    stream: Values = None,
    position: Values = None,
    generator: torch.Generator | None = None,
    allowed: Tensor | None = None,
    logit_bias: Bias = None,
    params: Params = None,
    keepdim: bool = False,
    bad_token: int = 0,
    raise_on_bad: bool = True,
    status_out: Tensor | None = None,
    fallback: str | None = None,
    out: Tensor | None = None,
) -> Draw:
    """Draw one token a row, with a record of that very draw.

    Parameters
    ----------
    logits : Tensor
        [..., V]; this and the parameters not listed here are those of `sample`, and the token is
        the same.
    report : str or sequence of str
        "all", or any of "raw_logprob", "rank", "entropy", "kept_mass": each is a look of its own
        at the row, and costs nothing where not asked for.
    top_logprobs : int
        How many of the likeliest tokens to give, in [0, V].

    Returns
    -------
    Draw
        A NamedTuple of tensors [...]; ``keepdim=True`` makes every one [..., 1] but the top tokens
        [..., n]. How far its numbers may be from the exact ones is in ``docs/determinism.md``.

    Examples
    --------
    >>> import onedraw, torch
    >>> logits = torch.tensor([0.0, 2.0, 1.0])
    >>> d = onedraw.draw(logits, top_k=2, seed=0, position=0, report="all", top_logprobs=3)
    >>> d.num_kept, d.top_tokens
    (tensor(2), tensor([1, 2, 0]))
    >>> d.top_logprobs
    tensor([-0.3133, -1.3133,    -inf])
    """
    x = logits_of(logits, fallback)
    job = _core.Job()
    if params is not None:
        temperature, top_k, top_p, min_p, ties, seed, stream = merge(
            params, temperature, top_k, top_p, min_p, ties, seed, stream
        )
        ops.check_params(params, ops.requests_of(x))
    greedy = ops.set_filters(job, x, temperature, top_k, top_p, min_p, ties)
    if allowed is not None or logit_bias is not None:
        set_edits(job, x, allowed, logit_bias, fallback)
    if type(bad_token) is not int or bad_token != 0:
        job.bad_token = ops.check_bad_token(bad_token, x.shape[-1])
    outputs = draw_outputs(x, report, top_logprobs, keepdim)
    shape = outputs["token"].shape
    if out is not None:
        outputs["token"] = ops.writable(out, "out", shape, torch.int64, x)
    if status_out is not None:
        rows = x.shape[:-1]
        outputs["status"] = ops.writable(status_out, "status_out", rows, torch.int32, x)
    for name, tensor in outputs.items():
        job.output(name, tensor)
    ops.set_key(job, x, greedy, seed, stream, position, generator)
    ops.run(job, x)
    status = outputs["status"]
    if status_out is not None and status is not status_out:
        outputs["status"] = ops.fill(status_out, status)
    outputs["status"] = outputs["status"].view(x.shape[:-1])
    if out is not None and outputs["token"] is not out:
        outputs["token"] = ops.fill(out, outputs["token"])
    if raise_on_bad and not devices.on_cuda(x):
        raise_bad_rows(outputs["status"])
    result = draw_of(outputs)
    return result if fallback is None else result.to(device_of(logits))


@traceable
def kept_mask(
    logits: Tensor,
    *,
    temperature: Values = None,
    top_k: Values = None,
    top_p: Values = None,
    min_p: Values = None,
    ties: str | None = None,
    allowed: Tensor | None = None,
    logit_bias: Bias = None,
    params: Params = None,
    raise_on_bad: bool = True,
    status_out: Tensor | None = None,
    fallback: str | None = None,
) -> Tensor:
    """Which tokens the filters leave: ``[..., V]`` -> bool ``[..., V]``.

    Parameters
    ----------
    logits : Tensor
        [..., V]; all parameters are those of `sample`. Seeds in `params` play no part. In a bad
        row nothing is kept.

    Returns
    -------
    Tensor
        bool [..., V], on the device of the logits: the set that `sample` draws from, bit for bit
        the same on every kernel. One token a row where the temperature is 0. Tokens at -inf are
        never kept.

    Raises
    ------
    BadRowError
        A row has a NaN, or no token left.

    Examples
    --------
    >>> import onedraw, torch
    >>> onedraw.kept_mask(torch.tensor([0.0, 1.0, 1.0, 3.0]), top_k=2)
    tensor([False,  True, False,  True])
    >>> onedraw.kept_mask(torch.tensor([0.0, 1.0, 1.0, 3.0]), top_k=2, ties="keep")
    tensor([False,  True,  True,  True])
    """
    given = (temperature, top_k, top_p, min_p, ties)
    edits, told = (allowed, logit_bias), (status_out, raise_on_bad)
    return _whole_rows("kept", torch.bool, logits, params, given, edits, told, fallback)


@traceable
def probs(
    logits: Tensor,
    *,
    temperature: Values = None,
    top_k: Values = None,
    top_p: Values = None,
    min_p: Values = None,
    ties: str | None = None,
    allowed: Tensor | None = None,
    logit_bias: Bias = None,
    params: Params = None,
    raise_on_bad: bool = True,
    status_out: Tensor | None = None,
    fallback: str | None = None,
) -> Tensor:
    """Give the distribution that `sample` draws from: ``[..., V]`` -> float32 ``[..., V]``.

    Parameters
    ----------
    logits : Tensor
        [..., V]; all parameters are those of `sample`. Seeds in `params` play no part. In a bad
        row nothing is kept.

    Returns
    -------
    Tensor
        float32 [..., V], on the device of the logits: filtered and renormalised, 0 for a token not
        kept, the same on every kernel. A probability p is within 2^-20 p + 2^-150 of the exact one
        (``docs/determinism.md``): a relative 2^-20, and the rounding of what is below 2^-126. It
        never requires grad.

    Raises
    ------
    BadRowError
        A row has a NaN, or no token left.

    Examples
    --------
    >>> import onedraw, torch
    >>> onedraw.probs(torch.tensor([0.0, 1.0, 2.0]), temperature=0.5, top_k=2)
    tensor([0.0000, 0.1192, 0.8808])
    """
    given = (temperature, top_k, top_p, min_p, ties)
    edits, told = (allowed, logit_bias), (status_out, raise_on_bad)
    return _whole_rows("probs", torch.float32, logits, params, given, edits, told, fallback)


def _whole_rows(
    name: str,
    dtype: torch.dtype,
    logits: Tensor,
    params: Params,
    given: tuple[Any, ...],
    edits: tuple[Tensor | None, Bias],
    told: tuple[Tensor | None, bool],
    fallback: str | None,
) -> Tensor:
    """Run for one output as large as the logits, and their bad rows."""
    x = logits_of(logits, fallback)
    job = _core.Job()
    if params is not None:
        given = merge(params, *given, None, None)[:5]
        ops.check_params(params, ops.requests_of(x))
    ops.set_filters(job, x, *given)
    set_edits(job, x, *edits, fallback)
    result = ops.empty(x.shape, dtype, x)
    job.output(name, result)
    status_out, raise_on_bad = told
    status = ops.set_status(job, status_out, x)
    ops.run_checked(job, x, status_out, status, raise_on_bad)
    return result if fallback is None else result.to(device_of(logits))
