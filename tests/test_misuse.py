"""What goes wrong between calls: forks, shared samplers, a record with a kept dimension."""

import os
import threading

import pytest
import torch

import onedraw
from onedraw import _core

KEYED = {"seed": 1, "position": 0}


def test_a_forked_child_draws_the_same():
    logits = torch.randn(2, 2**18, generator=torch.Generator().manual_seed(0))
    job, token = _core.Job(), torch.empty(2, dtype=torch.int64)
    job.output("token", token)
    job.threads = 2
    job.run(logits)  # OpenMP's threads are up
    before = token.clone()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        token.zero_()
        job.run(logits)
        os._exit(0 if bool((token == before).all()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_bad_rows_are_named_alike_with_a_kept_dimension():
    logits = torch.zeros(3, 4)
    logits[1, 2] = torch.nan
    for draw in (onedraw.sample, onedraw.draw):
        status = torch.empty(3, dtype=torch.int32)
        with pytest.raises(onedraw.BadRowError, match="row 1") as caught:
            draw(logits, **KEYED, keepdim=True, status_out=status)
        assert caught.value.rows == (1,)
        assert status.tolist() == [0, 1, 0]
    record = onedraw.draw(logits, **KEYED, keepdim=True, raise_on_bad=False)
    assert record.token.shape == (3, 1)
    with pytest.raises(onedraw.BadRowError, match="row 1"):
        record.check()


def test_a_bias_that_float32_does_not_hold_is_refused():
    bias = torch.zeros(4, dtype=torch.float64)
    bias[1] = 1e39
    with pytest.raises(ValueError, match=r"logit_bias must hold .* float32"):
        onedraw.sample(torch.zeros(4), **KEYED, logit_bias=bias)
    bias[1] = -torch.inf
    assert onedraw.sample(torch.zeros(4), temperature=0, logit_bias=bias).item() == 0


def test_a_bool_is_no_bad_token():
    with pytest.raises((TypeError, ValueError), match=r"bad_token must be .*, got False"):
        onedraw.sample(torch.zeros(4), **KEYED, bad_token=False)


def test_reset_after_load_keeps_what_was_loaded():
    saved = onedraw.Sampler(temperature=0.7, seed=3)
    other = onedraw.Sampler()
    other.load_state_dict(saved.state_dict())
    other.reset()
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(other(logits), saved(logits))


def test_a_job_in_use_by_another_thread_is_refused_or_done():
    """Never a crash, never another answer."""
    logits = torch.randn(64, 20000, generator=torch.Generator().manual_seed(2))
    job, token = _core.Job(), torch.empty(64, dtype=torch.int64)
    job.output("token", token)
    job.run(logits)
    expected, refused = token.clone(), []

    def work():
        for _ in range(20):
            try:
                job.run(logits)
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(token, expected)
    assert all("each thread needs its own" in text for text in refused)


ROW = torch.tensor([0.5, 2.0, 1.0])


def of_weights(**set_to):
    job = _core.Job()
    job.weights = True
    job.output("token", torch.zeros(1, dtype=torch.int64))
    for name, value in set_to.items():
        job.set(name, value)
    return job


@pytest.mark.parametrize("form", ["all", "rows"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0.0), ("temperature", 0.5), ("top_k", 2), ("top_p", 0.5), ("min_p", 0.1)],
)
def test_filters_of_weights_are_refused(name, value, form):
    with pytest.raises(ValueError, match=f"internal: weights have no .*{name}"):
        of_weights(**{name: value if form == "all" else torch.tensor([value])}).run(ROW)
    off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}[name]
    of_weights(**{name: off}).run(ROW)


def test_a_bias_of_weights_is_refused():
    dense, sparse = of_weights(), of_weights()
    dense.bias(torch.zeros(3))
    sparse.bias_sparse(torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([1.0]))
    for job in (dense, sparse):
        with pytest.raises(ValueError, match="internal: weights have no bias"):
            job.run(ROW)
    dense.bias(None)
    dense.run(ROW)


OF_LOGITS = ["logprob", "raw_logprob", "kept_mass", "entropy", "probs", "top_token", "top_logprob"]


@pytest.mark.parametrize("name", OF_LOGITS)
def test_what_only_logits_have_is_refused_for_weights(name):
    job = of_weights()
    dtype = torch.int64 if name == "top_token" else torch.float32
    job.output(name, torch.zeros(3 if name == "probs" else 1, dtype=dtype))
    with pytest.raises(ValueError, match=r"weights have no (logprobs|kept_mass, entropy)"):
        job.run(ROW)
    job.output(name, None)
    job.output("status", torch.zeros(1, dtype=torch.int32))
    job.run(ROW)


@pytest.mark.parametrize("name", ["logprob", "raw_logprob", "rank"])
def test_what_is_told_of_a_token_needs_the_token(name):
    job = _core.Job()
    job.output(name, torch.zeros(1, dtype=torch.int64 if name == "rank" else torch.float32))
    with pytest.raises(ValueError, match="internal: logprob, raw_logprob and rank need a token"):
        job.run(ROW)
    job.output("token", torch.zeros(1, dtype=torch.int64))
    job.run(ROW)


def test_greedy_without_replacement_has_one_token():
    for kernel in [k["name"] for k in _core.kernels() if k["supported"]]:
        _core.set_kernel(kernel)
        job, token, status = (
            _core.Job(),
            torch.zeros(2, dtype=torch.int64),
            torch.zeros(1, dtype=torch.int32),
        )
        job.output("token", token)
        job.output("status", status)
        job.set("temperature", 0.0)
        job.num_samples, job.replacement = 2, False
        job.run(torch.tensor([1.0, 2.0, 3.0]))
        assert status.item() == 4
    _core.set_kernel(None)


@pytest.mark.parametrize(
    ("offsets", "ids", "why"),
    [
        ([0, -(10**9), 3], [0, 1, 2], "offsets of a sparse logit_bias fall"),
        ([0, 10**9, 3], [0, 1, 2], "offsets of a sparse logit_bias fall"),
        ([0, 2, 4], [0, 1, 2], "do not span"),
        ([1, 2, 3], [0, 1, 2], "do not span"),
        ([0, 2, 3], [1, 0, 2], "do not ascend"),
    ],
)
def test_a_sparse_bias_is_checked_before_it_is_followed(offsets, ids, why):
    values = torch.ones(len(ids))
    with pytest.raises(ValueError, match=f"internal: .*{why}"):
        _core.Job().bias_sparse(torch.tensor(offsets), torch.tensor(ids), values)
