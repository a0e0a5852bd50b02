"""Rules of the house that no single package can check: what files may say, how large they get, and that what is shown exists."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from rich.cells import cell_len

pytestmark = pytest.mark.xdist_group("house")  # each program is asked for the help of its commands once

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
PROGRAMS = tuple(PROJECT["project"]["scripts"])
LANGUAGES = {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}
READMES = [ROOT / name for name in ("README.md", "README.zh-CN.md") if (ROOT / name).exists()]


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    if not listed:
        pytest.skip("not a git checkout")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def _modules() -> list[Path]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in found if "_pb2" not in path.name)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- words

_WORKPLACE = {
    "a path of somebody's machine": r"/work/|/home/[a-z]+/|/Users/\w+|/root/|/tmp/[a-z]",
    "who typed it": r"\b(previous|this|last|next|another|earlier) session\b|\bas an? (ai|language model)\b|\b(llm|chatbot)\b",
    "a package registry": r"artifactory|--(extra-)?index-url|--trusted-host|https?://[^\s\"']+/simple\b|PIP_INDEX|pip\.conf",
    "a promise instead of work": r"\b(TODO|FIXME|XXX|HACK)\b",
}


def _says(text: str, pattern: str) -> list[str]:
    return [found.group() for found in re.finditer(pattern, text, re.IGNORECASE)]


@pytest.mark.parametrize("what", _WORKPLACE)
def test_no_file_speaks_of_the_place_where_it_was_written(what: str) -> None:
    texts = ((path, path.read_text("utf-8", errors="replace")) for path in _tracked() if path != Path(__file__))
    found = {_name(path): said for path, text in texts if (said := _says(text, _WORKPLACE[what]))}
    assert found == {}


def test_data_beside_the_repository_is_for_tests_alone() -> None:
    paths = [path for path in _tracked() if not _name(path).startswith("tests/")]
    assert [_name(path) for path in paths if _says(path.read_text("utf-8", errors="replace"), r"\bshared/(?!modules)")] == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of somebody's machine", "see /work/main/x.py"),
        ("who typed it", "done in the previous session"),
        ("a package registry", "pip install --index-url https://registry.example/simple"),
        ("a promise instead of work", "# TODO later"),
    ],
)
def test_the_search_for_such_words_finds_them(what: str, text: str) -> None:
    assert _says(text, _WORKPLACE[what])


# -- size and names


def test_each_decision_has_a_number_of_its_own_and_those_that_are_named_exist() -> None:
    records = sorted((ROOT / "protocols" / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert sorted(set(numbers)) == numbers
    assert [path.read_text("utf-8").split(":")[0] for path in records] == [f"# {number}" for number in numbers]
    texts = [path for path in _tracked() if path.suffix in {".py", ".md"}]
    named = {number for path in texts for number in re.findall(r"[Dd]ecision (0[0-9]{3})", path.read_text("utf-8"))}
    assert named <= set(numbers)


def _pitfalls() -> dict[str, list[tuple[str, str]]]:
    """What privacy/PITFALLS.md numbers, and the tests (file, name) that it names for each."""
    found: dict[str, list[tuple[str, str]]] = {}
    part = point = ""
    for line in (ROOT / "privacy" / "PITFALLS.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            part = line[3:]
        elif numbered := re.match(r"(\d+)\. \*\*", line):
            point = f"{part} {numbered[1]}"
            found[point] = []
        elif named := re.fullmatch(r" +- `([\w/]+\.py)::(test_\w+)`", line):
            found[point].append((named[1], named[2]))
    return found


def test_each_pitfall_of_privacy_is_held_by_tests_that_exist() -> None:
    found = _pitfalls()
    wanted = [f"Fifteen ways to lose the promise {n}" for n in range(1, 16)] + [f"Ten choices {n}" for n in range(1, 11)]
    assert list(found) == wanted
    assert [point for point, tests in found.items() if not tests] == []
    assert sum(map(len, found.values())) == (ROOT / "privacy" / "PITFALLS.md").read_text("utf-8").count("::")
    there = {(file, name) for tests in found.values() for file, name in tests if (ROOT / "tests" / file).is_file()}
    defined = {each for each in there if re.search(rf"^def {each[1]}\(", (ROOT / "tests" / each[0]).read_text("utf-8"), re.M)}
    assert sorted({each for tests in found.values() for each in tests} - defined) == []


def test_nothing_lies_about_beside_the_packages() -> None:
    files = {path.name for path in _tracked() if path.parent == ROOT}
    assert {
        name
        for name in files
        if not re.fullmatch(r"(README|ARCHITECTURE|CHANGELOG|LICENSE)[\w.-]*|Makefile|[\w.-]+\.(toml|lock)|\.\w+", name)
    } == set()


def test_no_module_has_more_than_400_lines() -> None:
    assert {_name(path): lines for path in _modules() if (lines := len(path.read_text("utf-8").splitlines())) > 400} == {}


def test_no_module_is_named_for_nothing() -> None:
    empty_words = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
    assert [_name(path) for path in _modules() if path.stem in empty_words - {"base"}] == []


def test_every_package_says_what_it_is() -> None:
    folders = [ROOT / package for package in PACKAGES]
    found = {_name(folder): (folder / "README.md") for folder in folders}
    thin = [name for name, readme in found.items() if not readme.exists() or len(readme.read_text("utf-8").split()) < 40]
    assert thin == []


def test_every_module_of_the_product_opens_with_its_promise() -> None:
    modules = (path for path in _modules() if path.stat().st_size)
    # A first line may tell the linter something about the whole file.
    opened = {path: re.sub(r"\A# ruff: .*\n", "", path.read_text("utf-8")) for path in modules}
    assert [_name(path) for path, text in opened.items() if not text.startswith('"""')] == []


