"""The plugin's own logic, against a stand-in of vLLM: rows, seeds, positions, refusals, failures."""

import importlib
import logging
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import onedraw

sys.path.append(str(Path(__file__).parent))

import stand_in
from stand_in import CONFIG, BatchUpdate, MinPLogitsProcessor, MoveDirectionality, metadata, params

VOCAB = 300
CPU = torch.device("cpu")
SWAP, ONE_WAY = MoveDirectionality.SWAP, MoveDirectionality.UNIDIRECTIONAL


@pytest.fixture
def plugin(monkeypatch):
    """The package, installed into the stand-in, and taken out again."""
    stand_in.put_into(monkeypatch.setitem)
    ours = SimpleNamespace(
        **{
            name: importlib.import_module(f"onedraw.vllm.{name}")
            for name in ("installing", "v1", "v2")
        },
        register=importlib.import_module("onedraw.vllm").register,
    )
    known = ours.installing.fingerprint(stand_in.Sampler.sample)
    monkeypatch.setattr(ours.installing, "V1_SAMPLE", {known: "the stand-in"})
    assert ours.installing.install() == ["model runner V1", "model runner V2"]
    yield ours
    ours.installing.uninstall()


@pytest.fixture
def requests(plugin):
    (kind,) = sys.modules["vllm.v1.sample.logits_processor"].BUILTIN_LOGITS_PROCESSORS
    return kind(CONFIG, CPU, False)


def logits(rows: int, seed: int = 0) -> torch.Tensor:
    return 4 * torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed))


def added(row: int, length: int = 3, output: list[int] | None = None, **settings: Any) -> Any:
    return row, params(**settings), list(range(length)), output if output is not None else []


def drawn(x: torch.Tensor, requests: Any, *processors: Any, **given: Any) -> Any:
    told = metadata(requests, *processors, **given)
    return stand_in.Sampler().sample(x.clone(), told)


def test_rows_of_all_kinds(requests):
    """Greedy, seeded, filtered, filtered in vLLM's other order: each as by itself."""
    kinds = [
        {"temperature": 0.0},
        {"seed": 5, "temperature": 0.7},
        {"seed": -6, "top_k": 3},
        {"seed": 7, "top_p": 0.6, "top_k": 20},
        {"seed": 8, "min_p": 0.2},
    ]
    requests.update_state(BatchUpdate(5, added=[added(i, 3 + i, **k) for i, k in enumerate(kinds)]))
    x = logits(5)
    expected = [
        int(onedraw.sample(x[i], position=3 + i, ties="keep", **({"seed": 0} | kind)))
        for i, kind in enumerate(kinds)
    ]
    assert drawn(x, requests)[0].tolist() == expected


def test_min_p_before_top_p(requests):
    """In vLLM the two commute in no row that has both; ours draws from what vLLM's min-p leaves."""
    settings = {"min_p": 0.2, "top_p": 0.5, "temperature": 4.0}
    rows = 200
    requests.update_state(
        BatchUpdate(rows, added=[added(i, seed=i, **settings) for i in range(rows)])
    )
    x = logits(1).expand(rows, VOCAB)
    tokens = drawn(x, requests, MinPLogitsProcessor([0.2] * rows))[0]
    probs = (x[0] / 4).softmax(-1)
    left = probs * (probs >= 0.2 * probs.max())
    nucleus = onedraw.kept_mask((left / left.sum()).log(), top_p=0.5)
    assert set(tokens.tolist()) == set(nucleus.nonzero().flatten().tolist())
    ours = onedraw.kept_mask(x[0], **settings)
    assert int(ours.sum()) != int(nucleus.sum())  # the orders differ here


def test_the_position_is_that_of_the_text(requests):
    output: list[int] = []
    requests.update_state(BatchUpdate(1, added=[added(0, 4, output, seed=3)]))
    x = logits(1)
    for step in range(5):
        token = int(drawn(x, requests)[0])
        assert token == int(onedraw.sample(x[0], seed=3, position=4 + step, ties="keep"))
        output.append(token)


@pytest.mark.parametrize("seed", range(20))
def test_rows_follow_the_batch(requests, seed):
    """Random removals, additions, moves and swaps, in vLLM's order of them."""
    rng = random.Random(seed)
    rows: dict[int, int] = {}
    for fresh in range(0, 60, 4):
        update = BatchUpdate(0)
        update.removed = rng.sample(sorted(rows), rng.randint(0, len(rows)))
        for row in update.removed:
            del rows[row]
        for number in range(fresh, fresh + rng.randint(0, 4)):
            free = next(i for i in range(100) if i not in rows)
            rows[free] = number
            update.added.append(added(free, seed=number))
        while rows and max(rows) != len(rows) - 1:  # condense
            last, free = max(rows), next(i for i in range(100) if i not in rows)
            rows[free] = rows.pop(last)
            update.moved.append((last, free, ONE_WAY))
        if len(rows) > 1:
            a, b = rng.sample(sorted(rows), 2)
            rows[a], rows[b] = rows[b], rows[a]
            update.moved.append((a, b, SWAP))
        update.batch_size = len(rows)
        requests.update_state(update)
        x = logits(1, fresh).expand(len(rows), VOCAB)
        if rows:
            expected = [
                int(onedraw.sample(x[0], seed=rows[i], position=3, ties="keep"))
                for i in range(len(rows))
            ]
            assert drawn(x, requests)[0].tolist() == expected


