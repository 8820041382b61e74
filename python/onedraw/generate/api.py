"""`generate`: what the user gave, settled and checked, and then the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _core
from ..errors import shown
from ..functional import Bias, Params, Values
from . import settings
from .callable_model import CallableDecoder
from .checkpoint import explicit_settings
from .details import Generation, GenerationInterrupted, Recorder
from .graph import GraphedSteps, StaticDecoder
from .hooks import Hook, Processing, hooks
from .huggingface import HuggingFaceDecoder, check_prompts, context_of, is_huggingface
from .loop import LOOK_EVERY, Decoder, Loop
from .prompts import read_prompts
from .sampling import RowSampler, given_params, row_sampler
from .stopping import CRITERIA, STOP_STRING, Check, Stopping, string_criterion
from .tape import Tape
from .watching import Watch, check_streamer

__all__ = ["generate"]


def generate(
    model: Callable[..., Any],
    input_ids: Any,
    params: Params = None,
    *,
    temperature: Values = None,
    top_k: Values = None,
    top_p: Values = None,
    min_p: Values = None,
    ties: str | None = None,
    seed: Values = None,
    stream: Values = None,
    generator: torch.Generator | None = None,
    do_sample: bool | None = None,
    allowed: Tensor | None = None,
    logit_bias: Bias = None,
    max_new_tokens: int | Sequence[int] | Tensor | None = None,
    min_new_tokens: int | None = None,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    stop_strings: str | Sequence[str] | None = None,
    tokenizer: Any = None,
    logits_processor: Sequence[Hook] | None = None,
    stopping_criteria: Sequence[Hook] | None = None,
    attention_mask: Any = None,
    context_length: int | None = None,
    num_return_sequences: int | None = None,
    streamer: Any = None,
    progress: bool | None = None,
    return_details: bool = False,
    report: str | Sequence[str] = "all",
    top_logprobs: int | None = None,
    look_every: int = LOOK_EVERY,
    cuda_graph: bool = False,
    fallback: str | None = None,
) -> Any:
    """Let a model write: prompts [B, T] -> int64 [B * num_return_sequences, T + new], prompts included.

    Each step is a forward pass and one draw by `Sampler`. With a model of Hugging Face the prompts go
    through it once, and then one token a row with a key-value cache; any other callable is called with the
    whole context for every token.

    Parameters
    ----------
    model : callable, or a causal language model of `transformers`
        A callable takes int64 [b, t] and returns logits [b, t, V] (or [b, 1, V], or [b, V]: the last step
        alone); b shrinks when rows finish.
    input_ids : Tensor, array or lists
        Token ids [B, T] or [T]; lists may differ in length (with a Hugging Face model). For another callable
        they are on the device of its logits; lists are on the CPU.
    params : SamplingParams, or one a request, optional
    temperature, top_k, top_p, min_p : float or int, or one a request
    ties : {"first", "keep"}, optional
    allowed, logit_bias, fallback : optional
        As in `onedraw.sample`, where a row is a request.
    seed : int, or one a request
        From an int each request gets a seed of its own, by its index: ``onedraw.seeds(seed, range(B))``.
        Give those of the whole run where the batch is a part of it. Without: one int, taken once from
        `generator`, by default torch's own.
    stream : int, or one a request
        Sample j of a request draws from stream + j.
    do_sample : bool, optional
        False is greedy. By default what the checkpoint sets, unless a sampling argument is given.
    max_new_tokens : int, or one a request
        By default what the checkpoint sets, else 128, or as many as fit into the model's context. A
        checkpoint's `max_length` includes the request's own prompt, but not its padding, which transformers
        counts too.
    min_new_tokens : int
        No end token before.
    eos_token_id : int or several
        Tokens that finish a row; by default the checkpoint's, [] for none.
    pad_token_id : int
        What follows in a finished row; by default the checkpoint's, else the first end token, else 0.
    stop_strings : str or several
        A row finishes with the token that completes one of them (transformers' `StopStringCriteria`);
        needs `tokenizer`.
    logits_processor : list of callables
        As in transformers, and in their order: each is given the tokens int64 [R, L], prompts and padding
        included, and float32 scores [R, V], and gives scores [R, V], at every step before the draw;
        `allowed`, `logit_bias`, `min_new_tokens`, the temperature and the filters come after all of them.
        R is B * num_return_sequences: finished rows stay in the batch then, with pad for tokens.
    stopping_criteria : list of callables
        As in transformers: each is given the tokens int64 [R, L], the newest one included, and None (the
        scores are not kept), and says which rows stop, bool [R], or one for all. All are asked at every step,
        with all rows, pad behind the finished ones. A list of one's own is not changed.
    attention_mask : Tensor or lists
        [B, T], 0 on the padding, which is on the left; Hugging Face models only.
    context_length : int
        Show the model so many of the newest tokens at most. For a Hugging Face model each token beyond
        costs a pass over all of these.
    num_return_sequences : int
        Samples of each request, in adjacent rows.
    streamer : object with put(tokens) and end()
        As transformers' `TextStreamer`: gets the prompts, then one token a row. `end` is called in any case.
    progress : bool, optional
        A bar on stderr. By default for eight rows or more, on a terminal, after two seconds.
    return_details : bool
        Return a `Generation`, with the record of each token.
    look_every : int
        On a device the host asks only every so many steps which rows have finished, and reads the answer
        when it has come; only where it has not come when the next is due does it wait for it, so that it is
        never further ahead. So the device may draw up to twice as many tokens a row for nothing (they are
        cut off), a streamer gets its tokens in bursts, and bad rows are found as late. 1 is for streaming
        token by token, one step behind. The CPU's rows are looked at in each step.
    cuda_graph : bool
        Capture a step, from the model to the stop, into a CUDA graph, and launch that for each token: for
        small batches, where the launches of a step take longer than their work. Each call captures anew,
        after a few plain steps: torch waits for the device then, and gives back the memory that it keeps
        for later; short texts are not worth it. Needs a model of transformers on one CUDA device, with
        attention by sdpa or eager, that works with a static cache; this has room for all tokens from the
        first on, behind a sliding window too. Finished rows stay in the batch. Stopping criteria are asked
        after each launch; a `logits_processor` is refused.
    report, top_logprobs
        What the record holds, as in `onedraw.draw`: by default all, and 5 alternatives (or V).

    Returns
    -------
    Tensor or Generation
        On the device of the model; of a plain callable, on that of input_ids. A finished row goes on with pad;
        no column is all pad but of the prompt.

    Raises
    ------
    ValueError, TypeError
        Names the parameter, what is allowed and what was given.
    BadRowError
        A row of logits has a NaN, or nothing left to draw; rows are those of the result.
    GenerationInterrupted
        A KeyboardInterrupt, with what there is so far in `result`.

    Notes
    -----
    For a Hugging Face model an explicit argument wins over what the checkpoint's generation config sets
    explicitly, which wins over off; defaults of the config's class (top_k=50) are not taken. None is "not
    given": top_k=0, say, turns off what `params` or the checkpoint sets. The details say what was used.

    The tokens are a function of the logits, the parameters, seed, stream and position (the index of the
    token in its request, prompt included, padding not). So a request's text does not depend on its batch
    mates, on padding or on order, as long as its logits do not. But a matrix product over another batch may
    round its logits otherwise; such a small change seldom changes a token, though it can.

    Finished rows leave the batch, and the tokens are written to one buffer. On a device no step of ours
    waits for it but as `look_every` says, or with a `fallback`. Processors and criteria may, and are called for
    the steps that are cut off, too. A model's own may: with padding one of
    transformers looks at its mask in each step where attention is flash or flex, or by sdpa beyond
    `context_length`; with a dynamic ``rope_type`` it looks at its positions.

    Examples
    --------
    The classic exercise: a function from token ids to logits, started with token 0.

    >>> import onedraw, torch
    >>> table = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))  # a bigram model
    >>> start = torch.zeros(1, 1, dtype=torch.int64)
    >>> text = onedraw.generate(lambda ids: table[ids], start, max_new_tokens=5, seed=0)
    >>> text.shape
    torch.Size([1, 6])
    >>> longer = onedraw.generate(lambda ids: table[ids], start, max_new_tokens=9, seed=0)
    >>> bool((longer[:, :6] == text).all())
    True

    transformers' processors and criteria, or any functions like them: no token twice in a row, and an end
    where the tokens add up to 20.

    >>> def another(ids, scores):
    ...     return scores.scatter(1, ids[:, -1:], -torch.inf)
    >>> def enough(ids, scores):
    ...     return ids.sum(1) >= 20
    >>> given = {"logits_processor": [another], "stopping_criteria": [enough], "seed": 0}
    >>> text = onedraw.generate(lambda ids: table[ids], start, **given)
    >>> bool((text[:, 1:] != text[:, :-1]).all()), int(text[:, :-1].sum()) < 20 <= int(text.sum())
    (True, True)

    Three samples of one prompt, with the record of each token:

    >>> run = onedraw.generate(
    ...     lambda ids: table[ids],
    ...     [[0, 3]],
    ...     max_new_tokens=4,
    ...     top_k=3,
    ...     seed=1,
    ...     num_return_sequences=3,
    ...     return_details=True,
    ... )
    >>> run.sequences.shape, run.finish_reasons
    (torch.Size([3, 6]), ['length', 'length', 'length'])
    >>> int(run.draws.rank.max()) <= 3
    True
    """
    pretrained = is_huggingface(model)
    if not callable(model):
        raise TypeError(f"model must be callable, got {shown(model)}")
    checkpoint = explicit_settings(model) if pretrained else {}
    eos = settings.end_tokens(eos_token_id, checkpoint)
    pad = settings.pad_token(pad_token_id, checkpoint, eos)
    prompts = read_prompts(input_ids, attention_mask, pad)
    if pretrained:
        prompts = prompts.to(model.device)  # type: ignore[attr-defined]
        check_prompts(model, prompts, pad)
    elif prompts.mask is not None:
        raise ValueError(
            "attention_mask must be left out, and prompts of one length given, where model is a plain "
            "callable: it would see the padding as text; got prompts of different lengths"
        )
    requests = prompts.tokens.shape[0]
    given = given_params(params, requests, temperature, top_k, top_p, min_p, ties, seed, stream)
    if context_length is not None:
        context_length = settings.count("context_length", context_length, 1)
    lengths = settings.new_tokens(max_new_tokens, checkpoint, prompts.lengths)
    limits = lengths.most
    if pretrained and context_length is None and (context := context_of(model)) is not None:
        limits = settings.bound(lengths, prompts.lengths, context)
    least = settings.least_tokens(min_new_tokens, checkpoint, limits)
    many = num_return_sequences
    many = many if many is not None else checkpoint.get("num_return_sequences", 1)
    samples = settings.count("num_return_sequences", many, 1)
    texts = settings.strings(stop_strings, checkpoint, tokenizer)
    device = prompts.tokens.device
    longest = int(limits.max()) if limits.numel() else 0
    tape = Tape(prompts.tokens.repeat_interleave(samples, 0), longest, pad)
    processors = hooks("logits_processor", logits_processor)
    checks = [Check(each, CRITERIA) for each in hooks("stopping_criteria", stopping_criteria)]
    if texts:
        checks.insert(0, Check(string_criterion(texts, tokenizer), STOP_STRING))
    at_once = device.type == "cpu"
    look_every = settings.count("look_every", look_every, 1)
    settings.check_cuda_graph(cuda_graph, pretrained, device, context_length, processors)
    stopping = Stopping(limits.to(device).repeat_interleave(samples), eos, checks, at_once)
    recorder = None
    if top_logprobs is not None and not return_details:
        raise ValueError(
            f"return_details must be True where top_logprobs is given, got {top_logprobs} of them"
        )
    if return_details:
        recorder = Recorder(requests * samples, longest, report, top_logprobs)
    decoder: Decoder
    if cuda_graph:
        decoder = StaticDecoder(model, tape, prompts, limits, samples)
    elif pretrained:
        decoder = HuggingFaceDecoder(model, tape, prompts, limits, samples, context_length)
    else:
        anywhere = fallback is not None
        decoder = CallableDecoder(model, tape, samples, context_length, anywhere=anywhere)
    check_streamer(streamer)
    # The last of what may be refused: it takes a seed where none is given.
    drawn = row_sampler(
        given,
        checkpoint,
        do_sample=do_sample,
        generator=generator,
        allowed=allowed,
        logit_bias=logit_bias,
        lengths=prompts.lengths,
        samples=samples,
        raise_on_bad=stopping.at_once
        and not processors,  # with them the loop tells finished rows apart
        fallback=fallback,
    )
    graphed = None
    if isinstance(decoder, StaticDecoder):
        graphed = GraphedSteps(decoder, drawn.sampler, tape, stopping, recorder)
    loop = Loop(
        decoder,
        drawn.sampler,
        tape,
        stopping,
        Watch(streamer, progress, requests * samples, samples * int(limits.sum())),
        recorder,
        min_new=least,
        eos=eos,
        allowed=drawn.allowed,
        look_every=look_every,
        graphed=graphed,
        processing=Processing(processors) if processors else None,
    )
    ours = pretrained and not processors and not stopping_criteria
    try:
        # Faster than no_grad by up to a tenth of a step of a small network. But a function of the
        # user's may keep what it makes here for training, which inference tensors are no good for.
        with torch.inference_mode() if ours else torch.no_grad():
            loop.watch.prompt(prompts.tokens)
            loop.run()
    except KeyboardInterrupt:
        raise GenerationInterrupted(_outcome(loop, drawn, prompts.lengths, samples)) from None
    finally:
        loop.watch.end()
    return _outcome(loop, drawn, prompts.lengths, samples)


def _outcome(
    loop: Loop, drawn: RowSampler, prompt_lengths: Tensor, samples: int
) -> Tensor | Generation:
    """The tokens, or all that is known, up to the last finished step."""
    tape, new = loop.tape, loop.stopping.lengths()
    last = tape.start + (int(new.max()) if new.numel() else 0)
    sequences = tape.tokens[:, :last].contiguous()
    if loop.recorder is None:
        return sequences
    return Generation(
        sequences=sequences,
        draws=loop.recorder.finish(new, tape.pad),
        prompt_lengths=prompt_lengths.repeat_interleave(samples),
        new_lengths=new,
        finish_reasons=loop.stopping.reasons(),
        params=drawn.params,
        seed=drawn.seed,
        spec_version=_core.SPEC_VERSION,
        seconds=loop.seconds,
        sampling_seconds=loop.sampling_seconds,
    )
