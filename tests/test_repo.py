"""The repository as a whole: what must be there, what must agree, what must not be in it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="the tests run outside the repository"
)

FILES = [
    ".ci/run",
    ".clang-format",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "THIRD_PARTY_NOTICES.md",
    "csrc/spec/README.md",
    "csrc/third_party/dlpack.h",
    "docs/determinism.md",
    "docs/parameters.md",
    "python/onedraw/py.typed",
]

TEXT = {
    ".py",
    ".pyi",
    ".md",
    ".toml",
    ".txt",
    ".cff",
    ".h",
    ".cpp",
    ".cu",
    ".cuh",
    ".yaml",
    ".json",
    "",
}


def tracked() -> list[Path]:
    """The files that belong to the repository, whether committed yet or not."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def text_files() -> list[tuple[str, str]]:
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in TEXT and name not in ("LICENSE", "csrc/third_party/dlpack.h"):
            found.append((name, path.read_text(encoding="utf-8")))
    return found


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_file_is_present(name):
    assert (ROOT / name).stat().st_size > 0 or name.endswith("py.typed")


def test_versions_agree():
    import onedraw

    version = project()["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    header = (ROOT / "csrc/spec/version.h").read_text(encoding="utf-8")
    assert onedraw.__version__ == version
    assert str(citation["version"]) == version
    assert "## [Unreleased]" in changelog
    assert int(re.search(r"kVersion = (\d+)", header).group(1)) == onedraw.SPEC_VERSION


def test_core_dependencies_are_torch_and_numpy():
    names = {re.match(r"[\w-]+", line).group() for line in project()["project"]["dependencies"]}
    assert names == {"torch", "numpy"}


@pytest.mark.parametrize("extra", ["cli", "hf", "plot"])
def test_an_extra_has_only_what_the_package_names(extra):
    """Imported, or looked for by name; what these need themselves they bring along."""
    lines = project()["project"]["optional-dependencies"][extra]
    source = "".join(text for name, text in text_files() if name.startswith("python/"))
    for name in (re.match(r"[\w-]+", line).group() for line in lines):
        assert re.search(rf"^ *(?:import|from) {name}\b", source, re.MULTILINE) or re.search(
            rf'in \(.*"{name}".*\) if importlib', source
        ), name


def test_pinned_tools_agree():
    extras = project()["project"]["optional-dependencies"]
    pinned = {line for line in extras["dev"] if "==" in line}
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    used = {
        line
        for repo in config["repos"]
        for hook in repo["hooks"]
        for line in hook.get("additional_dependencies", [])
    }
    assert used
    assert used <= pinned


def test_citation_has_the_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    titles = " | ".join(paper["title"] for paper in citation["references"])
    for word in ("Parallel random numbers", "Neural Text Degeneration", "Min-p", "reservoir"):
        assert word in titles
    for paper in citation["references"]:
        assert paper["authors"]
        assert paper["year"]


def test_no_paths_of_a_machine():
    path = re.compile(r"(?:^|[\s\"'=(:])/(?:home|root|work|Users|tmp)/[A-Za-z0-9_]", re.MULTILINE)
    found = [name for name, text in text_files() if path.search(text)]
    assert set(found) <= {".pre-commit-config.yaml", "tests/test_repo.py"}


def test_no_unfinished_work():
    words = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|NotImplementedError|\blorem ipsum\b")
    found = [name for name, text in text_files() if words.search(text)]
    assert set(found) <= {"tests/test_repo.py"}


def test_links_in_the_documents_lead_somewhere():
    link = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
    for name, text in text_files():
        if name.endswith(".md"):
            for target in link.findall(text):
                assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_files_are_short():
    code = (".py", ".pyi", ".h", ".cpp", ".cu", ".cuh")
    long = {name: text.count("\n") for name, text in text_files() if name.endswith(code)}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_scripts_can_be_run():
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_the_spec_stays_pure():
    """csrc/spec is for host and device: no framework, no Python, no intrinsics, no libm."""
    banned = re.compile(
        r"#include\s*[<\"](?:torch|ATen|pybind11|Python|immintrin|x86intrin|cmath|math\.h)"
    )
    for path in (ROOT / "csrc/spec").glob("*.h"):
        assert not banned.search(path.read_text(encoding="utf-8")), path.name