def test_requests_without_a_seed(plugin, requests):
    """Each has a seed of its own, the same on each rank of a group, another on another replica."""
    update = BatchUpdate(3, added=[added(i) for i in range(3)])
    other = SimpleNamespace(
        parallel_config=SimpleNamespace(data_parallel_rank=1), model_config=CONFIG.model_config
    )
    ranks = [
        requests,
        plugin.v1.Requests(CONFIG, CPU, False),
        plugin.v1.Requests(other, CPU, False),
    ]
    seeds = []
    for rank in ranks:
        rank.update_state(update)
        seeds.append([rank.rows[i].seed for i in range(3)])
    assert seeds[0] == seeds[1] != seeds[2]
    assert len(set(seeds[0])) == 3


@pytest.mark.parametrize("mode", ["processed_logits", "processed_logprobs"])
def test_what_was_drawn_from_is_shown(requests, mode):
    requests.update_state(
        BatchUpdate(
            2, added=[added(0, temperature=0.0), added(1, seed=1, temperature=0.5, top_k=4)]
        )
    )
    x = logits(2)
    told = metadata(requests, max_num_logprobs=2)
    tokens, shown = stand_in.Sampler().sample(x.clone(), told, mode)
    expected = x / torch.tensor([[1.0], [0.5]])
    expected[1].masked_fill_(~onedraw.kept_mask(expected[1], top_k=4), -torch.inf)
    if mode == "processed_logprobs":
        expected = expected.log_softmax(-1)
    assert torch.equal(shown, expected)
    assert torch.isfinite(shown[1, tokens[1]])
    hidden = drawn(x, requests)
    assert hidden[1] is None
    assert torch.equal(hidden[0], tokens)


def test_a_processor_of_the_users_runs(requests):
    class OnlyEven:
        def apply(self, x: torch.Tensor) -> torch.Tensor:
            x[:, 1::2] = -torch.inf
            return x

    rows = 50
    requests.update_state(BatchUpdate(rows, added=[added(i, seed=i) for i in range(rows)]))
    tokens = drawn(logits(rows), requests, OnlyEven())[0]
    assert not (tokens % 2).any()
    assert len(set(tokens.tolist())) > 10


def test_generators_that_nobody_uses(requests):
    """vLLM sets back those of requests whose prompt is not whole yet, which on a CPU it cannot."""
    requests.update_state(BatchUpdate(1, added=[added(0, seed=1)]))
    told = metadata(requests)
    told.generators[0] = torch.Generator()
    stand_in.Sampler().sample(logits(1), told)
    assert not told.generators


@pytest.mark.parametrize("case", ["warm-up", "all greedy", "drafts"])
def test_left_to_vllm(requests, case):
    requests.update_state(BatchUpdate(2, added=[added(0), added(1)]))
    told = metadata(*([] if case == "warm-up" else [requests]), all_greedy=case == "all greedy")
    x = logits(5 if case == "drafts" else 2)
    assert (stand_in.Sampler().sample(x, told)[0] == -1).all()


def test_bad_logits_are_a_warning(requests, caplog):
    requests.update_state(BatchUpdate(2, added=[added(0, seed=1), added(1, seed=2)]))
    x = logits(2)
    x[0, 5] = float("nan")
    with caplog.at_level(logging.WARNING, "vllm.onedraw"):
        tokens = drawn(x, requests)[0]
    assert int(tokens[0]) == 0
    assert int(tokens[1]) == int(onedraw.sample(x[1], seed=2, position=3, ties="keep"))
    assert "rows [0]" in caplog.text


def test_a_failure_is_a_warning_and_vllm_goes_on(plugin, requests, caplog, monkeypatch):
    def fails(*args: Any, **kwargs: Any) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(plugin.v1, "sample", fails)
    requests.update_state(BatchUpdate(2, added=[added(0, seed=1), added(1)]))
    sampler, told = stand_in.Sampler(), metadata(requests)
    with caplog.at_level(logging.WARNING, "vllm.onedraw"):
        assert (sampler.sample(logits(2), told)[0] == -1).all()
    assert "planted" in caplog.text
    assert sampler.generators.keys() == {0}  # that of the request with a seed is back
    monkeypatch.undo()
    assert (sampler.sample(logits(2), told)[0] == -1).all()  # and it stays so


