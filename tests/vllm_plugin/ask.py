"""Run by vLLM's own Python: an engine, what it is asked (JSON, on stdin), and what it says (on stdout)."""

import json
import os
import sys

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that one process does all


def main() -> None:
    asked = json.load(sys.stdin)
    answers_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is no answer
    import vllm

    if asked.get("broken"):  # a fault of onedraw's, in the middle of a run
        from onedraw.vllm import v1

        sound, calls = v1.sample, iter(range(10**9))

        def broken(*args: object, **kwargs: object) -> object:
            if next(calls) >= asked["broken"]:
                raise ValueError("planted")
            return sound(*args, **kwargs)

        v1.sample = broken
    preempted = _count_preemptions()
    engine = vllm.LLM(**asked["engine"])
    found = []
    for prompts, params in asked["calls"]:
        for each in params:  # JSON has no keys but strings
            if "logit_bias" in each:
                each["logit_bias"] = {
                    int(token): value for token, value in each["logit_bias"].items()
                }
        given = [vllm.SamplingParams(**each) for each in params]
        outputs = engine.generate(
            [{"prompt_token_ids": ids} for ids in prompts], given, use_tqdm=False
        )
        found.append([[_answer(sample) for sample in output.outputs] for output in outputs])
    json.dump(found, answers_to)
    answers_to.close()
    print(f"preempted: {len(preempted)}", file=sys.stderr)


def _count_preemptions() -> list[object]:
    """Get one entry for each request that the scheduler takes out of the batch, from here on."""
    from vllm.v1.core.sched.scheduler import Scheduler

    found: list[object] = []
    own = Scheduler._preempt_request

    def counted(self: object, request: object, *args: object, **kwargs: object) -> object:
        found.append(request)
        return own(self, request, *args, **kwargs)

    Scheduler._preempt_request = counted
    return found


def _answer(sample: object) -> dict[str, object]:
    logprobs = None
    if sample.logprobs is not None:  # type: ignore[attr-defined]
        logprobs = [{str(i): p.logprob for i, p in at.items()} for at in sample.logprobs]  # type: ignore[attr-defined]
    return {"ids": list(sample.token_ids), "text": sample.text, "logprobs": logprobs}  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
