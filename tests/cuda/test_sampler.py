"""Sampler on CUDA tensors: positions on the device, advanced by the kernel, and statuses that wait to be asked for."""

import copy

import pytest
import torch

import onedraw
from onedraw import devices

G = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(4, 700, generator=G)
SETTINGS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "seed": 5}


def steps(sampler, x, number=4):
    return [sampler(x).cpu() for _ in range(number)]


def same(first, second):
    return all(map(torch.equal, first, second))


@pytest.mark.parametrize("position", [0, 17, torch.tensor([3, 1, 4, 1])])
@pytest.mark.parametrize("seed", [5, onedraw.seeds(0, range(4))])
def test_the_tokens_of_the_cpu(cuda, position, seed):
    settings = {**SETTINGS, "seed": seed, "position": position}
    host = onedraw.Sampler(**settings)
    tokens = steps(host, LOGITS)
    with cuda.here():
        sampler = onedraw.Sampler(**settings)
        assert same(steps(sampler, cuda(LOGITS)), tokens)
        expected = torch.as_tensor(host.position).expand(4)
        assert torch.equal(sampler.position.cpu(), expected)
        sampler.check()


def test_records(cuda):
    host = onedraw.Sampler(**SETTINGS)
    records = [host.draw(LOGITS, report="all", top_logprobs=2) for _ in range(3)]
    tokens = steps(host, LOGITS)
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS)
        for record in records:
            got = sampler.draw(cuda(LOGITS), report="all", top_logprobs=2)
            assert all(
                torch.equal(value.cpu(), expected)
                for value, expected in zip(got, record, strict=True)
            )
        assert same(steps(sampler, cuda(LOGITS)), tokens)


def test_several_time_steps(cuda):
    x = LOGITS.view(2, 2, 700)
    host = onedraw.Sampler(**SETTINGS)
    tokens = [*steps(host, x), *steps(host, x[:, :1])]
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS)
        got = [*steps(sampler, cuda(x)), *steps(sampler, cuda(x[:, :1]))]
        assert same(got, tokens)
        assert sampler.position.tolist() == [12, 12]


def test_edits_of_a_call(cuda):
    mask = torch.zeros(700, dtype=torch.bool)
    mask[[3, 5]] = True
    host = onedraw.Sampler(**SETTINGS)
    tokens = [host(LOGITS), host(LOGITS, allowed=mask), host(LOGITS, logit_bias={9: 99.0})]
    rest = steps(host, LOGITS)
    with cuda.here():
        sampler, x = onedraw.Sampler(**SETTINGS), cuda(LOGITS)
        got = [sampler(x), sampler(x, allowed=cuda(mask)), sampler(x, logit_bias={9: 99.0})]
        assert same([token.cpu() for token in got], tokens)
        assert same(steps(sampler, x), rest)


def test_select_and_reset(cuda):
    host = onedraw.Sampler(**SETTINGS)
    first = steps(host, LOGITS, 2)
    host.select([2, 0])
    second = steps(host, LOGITS[[2, 0]], 2)
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS)
        assert same(steps(sampler, cuda(LOGITS), 2), first)
        sampler.select(cuda(torch.tensor([2, 0])))
        assert same(steps(sampler, cuda(LOGITS[[2, 0]]), 2), second)
        sampler.reset()
        assert same(steps(sampler, cuda(LOGITS), 2), first)
        sampler.position = 1
        assert torch.equal(sampler(cuda(LOGITS)).cpu(), first[1])


def test_a_saved_sampler_goes_on(cuda):
    host = onedraw.Sampler(**SETTINGS)
    steps(host, LOGITS, 2)
    rest = steps(host, LOGITS, 2)
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS)
        steps(sampler, cuda(LOGITS), 2)
        loaded, copied = onedraw.Sampler(), copy.deepcopy(sampler)
        loaded.load_state_dict(sampler.state_dict())
        for other in (loaded, copied, sampler):
            assert same(steps(other, cuda(LOGITS), 2), rest)


def test_bad_rows_are_told_when_asked_for(cuda):
    nan, empty = LOGITS.clone(), LOGITS.clone()
    nan[2, 9], empty[0] = float("nan"), -float("inf")
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS, bad_token=8)
        assert sampler(cuda(nan))[2] == 8
        sampler(cuda(LOGITS))
        sampler.draw(cuda(empty))
        with pytest.raises(onedraw.BadRowError) as caught:
            sampler.check()
        assert (caught.value.rows, caught.value.statuses) == ((0, 2), (2, 1))
        assert sampler.position.tolist() == [3, 3, 3, 3]
        again = onedraw.Sampler()
        again.load_state_dict(sampler.state_dict())
        sampler.select([1, 2])
        for other, rows in ((sampler, (1,)), (again, (0, 2))):
            with pytest.raises(onedraw.BadRowError) as caught:
                other.check()
            assert caught.value.rows == rows
        sampler(cuda(LOGITS.view(2, 2, 700)))  # another shape: what was bad stays known
        with pytest.raises(onedraw.BadRowError, match="row 1 has a NaN"):
            sampler.check()
        sampler.reset()
        sampler.check()


