"""The code's own habits: what STYLE.md asks for and a machine can check.

Words that must not stand in the repository are put together from halves here, or this file would be the
first offender.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from jurymast.domain import errors

ROOT = Path(__file__).resolve().parents[1]
CODE = ("src/", "integrations/", "tests/", "tools/", "examples/", "benchmarks/")
TEXT = {
    "",
    ".css",
    ".html",
    ".js",
    ".json",
    ".md",
    ".py",
    ".service",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
LINES_MAX = 500


def spelled(*halves: str) -> str:
    return "".join(halves)


NOQA, TYPE_IGNORE = spelled("# no", "qa"), spelled("# type: ig", "nore")
UNFINISHED_WORDS = (spelled("TO", "DO"), spelled("FIX", "ME"), spelled("XX", "X"))
UNFINISHED = re.compile(rf"\b({'|'.join(UNFINISHED_WORDS)})\b")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u2712\u2715\u2716\u2719-\u27bf\ufe0f]")
FOLDERS = (spelled("ho", "me"), spelled("ro", "ot"), spelled("wo", "rk"), spelled("t", "mp"))
MACHINE_PATH = re.compile(rf"(?<![\w.~*}}>])/({'|'.join(FOLDERS)})(/\w|[\"'`\s])")
REGISTRY_WORDS = (
    spelled("py", "pi.org"),
    spelled("python", "hosted.org"),
    spelled("npm", "js.com"),
    spelled("npm", "js.org"),
    spelled("/sim", "ple/"),
    spelled("index", "-url"),
)
REGISTRY = re.compile("|".join(map(re.escape, REGISTRY_WORDS)))
SDKS = {"openai", "anthropic", "litellm", "xai_sdk", "ollama", "google", "langchain"}

Rule = Callable[[str, str], Iterator[str]]


def matches(pattern: re.Pattern[str]) -> Rule:
    def rule(_: str, text: str) -> Iterator[str]:
        yield from (f"line {text[: found.start()].count(chr(10)) + 1}" for found in pattern.finditer(text))

    return rule


def too_long(_: str, text: str) -> Iterator[str]:
    if (lines := text.count("\n")) > LINES_MAX:
        yield f"{lines} lines"


def without_docstring(_: str, text: str) -> Iterator[str]:
    tree = ast.parse(text)
    if tree.body and not ast.get_docstring(tree):
        yield "no docstring"


def lacks_a_sentence(_: str, text: str) -> Iterator[str]:
    functions = (
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for function in functions:
        if function.name.startswith("test_") and not (ast.get_docstring(function) or "").endswith("."):
            yield f"line {function.lineno}: {function.name}"


def prints(path: str, text: str) -> Iterator[str]:
    if "/faces/" not in path:
        yield from (f"line {call.lineno}" for call in calls(text) if getattr(call.func, "id", "") == "print")


def places_orders(path: str, text: str) -> Iterator[str]:
    if not path.endswith("trading/gateway.py"):
        for call in calls(text):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "place_order":
                yield f"line {call.lineno}"


def asks_for_dry_run(_: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Match):
            question = node.subject if isinstance(node, ast.Match) else node.test
            names = {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(question)}
            if any("dry_run" in name for name in names):
                yield f"line {node.lineno}"


def imports_an_sdk(_: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        yield from (name for name in names if name.split(".")[0] in SDKS)


def silences_without_reason(_: str, text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        silence = re.search(r"noqa\b:?[\w, ]*|type: ignore(\[[\w, -]*\])?", token.string)
        if silence and not re.match(r"\s*[(#]\s*\w.{6,}", token.string[silence.end() :]):
            yield f"line {token.start[0]}"


def calls(text: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))


@cache
def ours() -> tuple[Path, ...]:
    """Text files of the repository, the new ones included and what Git ignores left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return tuple(path for path in paths if path.suffix in TEXT and path.is_file())


def offenders(rule: Rule, *folders: str, suffix: str = "") -> list[str]:
    """What a rule finds in our files below some folders, or in all of them."""
    found = []
    for path in ours():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix.endswith(suffix) and (not folders or name.startswith(folders)):
            found += [f"{name}: {complaint}" for complaint in rule(name, path.read_text(encoding="utf-8"))]
    return found


def test_modules_fit_in_the_head() -> None:
    """No module of the product is longer than the limit."""
    assert offenders(too_long, "src/", "integrations/", suffix=".py") == []


def test_nothing_is_left_for_later() -> None:
    """Code carries no notes about work not done."""
    assert offenders(matches(UNFINISHED), *CODE, suffix=".py") == []


def test_only_faces_print() -> None:
    """What is not a face has no business on a person's terminal."""
    assert offenders(prints, "src/", suffix=".py") == []


def test_every_module_says_what_it_is() -> None:
    """Every module of the product and of its tools opens with a docstring."""
    assert (
        offenders(
            without_docstring, "src/", "integrations/", "tools/", "examples/", "benchmarks/", suffix=".py"
        )
        == []
    )


