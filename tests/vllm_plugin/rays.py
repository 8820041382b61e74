"""Run by vLLM's own Python: the recipe of docs/vllm.md on a local Ray, in two layouts of the work."""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "vllm.md"
PROMPTS = ["Once upon a time", "The capital of France is", "In 1969", "Water boils at", "A person"]


def main() -> None:
    section = PAGE.read_text(encoding="utf-8").split("\n## Many machines")[1]
    names: dict[str, object] = {}
    exec(re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0], names)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=True, _node_ip_address="127.0.0.1")
    engine = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256}
    texts = []
    for prompts, size in ((PROMPTS, 5), (PROMPTS, 2)):
        rows = names["write"](prompts, 7, sys.argv[1], 1, size, **engine).take_all()  # type: ignore[operator]
        texts.append([row["text"] for row in sorted(rows, key=lambda row: row["row"])])
    print("equal" if texts[0] == texts[1] else texts, len(set(texts[0])))


if __name__ == "__main__":
    main()
