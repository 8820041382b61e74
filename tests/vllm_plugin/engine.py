"""A vLLM that really runs, in an environment of its own: `make vllm`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("VLLM_PYTHON", HERE.parent.parent / ".venv-vllm/bin/python"))
MODEL = {"dtype": "float32", "enforce_eager": True, "max_model_len": 512, "max_num_seqs": 64}


def environment(plugin: bool) -> dict[str, str]:
    """With our plugin, or without any."""
    # vLLM binds its threads to processors, and they wait by spinning, which does not go with other work.
    quiet = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    }
    return {
        **os.environ,
        **quiet,
        "VLLM_PLUGINS": "onedraw" if plugin else "",
        "HF_HUB_OFFLINE": "1",
    }


class Vllm:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(
        self, *calls: Any, plugin: bool = True, broken: int = 0, **engine: Any
    ) -> tuple[Any, str]:
        """Each call is (prompts, parameters), a list of ids and a dictionary a request; the answers, and the log."""
        engine = {"model": str(self.folder), **MODEL, **engine}
        done = subprocess.run(
            [PYTHON, HERE / "ask.py"],
            input=json.dumps({"engine": engine, "calls": calls, "broken": broken}),
            capture_output=True,
            text=True,
            env=environment(plugin),
            cwd=self.folder,
            timeout=550,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert ("onedraw draws the tokens" in done.stderr) is plugin
        return json.loads(done.stdout), done.stderr
