"""The examples of the README, of docs/ and of the package's docstrings run and print what they say they print."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import chainrule

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _blocks(page: Path) -> list[tuple[str, str, int]]:
    """(language, text, line number of its first line) of each fenced block that is executed."""
    text = page.read_text(encoding="utf-8")
    return [
        (match[1], match[2], text.count("\n", 0, match.start()) + 2)
        for match in FENCE.finditer(text)
        if match[1] in ("python", "sh")
    ]


def _run_command(line: str, folder: Path) -> None:
    """Run a line of a shell example that starts with the project's own command; other lines set up a machine."""
    words = shlex.split(line, comments=True)
    if not words or words[0] != "chainrule":
        return
    command = [str(Path(sysconfig.get_path("scripts")) / "chainrule"), *words[1:]]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page)], ids=lambda page: page.stem)
def test_page_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page run in order, sharing names, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": f"docs_{page.stem}"}
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for language, text, line in _blocks(page):
        if language == "sh":
            for command in text.replace("\\\n", " ").splitlines():
                _run_command(command, tmp_path)
        elif ">>>" in text:
            test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line - 1)
            printed: list[str] = []
            result = runner.run(test, out=printed.append, clear_globs=False)
            names.update(test.globs)
            assert result.failed == 0, "".join(printed)
        else:
            # padding with newlines gives errors the page's own line numbers
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), names)


class _Parser(doctest.DocTestParser):
    """Ends an example where the next section of a docstring begins, without an empty line between them."""

    def parse(self, string: str, name: str = "<string>") -> list:
        lines: list[str] = []
        indent = 0
        for line in string.splitlines():
            stripped = line.lstrip()
            here = len(line) - len(stripped)
            if stripped.startswith(">>>"):
                indent = here
            elif stripped and here < indent:
                lines.append("")
                indent = 0
            lines.append(line)
        return super().parse("\n".join(lines) + "\n", name)


def _modules() -> list[str]:
    found = pkgutil.walk_packages(chainrule.__path__, "chainrule.")
    return ["chainrule", *(m.name for m in found if not m.name.endswith("__main__"))]


def test_docstring_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ``>>>`` example in a docstring of the package, with `cr` at hand."""
    monkeypatch.chdir(tmp_path)
    failures: list[str] = []
    attempted = 0
    finder = doctest.DocTestFinder(parser=_Parser())
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for name in _modules():
        module = importlib.import_module(name)
        for test in finder.find(module, extraglobs={"cr": chainrule}):
            result = runner.run(test, out=failures.append)
            attempted += result.attempted
    assert not failures, "".join(failures)
    assert attempted > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages(page: Path) -> None:
    """Relative links lead to files that exist."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_import_loads_only_numpy() -> None:
    """``import chainrule`` leaves the compiler and the plotting library for their first use."""
    program = (
        "import sys, chainrule\n"
        "print([m for m in ('llvmlite', 'matplotlib', 'safetensors', 'rich', 'torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
