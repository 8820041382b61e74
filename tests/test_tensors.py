"""What logits may be: views are read in place, other arrays are taken, and the rest is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import onedraw
from onedraw import _core, arrays, devices

KEYED: dict[str, Any] = {"seed": 5, "position": 2}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LOGITS = torch.randn(4, 90, generator=torch.Generator().manual_seed(0))
TOKENS = onedraw.sample(LOGITS, **KEYED)


def read_in_place(view: Tensor) -> bool:
    return arrays.logits_of(view).data_ptr() == view.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_any_stride_are_read_in_place(dtype: torch.dtype, kernel: str) -> None:
    logits = LOGITS.to(dtype)
    expected = onedraw.sample(logits, **KEYED)
    block = torch.full((4, 7, 90), torch.nan, dtype=dtype)
    block[:, -1] = logits
    padded = torch.full((4, 101), torch.nan, dtype=dtype)
    padded[:, 3:93] = logits
    steps = torch.full((5, 4, 95), torch.nan, dtype=dtype)
    steps[2, :, :90] = logits
    for view in (block[:, -1, :], padded[:, 3:93], steps[2, :, :90]):
        assert read_in_place(view)
        assert torch.equal(onedraw.sample(view, **KEYED), expected)
    whole = torch.full((2, 3, 4, 90), torch.nan, dtype=dtype)
    whole[:, 1] = logits
    seeds = onedraw.seeds(0, range(2))
    by_step = onedraw.sample(whole[:, 1], seed=seeds, position=0)
    assert read_in_place(whole[:, 1])
    turned = whole.transpose(1, 2)[:, :, 1]  # [2, 4, 90], strided in both dimensions
    assert read_in_place(turned)
    assert torch.equal(onedraw.sample(turned, seed=seeds, position=0), by_step)


def test_one_row_expanded_is_read_once(kernel: str) -> None:
    row = LOGITS[:1].expand(4, 90)
    assert read_in_place(row)
    assert torch.equal(onedraw.sample(row, **KEYED), onedraw.sample(row.contiguous(), **KEYED))


def test_a_last_dimension_that_is_not_contiguous_is_copied(kernel: str) -> None:
    spread = torch.zeros(4, 180)
    spread[:, ::2] = LOGITS
    for view in (spread[:, ::2], LOGITS.t().contiguous().t()):
        assert not read_in_place(view)
        assert torch.equal(onedraw.sample(view, **KEYED), TOKENS)
        assert torch.equal(onedraw.Sampler(seed=5, position=2)(view), TOKENS)


def test_a_vocabulary_of_one_may_have_any_stride() -> None:
    assert onedraw.sample(LOGITS[:, 5:6]).tolist() == [0] * 4


def test_grad_and_modes_change_nothing(kernel: str) -> None:
    leaf = LOGITS.clone().requires_grad_()
    for logits in (leaf, leaf * 1, torch.nn.Parameter(LOGITS)):
        token, draw = onedraw.sample(logits, **KEYED), onedraw.draw(logits, **KEYED)
        assert torch.equal(token, TOKENS)
        assert not draw.logprob.requires_grad
        assert not onedraw.probs(logits).requires_grad
    with torch.inference_mode():
        assert torch.equal(onedraw.sample(LOGITS * 1, **KEYED), TOKENS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(onedraw.sample(LOGITS, **KEYED), TOKENS)
    with torch.device("meta"):
        assert torch.equal(onedraw.sample(LOGITS, **KEYED, temperature=[1.0] * 4), TOKENS)
        assert onedraw.draw(LOGITS, **KEYED, report="all", top_logprobs=1).token.is_cpu
        assert onedraw.Sampler(seed=1, logit_bias={3: 1.0})(LOGITS).is_cpu
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(onedraw.sample(LOGITS, **KEYED, top_p=[1.0] * 4), TOKENS)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_subclass_without_tricks_is_read_as_a_tensor() -> None:
    class Named(torch.Tensor):
        pass

    token = onedraw.sample(LOGITS.as_subclass(Named), **KEYED)
    assert type(token) is Tensor
    assert torch.equal(token, TOKENS)


def test_numpy_arrays_give_tensors(kernel: str) -> None:
    array = LOGITS.numpy()
    frozen = array.copy()
    frozen.setflags(write=False)
    unaligned = np.frombuffer(b"x" + array.tobytes(), dtype=np.uint8)[1:].view(np.float32)
    for given in (array, frozen, array[:, ::-1][:, ::-1], unaligned.reshape(4, 90)):
        token = onedraw.sample(given, **KEYED)
        assert type(token) is Tensor
        assert torch.equal(token, TOKENS)
    flipped = onedraw.sample(array[::-1, ::-1], **KEYED)
    assert torch.equal(flipped, onedraw.sample(LOGITS.flip(0, 1), **KEYED))
    assert torch.equal(onedraw.Sampler(seed=5, position=2)(array), TOKENS)
    halves = onedraw.sample(array.astype(np.float16), **KEYED)
    assert torch.equal(halves, onedraw.sample(LOGITS.half(), **KEYED))


def test_arrays_of_other_libraries_come_through_dlpack() -> None:
    class Array:
        def __dlpack__(self, **options: Any) -> object:
            return LOGITS.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    class Elsewhere(Array):
        def __dlpack_device__(self) -> tuple[int, int]:
            return (8, 0)  # Metal

    assert torch.equal(onedraw.sample(Array(), **KEYED), TOKENS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="logits must be on the cpu or on CUDA, got an array"):
        onedraw.sample(Elsewhere(), **KEYED)  # type: ignore[arg-type]


def refused(given: Any, error: type[Exception], text: str) -> None:
    for ask in (onedraw.sample, onedraw.draw, onedraw.probs, onedraw.Sampler(temperature=0)):
        with pytest.raises(error, match=text):
            ask(given)


def test_lazily_negated_views_are_refused() -> None:
    negated = torch._neg_view(LOGITS)
    refused(
        negated, ValueError, "logits must not be a lazily negated view: give logits.resolve_neg"
    )
    refused(torch.complex(LOGITS, LOGITS).conj(), TypeError, "got complex64 tensor")
    bias = onedraw.probs(LOGITS, logit_bias=torch._neg_view(LOGITS))
    assert torch.equal(bias, onedraw.probs(LOGITS, logit_bias=-LOGITS))
    warm = onedraw.probs(LOGITS, temperature=torch._neg_view(torch.full((4,), -2.0)))
    assert torch.equal(warm, onedraw.probs(LOGITS, temperature=2.0))


def test_what_has_no_values_is_refused() -> None:
    refused(LOGITS.to("meta"), ValueError, "logits must have values, got a meta tensor")
    with pytest.raises(ValueError, match="logits must have values, got a meta tensor"):
        onedraw.sample(LOGITS.to("meta"), fallback="cpu")


def test_wrappers_are_refused_by_name() -> None:
    class DTensor(torch.Tensor):  # a stand-in: the real one needs a process group
        @staticmethod
        def __new__(cls, inner: Tensor) -> "DTensor":
            return torch.Tensor._make_wrapper_subclass(cls, inner.shape)  # type: ignore[attr-defined,no-any-return]

        @classmethod
        def __torch_dispatch__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            raise AssertionError("it is not to be touched")

    refused(DTensor(LOGITS), TypeError, r"got a DTensor \(a DTensor has full_tensor\(\)")


def test_tensors_that_are_not_dense_are_refused() -> None:
    refused(LOGITS.to_sparse(), TypeError, "logits must be a dense tensor, got one that is sparse")
    with pytest.raises(TypeError, match="allowed must be a dense tensor, got one that is sparse"):
        onedraw.sample(LOGITS, allowed=(LOGITS > 0).to_sparse())
    with pytest.raises(TypeError, match="logit_bias must be a dense tensor"):
        onedraw.sample(LOGITS, logit_bias=LOGITS.to_sparse())
    with pytest.raises(TypeError, match="temperature must be a dense tensor"):
        onedraw.sample(LOGITS, temperature=torch.ones(4).to_sparse())


def test_vmap_and_grad_are_refused() -> None:
    batch = LOGITS.expand(3, 4, 90)
    with pytest.raises(TypeError, match=r"logits must be .* not one inside torch\.vmap"):
        torch.vmap(onedraw.sample)(batch)
    with pytest.raises(TypeError, match=r"logits must be .* \(give the whole batch"):
        torch.func.grad(lambda x: onedraw.probs(x).sum())(LOGITS)
    mask = torch.ones(3, 90, dtype=torch.bool)
    with pytest.raises(TypeError, match=r"allowed must be .* not one inside torch\.vmap"):
        torch.vmap(lambda may: onedraw.sample(LOGITS, allowed=may, **KEYED))(mask)


class Elsewhere:
    """Enough of a tensor on a device that torch has and onedraw has not."""

    device = torch.device("xpu")
    is_cpu = is_cuda = False
    dtype, shape = torch.float32, (4, 90)

    def detach(self) -> "Elsewhere":
        return self

    def cpu(self) -> Tensor:
        return LOGITS


def test_a_device_without_a_kernel() -> None:
    there: Any = Elsewhere()
    with pytest.raises(
        ValueError, match="logits must be on the cpu: this package has no kernel for 'x"
    ):
        devices.check_kernel(there, "logits")
    assert arrays.on_cpu(there, "logits") is LOGITS


def test_cuda_logits_without_cuda_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    there: Any = Elsewhere()
    monkeypatch.setattr(Elsewhere, "device", torch.device("cuda:0"))
    monkeypatch.setattr(Elsewhere, "is_cuda", True)
    monkeypatch.setattr(_core, "cuda_device_count", lambda: 1)
    devices.check_kernel(there, "logits")

    def absent() -> int:
        raise RuntimeError("this build of onedraw has no CUDA kernels: no nvcc was found")

    monkeypatch.setattr(_core, "cuda_device_count", absent)
    with pytest.raises(ValueError, match=r"cpu: this build .* no CUDA kernels: no nvcc.*on cuda:0"):
        devices.check_kernel(there, "logits")


def test_the_fallback_changes_nothing_on_the_cpu() -> None:
    assert torch.equal(onedraw.sample(LOGITS, **KEYED, fallback="cpu"), TOKENS)
    draw = onedraw.draw(LOGITS, **KEYED, fallback="cpu", report="rank")
    assert torch.equal(draw.token, TOKENS)
    assert torch.equal(onedraw.probs(LOGITS, fallback="cpu"), onedraw.probs(LOGITS))
    assert torch.equal(onedraw.Sampler(seed=5, position=2, fallback="cpu")(LOGITS), TOKENS)


def test_a_call_that_torch_compile_is_told_to_leave_alone_is_one_break() -> None:
    draw = torch.compiler.disable(onedraw.sample)
    sampler = torch.compiler.disable(onedraw.Sampler(seed=5, position=2))
    for call in (lambda logits: draw(logits, **KEYED), sampler):
        torch._dynamo.reset()
        explained = torch._dynamo.explain(lambda logits, f=call: f(logits * 1) + 1)(LOGITS)
        assert (explained.graph_count, explained.graph_break_count) == (2, 1)
    torch._dynamo.reset()
