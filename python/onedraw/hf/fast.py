"""`FastLoop`: the loop of `onedraw.generate` in the place of transformers', for `custom_generate=`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria
from transformers.generation.utils import GenerateDecoderOnlyOutput

from ..arrays import check_fallback, own
from ..generate.hooks import Processing, narrow
from ..generate.huggingface import HuggingFaceDecoder
from ..generate.loop import LOOK_EVERY, Loop
from ..generate.prompts import Prompts, read_prompts
from ..generate.settings import count
from ..generate.stopping import CRITERIA, Check, Stopping
from ..generate.tape import Tape
from ..generate.watching import Watch, check_streamer
from ..randomness import check_generator
from .drawing import DrawingProcessors
from .refusing import refuse
from .rows import check_seed, keys, positions
from .source import check_version
from .tail import split

__all__ = ["FastLoop"]


class FastLoop:
    """Write by onedraw's own loop in ``model.generate(..., custom_generate=FastLoop(...))``.

    `generate` reads its options as always, and makes the logits processors and the stopping criteria
    of them; the forward passes, the draws and the end are then those of `onedraw.generate`. The text is
    the one that `patch` draws from the same seed, as far as the logits are equal.

    Parameters
    ----------
    seed, generator, fallback
        As in `patch`.
    streamer : object with put(tokens) and end(), optional
        In the place of the one of `generate`, which transformers does not pass on.
    look_every : int
        As in `onedraw.generate`: how often a device is asked which rows have finished.

    Raises
    ------
    RuntimeError
        When it is made, transformers is older than 5.2; from `generate`, something else has called it.
    ValueError
        From `generate`: what this loop does not do, and what does it.
    BadRowError
        From `generate`: a row of logits has a NaN, or nothing left to draw.

    Notes
    -----
    Honoured, in transformers' meaning and order: do_sample, temperature, top_k, top_p, min_p and every
    other option that is a logits processor or a stopping criterion, lists of one's own included; eos
    (several), pad, lengths, num_return_sequences (a prompt goes through the model once, whatever its
    number of samples), padding on the left, output_scores, output_logits, return_dict_in_generate. An
    error: encoders, beams, assistants, a `cache_implementation`, `use_cache=False`, a cache, positions or
    embeddings of one's own, attentions and hidden states, and models with a loop or inputs of their own.
    transformers itself refuses `stop_strings` here, since it passes no tokenizer on:
    ``stopping_criteria=[StopStringCriteria(tokenizer, [...])]`` stops at them.

    The result has no cache (None): the loop's own is not for others.

    Nothing waits for a device but as `look_every` says, and what processors and criteria do. There some
    steps are made after the last row has finished; criteria and processors are called for these too, and
    scores and logits of them are cut off.

    Examples
    --------
    >>> import onedraw, torch, transformers
    >>> config = transformers.GPT2Config(
    ...     vocab_size=50, n_embd=8, n_layer=1, n_head=1, bos_token_id=None, eos_token_id=49
    ... )
    >>> model = transformers.GPT2LMHeadModel(config)
    >>> prompt = torch.tensor([[3, 1, 4]])
    >>> options = {"do_sample": True, "top_p": 0.9, "max_new_tokens": 5, "pad_token_id": 0}
    >>> text = model.generate(prompt, **options, custom_generate=onedraw.hf.FastLoop(seed=7))
    >>> with onedraw.hf.patch(seed=7):
    ...     torch.equal(text, model.generate(prompt, **options))
    True
    """

    def __init__(
        self,
        seed: int | list[int] | Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        streamer: Any = None,
        look_every: int = LOOK_EVERY,
        fallback: str | None = None,
    ) -> None:
        check_version(transformers.__version__, "FastLoop")
        check_fallback(fallback)
        if generator is not None:
            check_generator(generator)
        check_seed(seed, generator)
        check_streamer(streamer)
        self.seed = list(seed) if isinstance(seed, (list, tuple)) else own(seed)
        self.generator, self.fallback, self.streamer = generator, fallback, streamer
        self.look_every = count("look_every", look_every, 1)

    # The names are transformers': it reads the signature, and calls by name.
    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        """Write behind the tokens [R, T], as `generate` asks for."""
        config = generation_config
        refuse(model, config, model_kwargs)
        samples = config.num_return_sequences or 1
        end = _end_of(stopping_criteria, input_ids.shape[1])
        pad = config._pad_token_tensor
        pad = 0 if pad is None else int(pad)
        prompts = read_prompts(input_ids, model_kwargs.get("attention_mask"), pad)
        tape = Tape(prompts.tokens, end.most, pad)
        shown = config.return_dict_in_generate
        scores = bool(shown and config.output_scores)
        logits = bool(shown and config.output_logits)
        limits = torch.full((tape.tokens.shape[0],), end.most, device=tape.tokens.device)
        at_once = tape.tokens.device.type == "cpu"
        stopping = Stopping(limits, end.eos, end.checks, at_once, end.blank)
        once = Prompts(*(None if field is None else field[::samples] for field in prompts))  # type: ignore[arg-type]
        decoder = HuggingFaceDecoder(model, tape, once, limits[::samples], samples, None)
        greedy = not config.do_sample
        processed = (
            scores or logits or bool(logits_processor if greedy else split(logits_processor).head)
        )
        more: dict[str, Any] = {}
        if not greedy:  # last of what may be refused: it may take a seed
            key = keys(self.seed, self.generator, tape.tokens.shape[0], samples)
            more = {"seed": key.seed, "stream": key.stream}
        mask = prompts.mask
        drawing = DrawingProcessors(
            logits_processor,
            scores=scores,
            fallback=self.fallback,
            greedy=greedy,
            position=tape.start if mask is None else positions(mask),
            raise_on_bad=at_once and end.blank and not processed,  # else the loop looks for itself
            **more,
        )
        watch = Watch(self.streamer)
        keeping = Keeping(drawing, scores=scores, logits=logits)
        loop = Loop(
            decoder,
            drawing.sampler,
            tape,
            stopping,
            watch,
            look_every=self.look_every,
            processing=keeping if processed else None,
        )
        try:
            watch.prompt(prompts.tokens)
            loop.run()
        finally:
            watch.end()
        new = int(stopping.lengths().max()) if limits.numel() else 0
        sequences = tape.tokens[:, : tape.start + new].contiguous()
        if not shown:
            return sequences
        return GenerateDecoderOnlyOutput(
            sequences=sequences,
            scores=keeping.scores and keeping.scores[:new],
            logits=keeping.logits and keeping.logits[:new],
        )


class Keeping(Processing):
    """The processors of a `generate` that one draw cannot do; scores and logits of each step, if asked for."""

    def __init__(self, drawing: DrawingProcessors, *, scores: bool, logits: bool) -> None:
        super().__init__(drawing.head)
        self.drawing = drawing
        self.scores = () if scores else None
        self.logits: tuple[Tensor, ...] | None = () if logits else None

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Process the logits [R, V] behind the tokens [R, L]."""
        # As in transformers a processor that writes to what it gets changes the logits that are shown.
        logits = logits.to(torch.float32, copy=True)
        scores: Tensor = self.drawing.head(ids, logits)
        if self.scores is not None:
            self.scores += (self.drawing.shown(scores),)
        if self.logits is not None:
            self.logits += (logits,)
        return narrow(scores)


