"""Check that the documents say what is so.

python tools/check_docs.py            list everything that is wrong; exit code 1 if there is anything
python tools/check_docs.py --write    write docs/cli.md from the help texts, then check
python tools/check_docs.py --only links,words

commands  every `gg ...` in a shell block parses against the command line
make      every `make ...` in a shell block is a target
cli       docs/cli.md is what the help texts say
adr       every decision is in the index
trust     TRUST.md names a test for every threat, and the tests it names exist
links     relative links and their anchors lead somewhere
words     no paths of somebody's machine, no registry hosts, nothing left for later
locks     the lock files name versions and hashes, never a host
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
from cli_reference import VARIABLES, render, root_command

ROOT: Final = Path(__file__).resolve().parent.parent
LOCKS: Final = (
    "requirements.lock",
    "packages/enclave/requirements.lock",
    "tools/bootstrap.lock",
    "tools/anvil/requirements.lock",
    "tools/anvil/package-lock.json",
)
SKIPPED_FOLDERS: Final = re.compile(
    r"\.git|\.venv.*|node_modules|build|__pycache__|.*\.egg-info|\..*_cache|\.hypothesis"
)
TEXT_SUFFIXES: Final = frozenset(
    (".md", ".py", ".pyi", ".vy", ".vyi", ".toml", ".lock", ".json", ".txt", ".yaml", ".yml", ".sh", "")
)
# Each in two pieces, so that this file does not contain what it looks for.
FORBIDDEN: Final = {
    "a path of somebody's machine": r"(?<![\w.])/(?:wo" r"rk|ro" r"ot|opt/py" r"pi|tmp/g" r"g)(?:/|\b)(?!\w)",
    "a registry host": r"py" r"pi\.org|python" r"hosted\.org|registry\.np" r"mjs\.org",
    "something left for later": r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|raise NotImpl" r"ementedError",
}
MARKDOWN_LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
SHELL_BLOCK: Final = re.compile(r"^```(?:sh|bash|console|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANY_BLOCK: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED_TEST: Final = re.compile(r"tests/[\w/]+\.py(?:::(\w+))?")


def documents(root: Path) -> list[Path]:
    """The documents whose shell commands a reader may copy."""
    found = [root / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "TRUST.md")]
    found += sorted((root / "docs").rglob("*.md"))
    return [path for path in found if path.exists()]


def text_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if path.is_dir():
            if not SKIPPED_FOLDERS.fullmatch(path.name):
                yield from text_files(path)
        elif path.suffix in TEXT_SUFFIXES and not path.is_symlink():
            yield path


def shell_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (line as written, words) of every simple command in the shell blocks of a document."""
    for block in SHELL_BLOCK.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for command in _simple_commands(line.strip().removeprefix("$ ")):
                yield line.strip(), command


def _simple_commands(line: str) -> Iterator[list[str]]:
    inner = re.findall(r"\$\(([^()]*)\)", line)
    for part in inner:
        yield from _simple_commands(part)
    line = re.sub(r"\$\([^()]*\)", "SUBSTITUTED", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    skip_next = False
    for word in [*lexer, ";"]:
        if skip_next:
            skip_next = False
        elif set(word) <= set("|&;<>") and set(word) & set("<>"):
            skip_next = True
            if words and words[-1] in ("1", "2"):
                words.pop()
        elif set(word) <= set("|&;"):
            while words and re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)


def check_commands(root: Path) -> Iterator[str]:
    cli = root_command()
    for path in documents(root):
        for line, words in shell_commands(path.read_text()):
            if words[0] == "gg" or words[0].endswith("/gg"):
                problem = command_problem(cli, words[1:])
                if problem:
                    yield f"{path.relative_to(root)}: `{line}`: {problem}"


def command_problem(root: click.Group, words: Sequence[str]) -> str:
    """Return why a command line is not understood, or nothing. Values are not looked at."""
    command: click.Command = root
    context = click.Context(root, info_name="gg", **root.context_settings)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return f"{context.command_path} has no command {rest[0]!r}"
        command, context = found, click.Context(found, parent=context, info_name=rest.pop(0))
    if {"--help", "-h"} & set(rest):
        return ""
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return "" if "--version" in rest else f"{context.command_path} needs a command"
    try:
        given, left, _ = command.make_parser(context).parse_args(args=rest)
    except click.UsageError as exc:
        return exc.format_message()
    if left:
        return f"unexpected argument {left[0]!r}"
    for parameter in command.params:
        value = given.get(parameter.name or "")  # click leaves a marker of its own where nothing was given
        missing = not isinstance(value, (str, bool, int, tuple, list)) or value == ()
        if parameter.required and missing and not parameter.envvar:
            return f"missing {parameter.human_readable_name}"
    return ""


def make_targets(root: Path) -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (root / "Makefile").read_text(), re.MULTILINE))


def check_make(root: Path) -> Iterator[str]:
    targets = make_targets(root)
    for path in documents(root):
        for line, words in shell_commands(path.read_text()):
            if words[0] == "make":
                named = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
                for word in named:
                    if word not in targets:
                        yield f"{path.relative_to(root)}: `{line}`: no make target {word!r}"