def test_a_launch_of_the_same_job_draws_the_next_token(cuda):
    """What a replayed graph does: nothing on the host changes between two launches."""
    tokens = steps(onedraw.Sampler(**SETTINGS), LOGITS, 5)
    with cuda.here():
        sampler, x = onedraw.Sampler(**SETTINGS), cuda(LOGITS)
        assert torch.equal(sampler(x).cpu(), tokens[0])
        token = sampler(x)
        for expected in tokens[1:]:
            assert torch.equal(token.cpu(), expected)
            sampler._ready.run(x, sampler._position, sampler._turns)


def replayed(sampler, x, job, token):
    """The token of a launch that no call asked for, as a graph's replay makes it."""
    job.run(x, sampler._position, sampler._turns)
    return token.cpu().clone()


def captured(sampler, x, monkeypatch):
    """The job of a graph that is captured now, and the token that it writes."""
    sampler(x)
    monkeypatch.setattr(devices, "capturing", lambda: True)
    token = sampler(x)
    monkeypatch.setattr(devices, "capturing", lambda: False)
    return sampler._ready, token


def test_a_replay_draws_where_the_sampler_is(cuda, monkeypatch):
    """Positions that are set, reset, or reached by draws of another shape are those of the graph."""
    tokens = steps(onedraw.Sampler(**SETTINGS), LOGITS, 9)
    with cuda.here():
        sampler, x = onedraw.Sampler(**SETTINGS), cuda(LOGITS)
        job, token = captured(sampler, x, monkeypatch)
        sampler.position = 7
        assert torch.equal(replayed(sampler, x, job, token), tokens[7])
        assert sampler.position.tolist() == [8, 8, 8, 8]
        sampler.position = torch.tensor([3, 3, 3, 3])
        assert torch.equal(replayed(sampler, x, job, token), tokens[3])
        sampler.reset(5)
        assert torch.equal(replayed(sampler, x, job, token), tokens[5])
        sampler.reset()
        assert torch.equal(sampler(x.view(4, 1, 700)).cpu().flatten(), tokens[0])
        assert sampler._ready is not job
        job.job.output("token", token)  # of which a launch has its own copy
        assert torch.equal(replayed(sampler, x, job, token), tokens[1])
        assert torch.equal(sampler(x).cpu(), tokens[2])
        assert sampler._ready is job


def test_edits_of_a_call_leave_the_samplers_own(cuda):
    own = {"allowed": torch.arange(700) % 2 > 0, "logit_bias": {3: 5.0, 9: 2.0}}
    other = {"allowed": torch.arange(700) % 3 > 0, "logit_bias": torch.linspace(0, 4, 700)}
    host = onedraw.Sampler(**SETTINGS, **own)
    tokens = [host(LOGITS), host(LOGITS, **other), host(LOGITS), host(LOGITS, logit_bias={5: 9.0})]
    tokens += steps(host, LOGITS)
    with cuda.here():
        sampler, x = onedraw.Sampler(**SETTINGS, **own), cuda(LOGITS)
        got = [sampler(x), sampler(x, **other), sampler(x), sampler(x, logit_bias={5: 9.0})]
        assert same([token.cpu() for token in got], tokens[:4])
        assert same(steps(sampler, x), tokens[4:])


def test_capture_needs_a_first_draw(cuda, monkeypatch):
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS)
        monkeypatch.setattr(devices, "capturing", lambda: True)
        with pytest.raises(RuntimeError, match="draw once first"):
            sampler(cuda(LOGITS))
        monkeypatch.setattr(devices, "capturing", lambda: False)
        sampler(cuda(LOGITS))
        monkeypatch.setattr(devices, "capturing", lambda: True)
        sampler(cuda(LOGITS))


def test_positions_end(cuda):
    """The last position draws, and the one behind it is a status."""
    last = onedraw.sample(LOGITS, **SETTINGS, position=2**32 - 1)
    with cuda.here():
        sampler = onedraw.Sampler(**SETTINGS, position=cuda(torch.full((4,), 2**32 - 1)))
        assert torch.equal(sampler(cuda(LOGITS)).cpu(), last)
        sampler.check()
        sampler(cuda(LOGITS))
        with pytest.raises(onedraw.BadRowError) as caught:
            sampler.check()
        assert caught.value.statuses == (3, 3, 3, 3)