class End:
    """What the stopping criteria of a `generate` say, as far as it is known to a loop.

    Attributes
    ----------
    most : int
        How many new tokens there may be.
    eos : tuple of int
        End tokens.
    checks : list of Check
        All other criteria.
    blank : bool
        Whether pad follows in a finished row: as in transformers, if any criterion is about end tokens.
    """

    def __init__(
        self, most: int, eos: tuple[int, ...], checks: list[Check], *, blank: bool
    ) -> None:
        self.most, self.eos, self.checks, self.blank = most, eos, checks, blank


def _end_of(criteria: Sequence[Any], prompt: int) -> End:
    """Sort the criteria behind prompts of `prompt` tokens; plain end tokens and lengths need no call a step."""
    ids: list[int] = []
    lengths: list[int] = []
    checks: list[Check] = []
    for criterion in criteria:
        if type(criterion) is EosTokenCriteria:
            ids += criterion.eos_token_id.tolist()
        elif type(criterion) is MaxLengthCriteria:
            lengths.append(criterion.max_length)
        else:
            checks.append(Check(criterion, CRITERIA))
    if not lengths:
        raise ValueError(
            "max_new_tokens must be given with FastLoop: it makes room for them at once"
        )
    blank = any(hasattr(criterion, "eos_token_id") for criterion in criteria)
    # As in transformers, where the first token is drawn before any criterion is asked.
    return End(max(1, min(lengths) - prompt), tuple(ids), checks, blank=blank)