def check_hints(root: Path) -> Iterator[str]:
    cli = root_command()
    targets = make_targets(root)
    for path in sorted((root / "packages").rglob("*.py")):
        where = path.relative_to(root)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for target in re.findall(r"[`\"']make ([a-z]+)[`\"' ]", line):
                if target not in targets:
                    yield f"{where}:{number}: no make target {target!r}"
            for noun, verb in re.findall(r"[`\"']gg ([a-z]+)(?: ([a-z]+))?[`\"' ]", line):
                problem = command_problem(cli, [noun, *([verb] if verb else []), "--help"])
                if problem:
                    yield f"{where}:{number}: {problem}"


def check_cli(root: Path) -> Iterator[str]:
    page = root / "docs" / "cli.md"
    if not page.exists() or page.read_text() != render(root_command()):
        yield "docs/cli.md is not what the help texts say: run `python tools/check_docs.py --write`"
    sources = "\n".join(path.read_text() for path in sorted((root / "packages" / "market").rglob("*.py")))
    for name in sorted(set(re.findall(r"\bGG_[A-Z_]+\b", sources)) - set(VARIABLES)):
        yield f"tools/cli_reference.py does not explain {name}"


def check_adr(root: Path) -> Iterator[str]:
    folder = root / "docs" / "adr"
    index = (folder / "README.md").read_text() if (folder / "README.md").exists() else ""
    numbers: dict[str, str] = {}
    for path in sorted(folder.glob("[0-9]*.md")):
        number = path.name[:4]
        if f"({path.name})" not in index:
            yield f"docs/adr/README.md does not list {path.name}"
        if number in numbers:
            yield f"two decisions have the number {number}: {numbers[number]} and {path.name}"
        numbers[number] = path.name
        if not re.match(rf"# {number}[. :]", path.read_text()):
            yield f"docs/adr/{path.name} does not begin with `# {number} ...`"


def check_trust(root: Path) -> Iterator[str]:
    page = root / "TRUST.md"
    if not page.exists():
        yield "TRUST.md is missing"
        return
    text = page.read_text()
    for match in NAMED_TEST.finditer(text):
        file, function = root / match.group(0).partition("::")[0], match.group(1)
        if not file.exists():
            yield f"TRUST.md names {match.group(0)}, which does not exist"
        elif function and not re.search(rf"\b(?:def|class) {function}\b", file.read_text()):
            yield f"TRUST.md names {match.group(0)}, but the file has no such test"
    for row in re.findall(r"^\|\s*\**T\d+\**\s*\|.*$", text, re.MULTILINE):
        if not NAMED_TEST.search(row):
            yield f"TRUST.md names no test for {row.split('|')[1].strip()}"


def check_links(root: Path) -> Iterator[str]:
    for path in text_files(root):
        if path.suffix != ".md":
            continue
        for target in MARKDOWN_LINK.findall(ANY_BLOCK.sub("", path.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = (path.parent / name).resolve() if name else path
            if not place.exists():
                yield f"{path.relative_to(root)}: the link to {target} leads nowhere"
            elif anchor and place.suffix == ".md" and anchor not in anchors(place.read_text()):
                yield f"{path.relative_to(root)}: no heading for the link to {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as the usual renderers make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", ANY_BLOCK.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    return found


def check_words(root: Path) -> Iterator[str]:
    for path in text_files(root):
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            for what, pattern in FORBIDDEN.items():
                if re.search(pattern, line):
                    yield f"{path.relative_to(root)}:{number}: {what}: {line.strip()[:100]}"


def check_locks(root: Path) -> Iterator[str]:
    for name in LOCKS:
        text = (root / name).read_text()
        if re.search(r"https?://|--(?:extra-)?index|--find-links|\"resolved\"|file:", text):
            yield f"{name} names where to download from; only versions and hashes belong there"
        if name.endswith(".lock"):
            for entry in re.split(r"\n(?=\S)", text):
                if "==" in entry and not entry.startswith("#") and "--hash=" not in entry:
                    yield f"{name}: no hash for {entry.split()[0]}"
            if re.search(r"^(?:torch|nvidia-[\w-]+)==", text, re.MULTILINE):
                yield f"{name} would install torch, which nothing here needs"


CHECKS: Final[dict[str, Callable[[Path], Iterator[str]]]] = {
    "commands": check_commands,
    "make": check_make,
    "hints": check_hints,
    "cli": check_cli,
    "adr": check_adr,
    "trust": check_trust,
    "links": check_links,
    "words": check_words,
    "locks": check_locks,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check that the documents say what is so.")
    parser.add_argument("--write", action="store_true", help="write docs/cli.md first")
    parser.add_argument("--only", default=",".join(CHECKS), help="checks, separated by commas")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.only.split(",")) - set(CHECKS)
    if unknown:
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    if chosen.write:
        (ROOT / "docs" / "cli.md").write_text(render(root_command()))
    problems = [problem for name in chosen.only.split(",") for problem in CHECKS[name](ROOT)]
    for problem in problems:
        print(problem)
    print(f"documents: {len(problems)} problem(s)" if problems else "documents: all so", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