# -- programs


_ASK_FOR_HELP = """
import contextlib, importlib, io, json, sys, click, typer
program, script = sys.argv[1:]
module, _, function = script.partition(":")
found = importlib.import_module(module)
app = getattr(found, "app", None)
if isinstance(app, typer.Typer):
    root = typer.main.get_command(app)
else:
    root = next(each for each in vars(found).values() if isinstance(each, click.Group))

def walk(command, words):
    command = command.load() if hasattr(command, "load") else command
    yield words, command
    for name, each in getattr(command, "commands", {}).items():
        yield from walk(each, [*words, name])

def told(words):
    sys.argv, out = [program, *words, "--help"], io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = getattr(found, function)()
        except SystemExit as ended:
            code = ended.code
    return code or 0, out.getvalue()

rows = []
for words, command in walk(root, []):
    code, text = told(words)
    options = sorted(name for each in command.params for name in [*each.opts, *each.secondary_opts])
    arguments = [each.name for each in command.params if isinstance(each, click.Argument)]
    rows.append([words, hasattr(command, "commands"), options, arguments, code, text])
print(json.dumps(rows))
"""


@dataclass(frozen=True)
class Command:
    """What `PROGRAM WORDS --help` says."""

    is_group: bool
    options: frozenset[str]
    arguments: tuple[str, ...]
    code: int
    help: str


@cache
def _commands(program: str, language: str = "en", columns: int = 200) -> dict[tuple[str, ...], Command]:
    """Every command by its words; the program is started once and asked for the help of each."""
    environment = {name: value for name, value in os.environ.items() if name not in {"LC_ALL", "LC_MESSAGES"}}
    environment |= {"LANG": LANGUAGES[language], "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-c", _ASK_FOR_HELP, program, PROJECT["project"]["scripts"][program]]
    listed = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=environment)
    assert listed.returncode == 0, listed.stderr.decode()[-800:]
    return {
        tuple(words): Command(group, frozenset(options), tuple(arguments), *told)
        for words, group, options, arguments, *told in json.loads(listed.stdout)
    }


_HEAVY = {"numpy", "duckdb", "pyarrow", "sqlglot", "matplotlib", "grpc", "structlog", "uvicorn", "torch", "flwr"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_draws_its_help_without_what_only_its_commands_need(program: str) -> None:
    module = PROJECT["project"]["scripts"][program].partition(":")[0]
    command = [sys.executable, "-X", "importtime", "-m", module, "--help"]
    told = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True).stderr
    loaded = set(re.findall(r"\| +(\w+)$", told, re.MULTILINE))
    assert "typer" in loaded
    assert loaded & _HEAVY == set()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_every_command_ends_well_and_has_an_example_of_that_command(program: str, language: str) -> None:
    commands = _commands(program, language)
    assert [words for words, each in commands.items() if each.code != 0] == []
    without = [words for words, each in commands.items() if words and not re.search("Example|例", each.help)]
    assert without == []
    ours = {words: " ".join(each.help.split()) for words, each in commands.items() if not each.is_group}
    assert ours
    assert [words for words, text in ours.items() if " ".join([program, *words]) not in text.partition("[OPTIONS]")[2]] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_on_a_narrow_terminal_fits_it_and_nothing_is_cut_off(program: str, language: str) -> None:
    drawn = {words: each.help.splitlines() for words, each in _commands(program, language, 80).items()}
    assert [words for words, lines in drawn.items() if any(cell_len(line.rstrip()) > 80 for line in lines)] == []
    assert [line for lines in drawn.values() for line in lines if re.search("…[ \\w]*│$", line)] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_of_every_command_has_chinese_words(program: str) -> None:
    assert [words for words, each in _commands(program, "zh").items() if not re.search("[一-鿿]{2}", each.help)] == []


