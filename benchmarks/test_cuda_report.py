"""The tables of a run on a GPU."""

from typing import Any

from benchmarks.cuda_report import report


def record(filters: str = "top-p 0.9", batch: int = 64, **axes: Any) -> dict[str, Any]:
    peer = {"low_us": 1.0, "high_us": 3.0, "rounds": 9, "calls_a_round": 4}
    return {
        "device": "cuda",
        "filters": filters,
        "batch": batch,
        "vocab": 128_256,
        "dtype": "float32",
        "distribution": "lm",
        "cache": "cold",
        "launch": "graph",
        "floor_gb_s": 2345.6,
        "left_out": {"vllm triton": "vllm is not installed"},
        "environment": {"gpu": {"name": "A GPU"}},
        "peers": {
            "floor": {**peer, "median_us": 12.34, "ratio": 1.0, "extra_bytes": 0},
            "onedraw": {**peer, "median_us": 15.0, "ratio": 1.216, "extra_bytes": 3 << 20},
            "torch smart": {
                **peer,
                "median_us": 99.0,
                "ratio": 8.02,
                "rounds": 3,
                "extra_bytes": 0,
            },
        },
        **axes,
    }


def test_tables() -> None:
    records = [
        record(),
        record("greedy"),
        record(launch="eager", floor_gb_s=1000.4),
        record(dtype="bfloat16"),
        record(batch=1, cache="warm"),
    ]
    text = report(records, "some.jsonl")
    assert "Measured on A GPU" in text
    assert "`some.jsonl`" in text
    cold = text.split("## Batch 64, cold, graph\n")[1].split("##")[0]
    assert "| filters | floor | onedraw | torch smart |" in cold
    assert "| top-p 0.9 | 12.3 us, 2,346 GB/s | 1.22 | 8.02* |" in cold
    assert cold.count("top-p 0.9") == 1
    assert "1,000 GB/s" in text.split("## Batch 64, cold, eager\n")[1].split("##")[0]
    assert "## Batch 1, warm, graph" in text
    assert "## Batch 1, cold, graph" not in text
    assert "| top-p 0.9 | 0.0 | 3.0 | 0.0 |" in text.split("MiB, batch 64\n")[1].split("##")[0]
    assert "| filters | float32 | bfloat16 |" in text.split("## dtype, batch 64: onedraw")[1]
    assert "## Vocabulary" not in text
    assert "- vllm triton: vllm is not installed" in text
    assert text.rstrip().endswith("```")
