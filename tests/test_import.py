"""Where onedraw cannot run, importing it still lets `python -m onedraw.info` say why."""

import subprocess
import sys
from pathlib import Path

import onedraw

PACKAGE_ROOT = str(Path(onedraw.__file__).parent.parent)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {PACKAGE_ROOT!r})\n{code}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_names() -> None:
    assert all(hasattr(onedraw, name) for name in onedraw.__all__)
    assert onedraw.SPEC_VERSION == 0
    assert onedraw.__version__ == "0.1.0"


def test_without_torch() -> None:
    done = python("sys.modules['torch'] = None\nimport onedraw\nonedraw.sample")
    assert done.returncode == 1
    assert "ImportError: onedraw cannot be used here: import of torch halted" in done.stderr
    assert "(python -m onedraw.info says more)" in done.stderr


def test_an_unknown_kernel_in_the_environment() -> None:
    done = python("from onedraw import sample", ONEDRAW_KERNEL="sse9")
    assert done.returncode == 1
    assert "onedraw cannot be used here: ONEDRAW_KERNEL must be one of the kernels" in done.stderr
    assert "got 'sse9'" in done.stderr
    assert python("import onedraw.info", ONEDRAW_KERNEL="sse9").returncode == 0


def test_transformers_is_not_imported_before_it_is_used() -> None:
    done = python("import onedraw\nassert 'transformers' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_without_transformers() -> None:
    done = python("sys.modules['transformers'] = None\nimport onedraw\nonedraw.sample\nonedraw.hf")
    assert done.returncode == 1
    assert "ImportError: onedraw.hf needs transformers: pip install 'onedraw[hf]'" in done.stderr


def test_without_llama_cpp_python() -> None:
    done = python("sys.modules['llama_cpp'] = None\nimport onedraw\nonedraw.llama_cpp")
    assert done.returncode == 1
    assert (
        "onedraw.llama_cpp needs llama-cpp-python: pip install 'onedraw[llama-cpp]'" in done.stderr
    )


def test_an_unknown_name() -> None:
    done = python("import onedraw\nprint(hasattr(onedraw, 'sampel'))\nonedraw.sampel")
    assert done.stdout == "False\n"
    assert "AttributeError: module 'onedraw' has no attribute 'sampel'" in done.stderr