def _argument_lines(text: str) -> list[str]:
    """What stands under the heading of the arguments, a line each, without frame, names, forms and marks in brackets."""
    found = re.search(r"(?:Arguments|参数)(?: ─+╮|:)\n(.*?)(?:\n╰|\n\n)", text, re.DOTALL)
    lines = found[1].splitlines() if found else []
    return [re.sub(r"\[[^\]]*\]\S*|^\W*\w+\s|\b[A-Z_]+\b|[│*]", "", line).strip() for line in lines]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_argument_says_what_it_is(program: str, language: str) -> None:
    told = {words: (len(each.arguments), _argument_lines(each.help)) for words, each in _commands(program, language).items()}
    assert {words: lines for words, (count, lines) in told.items() if len(lines) != count or not all(lines)} == {}


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_in_chinese_has_no_english_heading_mark_or_standing_text(program: str) -> None:
    headings = r"(?:Usage|Arguments|Options|Commands)(?=:| ─)"
    said = re.compile(rf"{headings}|Show this message and exit|\[[^\]]*\b(?:required|default|env var)\b|\(deprecated\)")
    found = {words: said.findall(each.help) for words, each in _commands(program, "zh").items()}
    assert {words: each for words, each in found.items() if each} == {}
    in_english = said.findall(next(iter(_commands(program, "en").values())).help)
    assert {"Usage", "Options"} <= set(in_english), "the search finds what it is to find"


@pytest.mark.parametrize(
    ("program", "typed", "chinese"),
    [
        ("kapok-node", ("nonsense",), "没有命令 'nonsense'。"),
        ("kapok-node", ("init",), "缺少选项 '--invite'"),
        ("kapok-audit", ("nonsense",), "没有命令 'nonsense'。"),
        ("kapok-coordinator", ("run", "--nonsense"), "没有选项：--nonsense"),
        ("kapok", ("query",), "缺少参数 'QUESTION'"),
        ("kapok-sim", ("demo", "--hospitals", "many"), "'many' 不是"),
    ],
)
def test_a_wrong_command_line_is_told_in_chinese(program: str, typed: tuple[str, ...], chinese: str) -> None:
    environment = {**os.environ, "LANG": LANGUAGES["zh"], "LC_ALL": LANGUAGES["zh"], "COLUMNS": "200", "TERM": "dumb"}
    module = PROJECT["project"]["scripts"][program].partition(":")[0]
    command = [sys.executable, "-m", module, *typed]
    found = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=environment)
    told = (found.stdout + found.stderr).decode()
    assert found.returncode == 2, told
    assert chinese in told
    assert not re.search(r"Usage|Error|Try|Missing|No such|Invalid", told), told


# -- what READMEs show


def _shown(readme: Path) -> Iterator[list[str]]:
    """Invocations of the house's programs in the code blocks of a README."""
    for block in re.findall(r"^```\w*\n(.*?)^```", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            words = (
                shlex.split(line.removeprefix("$ "), comments=True) if re.match(r"(\$ )?(\.venv/bin/)?(kapok|make)\b", line) else []
            )
            if words and Path(words[0]).name in PROGRAMS:
                yield [Path(words[0]).name, *words[1:]]


def _named_inline(readme: Path) -> Iterator[list[str]]:
    for text in re.findall(r"`(kapok[a-z-]* [^`]+)`", readme.read_text("utf-8")):
        yield text.replace("…", "").split()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_that_a_readme_shows_exists_with_its_options(readme: Path) -> None:
    shown = [*_shown(readme), *_named_inline(readme)]
    assert len(shown) > 4
    for program, *rest in shown:
        assert program in PROGRAMS, program
        commands, words = _commands(program), list[str]()
        for word in rest:
            if (*words, word) not in commands:
                break
            words.append(word)
        known = commands[tuple(words)]
        assert words, f"{program} {' '.join(rest)}: no such command"
        stated = {word.split("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        assert stated <= known.options | {"--help"}, f"{program} {' '.join(words)} does not know {sorted(stated - known.options)}"


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_make_target_and_file_that_a_readme_names_exists(readme: Path) -> None:
    text = readme.read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (readme.parent / link).exists()] == []


# -- generated and locked


def test_generated_stubs_are_what_the_protocol_files_generate(tmp_path: Path) -> None:
    protos = sorted(_name(path) for path in (ROOT / "protocols" / "v1").glob("*.proto"))
    outs = [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outs, *protos], cwd=ROOT, check=True)
    made = sorted(tmp_path.rglob("*_pb2*.py"))
    assert len(made) == 2 * len(protos)
    for path in made:
        assert path.read_bytes() == (ROOT / path.relative_to(tmp_path)).read_bytes(), f"{path.name}: run `make stubs`"


def _locked(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Package → version with its condition, and its hashes."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            head, *hashes = line.split("--hash=")
            package, _, version = head.strip().partition("==")
            found[package] = (version.partition(";")[0].strip(), frozenset(each.strip() for each in hashes))
    return found


def test_a_hospital_installs_what_was_tested() -> None:
    core, everything = _locked("requirements.lock"), _locked("requirements-dev.lock")
    assert len(core) > 20
    assert {name: locked for name, locked in core.items() if everything.get(name) != locked} == {}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_everything_locked_has_hashes_and_nothing_else_is_named(name: str) -> None:
    for package, (version, hashes) in _locked(name).items():
        assert re.fullmatch(r"[0-9][0-9a-z.+]*", version), package
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), package


def test_every_stated_dependency_is_locked() -> None:
    locked = {name.lower().replace("_", "-").partition("[")[0] for name in _locked("requirements.lock")}
    stated = {re.split(r"[<>=\[;]", want)[0].lower() for want in PROJECT["project"]["dependencies"]}
    assert stated - locked == set()
