"""The checks of the documents: each finds what it is for, and lets the sound neighbour pass."""

from __future__ import annotations

from pathlib import Path

import check_docs
import click
import pytest
from check_docs import command_problem, shell_commands
from cli_reference import render


@click.group()
def gg() -> None:
    """The market."""


@gg.group()
def model() -> None:
    """Models."""


@model.command()
@click.argument("file")
@click.option("--benchmark", required=True)
@click.option("--account", required=True, envvar="GG_ACCOUNT")
@click.option("--json", "json_mode", is_flag=True)
def submit(file: str, benchmark: str, account: str, json_mode: bool) -> None:
    """Put a model on the market."""


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("model submit m.onnx --benchmark 0x1", ""),
        ("model submit m.onnx --benchmark 0x1 --json", ""),
        ("model submit --help", ""),
        ("--version", ""),
        ("model submit m.onnx", "missing"),
        ("model submit --benchmark 0x1", "missing"),
        ("model submit a b --benchmark 0x1", "unexpected"),
        ("model submit m.onnx --bench 0x1 --nothing", "No such option"),
        ("model sell m.onnx", "no command 'sell'"),
        ("modle", "no command 'modle'"),
        ("model", "needs a command"),
    ],
)
def test_command_lines_are_parsed_against_the_command_line(line: str, problem: str) -> None:
    found = command_problem(gg, line.split())
    assert problem in found
    assert bool(problem) == bool(found)


def test_shell_blocks_are_taken_apart_as_a_shell_would() -> None:
    text = """
```sh
# a comment
export GG_ACCOUNT=alice
$ gg model submit m.onnx \\
    --benchmark "$(gg benchmark list --json | head -1)" > out.json 2>&1
GG_HOME=here gg demo && echo done &
```
```python
gg("no shell")
```
"""
    assert [words for _, words in shell_commands(text)] == [
        ["export", "GG_ACCOUNT=alice"],
        ["gg", "benchmark", "list", "--json"],
        ["head", "-1"],
        ["gg", "model", "submit", "m.onnx", "--benchmark", "SUBSTITUTED"],
        ["gg", "demo"],
        ["echo", "done"],
    ]


def test_unknown_make_target_is_found(tmp_path: Path) -> None:
    write(tmp_path, "Makefile", "demo: x\n\trun\n")
    write(tmp_path, "README.md", "```sh\nmake demo\nmake tea PYTHON=python3\n```\n")
    assert list(check_docs.check_make(tmp_path)) == [
        "README.md: `make tea PYTHON=python3`: no make target 'tea'"
    ]


def test_message_that_names_no_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_docs, "root_command", lambda: gg)
    write(tmp_path, "Makefile", "setup: x\n\trun\n")
    write(tmp_path, "packages/market/x.py", 'a = "see `gg model submit`, `gg model` or `make setup`"\n')
    assert list(check_docs.check_hints(tmp_path)) == []
    write(tmp_path, "packages/market/x.py", 'a = "see `gg model sell`, or `make tea`"\n')
    assert list(check_docs.check_hints(tmp_path)) == [
        "packages/market/x.py:1: no make target 'tea'",
        "packages/market/x.py:1: gg model has no command 'sell'",
    ]


def test_decision_that_the_index_lacks_is_found(tmp_path: Path) -> None:
    write(tmp_path, "docs/adr/README.md", "- [0001](0001-first.md)\n")
    write(tmp_path, "docs/adr/0001-first.md", "# 0001. First\n")
    assert list(check_docs.check_adr(tmp_path)) == []
    write(tmp_path, "docs/adr/0001-second.md", "# Second\n")
    problems = "\n".join(check_docs.check_adr(tmp_path))
    assert "does not list 0001-second.md" in problems
    assert "two decisions have the number 0001" in problems
    assert "does not begin with" in problems


def test_threat_without_an_existing_test_is_found(tmp_path: Path) -> None:
    write(tmp_path, "tests/attacks/test_t1.py", "def test_it() -> None: ...\n")
    write(tmp_path, "TRUST.md", "| T1 | stolen | `tests/attacks/test_t1.py::test_it` |\n")
    assert list(check_docs.check_trust(tmp_path)) == []
    rows = (
        "T2 | lost | nothing",
        "T3 | x | `tests/attacks/test_t3.py`",
        "T4 | x | `tests/attacks/test_t1.py::test_no`",
    )
    write(tmp_path, "TRUST.md", "".join(f"| {row} |\n" for row in rows))
    problems = "\n".join(check_docs.check_trust(tmp_path))
    assert "names no test for T2" in problems
    assert "test_t3.py, which does not exist" in problems
    assert "has no such test" in problems


def test_links_are_followed_with_their_anchors(tmp_path: Path) -> None:
    write(tmp_path, "docs/a.md", "# The `gg` way, and more\n[up](../README.md) [web](https://example.org)\n")
    write(tmp_path, "README.md", "[good](docs/a.md#the-gg-way-and-more)\n```\n[no](link)\n```\n")
    assert list(check_docs.check_links(tmp_path)) == []
    write(tmp_path, "README.md", "[gone](docs/b.md) [lost](docs/a.md#nowhere)\n")
    problems = list(check_docs.check_links(tmp_path))
    assert len(problems) == 2
    assert "leads nowhere" in problems[0]
    assert "no heading" in problems[1]


@pytest.mark.parametrize(
    "line",
    [
        "see /ro" + "ot/x",
        "in /wo" + "rk/main",
        "from py" + "pi.org",
        "# TO" + "DO later",
        "raise NotImpl" + "ementedError",
    ],
)
def test_words_that_do_not_belong_here_are_found(tmp_path: Path, line: str) -> None:
    write(tmp_path, "src/module.py", "network = 'https://example.org/work/root'\n")
    write(tmp_path, "node_modules/x.py", line)
    assert list(check_docs.check_words(tmp_path)) == []
    write(tmp_path, "src/module.py", f"x = 1\n{line}\n")
    assert [problem.startswith("src/module.py:2: ") for problem in check_docs.check_words(tmp_path)] == [True]


def test_lock_file_with_an_address_or_without_a_hash_is_found(tmp_path: Path) -> None:
    for name in check_docs.LOCKS:
        write(tmp_path, name, "{}\n" if name.endswith("json") else "click==8.5.1 \\\n    --hash=sha256:00\n")
    assert list(check_docs.check_locks(tmp_path)) == []
    write(tmp_path, "requirements.lock", "--index-url https://example.org\nrich==15.0\n    # via x\n")
    problems = "\n".join(check_docs.check_locks(tmp_path))
    assert "names where to download from" in problems
    assert "no hash for rich==15.0" in problems


def test_reference_holds_the_help_of_every_command() -> None:
    page = render(gg)
    assert "### gg model\n" in page
    assert "#### gg model submit\n" in page
    assert "Usage: gg model submit [OPTIONS] FILE" in page
    assert "| 130 |" in page


def test_reference_is_stale_until_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_docs, "root_command", lambda: gg)
    assert len(list(check_docs.check_cli(tmp_path))) == 1
    write(tmp_path, "docs/cli.md", render(gg))
    assert list(check_docs.check_cli(tmp_path)) == []
    write(tmp_path, "packages/market/x.py", 'os.environ["GG_HOME"], os.environ["GG_TEAPOT"]')
    assert list(check_docs.check_cli(tmp_path)) == ["tools/cli_reference.py does not explain GG_TEAPOT"]
