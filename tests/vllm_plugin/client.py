"""Run by vLLM's own Python, which has OpenAI's client: the same requests together and alone."""

import sys
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

PROMPTS = ["Once upon a time", "The capital of France is", "In 1969", "Water boils at"]


def main() -> None:
    client = OpenAI(base_url=f"http://127.0.0.1:{sys.argv[1]}/v1", api_key="none")

    def text(seed: int) -> str:
        answer = client.completions.create(
            model="served",
            prompt=PROMPTS[seed % 4],
            max_tokens=10,
            temperature=0.9,
            top_p=0.95,
            seed=seed,
        )
        return answer.choices[0].text

    seeds = [*range(12), *range(4)]
    with ThreadPoolExecutor(len(seeds)) as pool:
        together = list(pool.map(text, seeds))
    alone = [text(seed) for seed in range(12)]
    print("equal" if together == alone + alone[:4] else "unequal", len(set(alone)))
    print("different" if text(100) != text(0) else "the same")


if __name__ == "__main__":
    main()
