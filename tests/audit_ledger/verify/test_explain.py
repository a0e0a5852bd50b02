"""`explain`: what it prints is run, by sh with openssl, sha256sum and coreutils alone; a lie in it stops it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from audit_ledger.main import run
from tests.audit_ledger.verify.city_on_disk import OnDisk, build

TOOLS = ("openssl", "sha256sum", "base64", "basenc", "cut", "head", "tail", "od", "tr", "wc", "cat", "mv", "mktemp")
pytestmark = pytest.mark.skipif(any(shutil.which(each) is None for each in ("sh", *TOOLS)), reason=f"needs sh, {', '.join(TOOLS)}")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    return build(tmp_path_factory.mktemp("explain") / "city")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with these programs and no other."""
    place = tmp_path / "bin"
    place.mkdir()
    for each in TOOLS:
        (place / each).symlink_to(shutil.which(each) or "")
    return place


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run(["explain", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def steps(script: str, tools: Path) -> "subprocess.CompletedProcess[str]":
    shell = shutil.which("sh") or "sh"
    reader, unpacked = tools.parent / "reader", tools.parent / "unpacked"
    for each in (reader, unpacked):
        each.mkdir(exist_ok=True)
    environment = {"PATH": str(tools), "TMPDIR": str(unpacked)}
    done = subprocess.run([shell, "-s"], input=script, capture_output=True, text=True, cwd=reader, env=environment, check=False)
    assert list(reader.iterdir()) == [], "nothing is left in the folder of who checks"
    return done


def test_the_printed_steps_confirm_an_entry(disk: OnDisk, tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (0, 14, 27):
        done = steps(explained(capsys, index, disk.ledger, "--trust", disk.trust), tools)
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout.splitlines()
        assert all(line.startswith("ok: ") for line in said)
        for claim in (
            "signed by the log",
            "signed by the witness gz",
            f"entry {index} stands under the root",
            "id of the statement",
        ):
            assert any(claim in line for line in said), claim
        assert sum("signed by the key of entry" in line for line in said) >= 1
    assert "the leaf that the trust file pins" in explained(capsys, 0, disk.ledger, "--trust", disk.trust)


def test_the_printed_steps_confirm_an_answer_with_every_entry_it_rests_on(
    disk: OnDisk, tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = explained(capsys, disk.answer, "--trust", disk.trust)
    done = steps(script, tools)
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = disk.bundle
    entries = sum(map(len, (bundle.keys, bundle.approvals, bundle.readys, bundle.receipts))) + 3
    assert done.stdout.count("stands under the root") == entries
    assert done.stdout.splitlines()[-1] == "ok: the released integers"
    first = re.search(r"printf '%016X' (-?\d+)", script)
    assert first is not None
    changed = script.replace(first[0], f"printf '%016X' {int(first[1]) + 1}")
    assert (steps(changed, tools).returncode, "DIFFERS: the released integers" in steps(changed, tools).stdout) == (1, True)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (lambda s: re.sub(r'("sig":")(.)', lambda m: m[1] + ("A" if m[2] != "A" else "B"), s, count=1), "DIFFERS: leaf"),
        (lambda s: s.replace("up side.bin hash.bin", "up hash.bin side.bin", 1), "DIFFERS: entry 27 stands under the root"),
        (
            lambda s: re.sub(r"(signed )(.)(.*the witness)", lambda m: m[1] + ("A" if m[2] != "A" else "B") + m[3], s),
            "BAD SIGNATURE",
        ),
    ],
    ids=["another entry", "another place in the tree", "another witness"],
)
def test_the_steps_stop_at_a_lie(disk: OnDisk, tools: Path, capsys: pytest.CaptureFixture[str], lie: object, told: str) -> None:
    script = explained(capsys, 27, disk.ledger, "--trust", disk.trust)
    assert callable(lie)
    changed = lie(script)
    assert changed != script
    done = steps(changed, tools)
    assert done.returncode == 1
    assert told in done.stdout


def test_what_is_neither_an_entry_nor_an_answer_is_a_usage_error(disk: OnDisk, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}")
    trust = ["--trust", str(disk.trust)]
    assert run(["explain", "3", *trust]) == 2
    assert run(["explain", "9999", str(disk.ledger), *trust]) == 2
    assert run(["explain", str(tmp_path / "no.json"), *trust]) == 3