def test_a_sampler_that_is_not_known(plugin, caplog, monkeypatch):
    plugin.installing.uninstall()
    own = stand_in.Sampler.sample
    monkeypatch.setattr(plugin.installing, "V1_SAMPLE", {})
    monkeypatch.setattr(plugin.installing, "V2_ARGUMENTS", {})
    with caplog.at_level(logging.WARNING, "vllm.onedraw"):
        plugin.register()
    assert "draws nothing here" in caplog.text
    assert "Sampler.sample" in caplog.text
    assert "_sample_random" in caplog.text
    assert stand_in.Sampler.sample is own
    assert not sys.modules["vllm.v1.sample.logits_processor"].BUILTIN_LOGITS_PROCESSORS


def test_without_vllm(caplog, monkeypatch):
    for name in stand_in.OURS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "vllm", None)
    register = importlib.import_module("onedraw.vllm").register
    with caplog.at_level(logging.WARNING, "vllm.onedraw"):
        register()
    assert "draws nothing here" in caplog.text


def test_installed_twice_and_taken_back(plugin):
    assert plugin.installing.install() == ["vLLM (installed before)"]
    plugin.installing.uninstall()
    assert stand_in.Sampler().sample(logits(1), metadata())[0].tolist() == [-1]
    assert plugin.installing.install() == ["model runner V1", "model runner V2"]


def test_the_fingerprint_is_of_what_is_done(plugin, tmp_path):
    sources = [
        "def f(a, b):\n    return a + b\n",
        "def f(a: int, b: int) -> int:\n    '''Adds.'''\n    # with care\n    return (a + b)\n",
        "def f(a, b):\n    return b + a\n",
    ]
    found = []
    for i, source in enumerate(sources):
        path = tmp_path / f"module_{i}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(plugin.installing.fingerprint(module.f))
    assert found[0] == found[1] != found[2]


class TestModelRunnerV2:
    SEEDS = torch.tensor([11, 12, 13, 14])
    TEMPERATURE = torch.tensor([1.0, 0.0, 0.5, 1.0])
    ROWS = torch.tensor([2, 1, 0, 0])  # request 0 has two positions, as with drafts
    POS = torch.tensor([7, 8, 20, 21], dtype=torch.int32)

    def sampled(self, x: torch.Tensor, top_k: Any, top_p: Any, **attributes: Any) -> Any:
        sampler = stand_in.SamplerV2(self.TEMPERATURE, self.SEEDS)
        vars(sampler).update(attributes)
        return sampler._sample_random(x, self.ROWS, None, self.POS, top_k, top_p, False)

    @pytest.mark.parametrize("top_k", [None, [5, 300, 300, 2]])
    @pytest.mark.parametrize("top_p", [None, [0.5, 1.0, 0.9, 1.0]])
    def test_tokens(self, plugin, top_k, top_p):
        """Temperature is done by then; the token behind position t has the position t + 1."""
        x = logits(4)
        k = None if top_k is None else torch.tensor(top_k, dtype=torch.int32)
        p = None if top_p is None else torch.tensor(top_p)
        expected = [
            onedraw.sample(
                x[i],
                temperature=float(self.TEMPERATURE[row] > 0),
                top_k=None if k is None else int(k[i]),
                top_p=None if p is None else float(p[i]),
                ties="keep",
                seed=int(self.SEEDS[row]),
                position=int(self.POS[i]) + 1,
            )
            for i, row in enumerate(self.ROWS.tolist())
        ]
        tokens, shown = self.sampled(x, k, p)
        assert tokens.tolist() == [int(token) for token in expected]
        assert shown is x

    @pytest.mark.parametrize(
        "asks", [{"logprobs_mode": "processed_logprobs"}, {"return_sampling_mask": True}]
    )
    def test_what_was_drawn_from(self, plugin, asks):
        x, k = logits(4), torch.tensor([5, 300, 300, 2])
        tokens, shown = self.sampled(x, k, None, **asks)
        assert torch.isfinite(shown).sum(-1).tolist() == k.tolist()
        assert torch.isfinite(shown.gather(1, tokens[:, None])).all()

    def test_a_failure(self, plugin, caplog, monkeypatch):
        def fails(*args: Any, **kwargs: Any) -> None:
            raise ValueError("planted")

        monkeypatch.setattr(plugin.v2, "sample", fails)
        with caplog.at_level(logging.WARNING, "vllm.onedraw"):
            tokens, _ = self.sampled(logits(4), None, None)
        assert (tokens == -1).all()
        assert "planted" in caplog.text