def test_no_path_of_one_machine() -> None:
    """Nothing in the repository depends on where somebody once kept it."""
    assert offenders(matches(MACHINE_PATH)) == []


def test_no_registry_is_named() -> None:
    """Where packages come from is each machine's own setting."""
    assert offenders(matches(REGISTRY)) == []


def test_no_emoji() -> None:
    """Words, not pictures: they survive every terminal and every log. Tests may feed them to a parser."""
    found = offenders(matches(EMOJI))
    assert [offender for offender in found if not offender.startswith("tests/")] == []


def test_every_test_states_a_behaviour() -> None:
    """Every test says in a sentence what the product does."""
    assert offenders(lacks_a_sentence, "tests/", suffix=".py") == []


def test_every_silenced_check_has_its_reason() -> None:
    """Whoever switches a checker off for a line says why on that line."""
    assert (
        offenders(silences_without_reason, "src/", "integrations/", "tests/", "examples/", suffix=".py") == []
    )


def test_one_door_to_the_exchange() -> None:
    """Only the gateway sends orders: halt, limits and journal can't be walked around."""
    rooms = ("app", "faces", "intelligence", "journal", "policy", "trading")
    assert offenders(places_orders, *(f"src/jurymast/{room}/" for room in rooms), suffix=".py") == []


def test_a_dry_run_is_the_same_program() -> None:
    """No branch asks whether this is a dry run: it is another exchange behind the same code."""
    assert offenders(asks_for_dry_run, "src/", suffix=".py") == []


def test_no_sdk_of_a_vendor() -> None:
    """The product speaks to providers by itself: an SDK's retries would hide outages from it."""
    assert offenders(imports_an_sdk, "src/", "integrations/", suffix=".py") == []


def drawn_errors() -> dict[str, tuple[str, int]]:
    """Parent and exit code of each exception, as the docstring of ``errors`` draws them."""
    drawn: dict[str, tuple[str, int]] = {}
    branch: list[tuple[int, str]] = [(0, "Exception")]
    for row in inspect.cleandoc(errors.__doc__ or "").splitlines():
        if found := re.match(r"( {4,})(\w+)(?:  .*)?$", row):
            depth, name = len(found[1]), found[2]
            branch = [(indent, above) for indent, above in branch if indent < depth]
            parent = branch[-1][1]
            code = re.search(r" exit (\d)$", row)
            drawn[name] = (parent, int(code[1]) if code else drawn.get(parent, ("", 1))[1])
            branch.append((depth, name))
    return drawn


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The drawing in ``domain/errors.py`` shows every exception with its parent and its exit code."""
    classes = {
        name: (each.__bases__[0].__name__, each.exit_code)
        for name, each in vars(errors).items()
        if inspect.isclass(each) and issubclass(each, errors.JurymastError)
    }
    assert drawn_errors() == classes


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (too_long, "x\n" * (LINES_MAX + 1), "x\n" * LINES_MAX),
        (matches(UNFINISHED), spelled("# TO", "DO: more"), "# todos are elsewhere"),
        (prints, "print(1)", "reprint(1)"),
        (without_docstring, "x = 1", '"""What."""'),
        (lacks_a_sentence, "def test_x():\n    pass", 'def test_x():\n    """It works."""'),
        (matches(MACHINE_PATH), f'open("/{FOLDERS[0]}/ann")', 'get("https://host/homepage")'),
        (matches(MACHINE_PATH), f"cd /{FOLDERS[3]}\n", 'tmp_path / "temporary"'),
        (matches(REGISTRY), f"https://{REGISTRY_WORDS[0]}/x", "package index"),
        (matches(EMOJI), "done \U0001f680", "done \u2192 \u2713 \u25cf"),
        (matches(EMOJI), "careful \u26a0\ufe0f", "careful!"),
        (silences_without_reason, f"x = 1  {NOQA}: S101", f"x = 1  {NOQA}: S101 (the reason is this)"),
        (silences_without_reason, f"x = 1  {NOQA}", f"x = '{NOQA}: in text'"),
        (silences_without_reason, f"x = 1  {TYPE_IGNORE}[misc]", f"x = 1  {TYPE_IGNORE}[misc] # as it is"),
        (places_orders, "await self._exchange.place_order(intent)", "await gateway.send(intent)"),
        (asks_for_dry_run, "if self.dry_run:\n    pass", "dry_run = 1\nif other:\n    pass"),
        (imports_an_sdk, "import openai.types", "from jurymast.intelligence.providers import openai"),
        (imports_an_sdk, "def f():\n    from anthropic import x", "from . import openai"),
    ],
)
def test_the_checks_would_notice(rule: Rule, bad: str, good: str) -> None:
    """Each habit's check finds a breach of it, and leaves what only looks like one alone."""
    assert list(rule("src/jurymast/policy/x.py", bad))
    assert not list(rule("src/jurymast/policy/x.py", good))
