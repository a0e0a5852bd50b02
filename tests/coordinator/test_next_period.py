"""A period's end at the command line: close, countersign, begin the next log in the same homes, also after a crash in between."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from audit_ledger.before import PastLog, begun, finish
from audit_ledger.checkpoint import Checkpoint
from audit_ledger.init import create_auditor
from audit_ledger.log_http import log_app
from audit_ledger.main import run as audit
from audit_ledger.note import LogKey, Note
from audit_ledger.opener import OpenRequest
from audit_ledger.opener_store import Opened, OpenerStore
from audit_ledger.party.home import Home
from audit_ledger.serve import open_core, open_witness
from audit_ledger.witness_http import witness_app
from coordinator.config import Config
from coordinator.ledger import CityLedger
from coordinator.main import app
from coordinator.serve import _closed_logs, open_log
from coordinator.witnesses import open_witnesses
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.identity import SigningKey
from protocols.refusal import Reason
from tests.protocols.examples import binding
from tests.support.http import ask, served

OLD, NEXT, LAST = "gz.kapok.test/2026", "gz.kapok.test/2027", "gz.kapok.test/2028"
H01 = "kapok://hospital/h01"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@dataclass
class Town:
    """Coordinator's and auditor's homes of a founded log with one admitted hospital, and the witness's URL."""

    coordinator: Home
    auditor: Home
    hospital: SigningKey

    @property
    def ledger(self) -> Path:
        return self.coordinator.path / "ledger"

    def log(self, *entries: bytes) -> None:
        with open_log(self.coordinator, Config.read(self.coordinator)) as store:
            for entry in entries:
                store.append([(st.parse(entry).id, entry)]).result()

    def log_founding(self) -> None:
        """As the running coordinator does."""
        self.log(*(each.read_bytes() for each in sorted((self.coordinator.path / "founding").glob("entry-*.json"))))

    def close(self, origin: str = NEXT) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(done("close", "--home", self.coordinator.path, "--next-origin", origin, "--json"))
        return found

    def found_next(self, draft: str) -> Path:
        founding = self.auditor.path.parent / "founding-next.json"
        arguments = ["found", draft, "--home", self.auditor.path, "--after", self.ledger, "--out", founding]
        assert audit([str(each) for each in arguments]) == 0
        return founding


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    auditor, coordinator = Home(tmp_path / "auditor"), Home(tmp_path / "coordinator")
    create_auditor(auditor, "gz", 3, 2)
    store = open_witness(auditor)
    with closing(store), served(witness_app(store)) as url:
        card = auditor.path / "auditor.json"
        done("init", "--home", coordinator.path, "--origin", OLD, "--auditor-card", card, "--witness", url)
        draft, founding = coordinator.path / "founding" / "draft.json", tmp_path / "founding.json"
        assert audit(["found", str(draft), "--home", str(auditor.path), "--out", str(founding)]) == 0
        done("init", "--home", coordinator.path, "--founding", founding)
        shutil.copy(coordinator.path / "trust.policy", auditor.path / "trust.policy")
        store.trust(coordinator.trust().policy.logs[0].key)
        made = Town(coordinator, auditor, SigningKey.generate())
        made.log_founding()
        made.log(admission(made))
        yield made


def admission(town: Town) -> bytes:
    statement = st.KeyAdd(
        log=OLD,
        at=stamp(int(time.time())),
        by=H01,
        action="add",
        subject=H01,
        use="identity",
        key=b64(town.hospital.public),
        licence=st.Licence(legal_name="h01", number="1"),
        outbreak=False,
    )
    return statement.envelope().signed([town.hospital, town.auditor.key("approval")]).encode()


def test_the_year_ends_and_the_next_log_begins_in_the_same_homes(town: Town) -> None:
    closed = town.close()
    first_trust, old_key = town.coordinator.trust(), town.coordinator.key("log").public
    founding = town.found_next(closed["draft"])
    assert len(json.loads(founding.read_text())) == 1  # approval and service keys carry over
    done("init", "--home", town.coordinator.path, "--founding", founding)
    config, trust = Config.read(town.coordinator), town.coordinator.trust()
    assert (config.origin, config.log_vkey) == (NEXT, closed["next_vkey"])
    assert trust.policy.logs[0].key == LogKey.parse(closed["next_vkey"])
    assert trust.policy.witnesses == first_trust.policy.witnesses
    assert town.coordinator.key("log").public != old_key
    town.log_founding()
    view = begun(town.coordinator).view
    with open_log(town.coordinator, config) as store:
        assert [each for entry in store.entries(0, store.size) for each in view.apply(entry)] == []
    assert view.authority.hospitals() == [H01]
    past = PastLog.read(town.coordinator)
    assert past is not None
    assert (past.trust, past.view.size, past.view.is_closed) == (first_trust, closed["size"], True)


def test_the_auditors_service_moves_on_at_its_next_start(town: Town) -> None:
    founding = town.found_next(town.close()["draft"])
    assert town.auditor.trust().policy.logs[0].key.origin == OLD  # what runs is not disturbed
    assert finish(town.auditor)
    assert not finish(town.auditor)
    done("init", "--home", town.coordinator.path, "--founding", founding)
    assert town.auditor.trust() == town.coordinator.trust()
    core = open_core(town.auditor)
    assert core.size == 0
    assert core.gate.follower.view.authority.hospitals() == [H01]
    core.store.close()
    store = open_witness(town.auditor)
    assert {each.origin for each in store.logs()} == {OLD, NEXT}
    store.close()


def test_close_may_be_run_again_and_names_one_next_log(town: Town) -> None:
    first, again = town.close(), town.close()
    assert first == again
    refused = run("close", "--home", town.coordinator.path, "--next-origin", "gz.kapok.test/2028")
    assert refused.exit_code == 3
    assert f"names {NEXT}" in refused.output
    same = run("close", "--home", town.coordinator.path, "--next-origin", OLD)
    assert same.exit_code == 3


def test_a_draft_of_a_next_log_is_not_founded_as_a_first_one(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    draft, out = town.close()["draft"], town.auditor.path / "founding.json"
    assert audit(["found", draft, "--home", str(town.auditor.path), "--out", str(out)]) == 2
    assert "--after" in capsys.readouterr().err
    assert not out.exists()


def test_a_log_that_is_not_closed_has_no_successor(town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(town)
    early = shutil.copytree(town.ledger, tmp_path / "early")
    draft, out = town.close()["draft"], tmp_path / "no-founding.json"
    assert audit(["found", draft, "--home", str(town.auditor.path), "--after", str(early), "--out", str(out)]) == 1
    assert "not closed yet" in capsys.readouterr().err
    assert not out.exists()
    assert not town.auditor.has("next/trust.policy")


@pytest.mark.parametrize("moves", range(5))
def test_a_crash_between_two_moves_is_finished_by_the_next_start(town: Town, monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
    founding, left = town.found_next(town.close()["draft"]), moves

    def breaking(real: Any) -> Any:
        def move(self: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("killed here")
            return Path(real(self, target))

        return move

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", breaking(Path.rename))
        patched.setattr(Path, "replace", breaking(Path.replace))
        with pytest.raises(OSError, match="killed here"):
            finish(town.auditor)
    assert finish(town.auditor)
    done("init", "--home", town.coordinator.path, "--founding", founding)
    assert town.auditor.trust() == town.coordinator.trust()
    assert begun(town.auditor).view.authority.hospitals() == [H01]
    assert not (town.auditor.path / "next").exists()


# -- the auditor's desk ------------------------------------------------------------------------------------------------


def publish(town: Town) -> None:
    """Has the log cosigned as it stands."""
    config = Config.read(town.coordinator)
    with open_log(town.coordinator, config) as store:
        signed = store.checkpoint_covering(store.size)
        witness = open_witnesses(config, town.coordinator.trust(), store, town.coordinator)
        store.publish(signed + witness.cosign(signed, store.consistency))


def turned(town: Town, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Old ledger, new ledger, and the trust file of the first; the new log is cosigned."""
    first = Path(shutil.copy(town.coordinator.path / "trust.policy", tmp_path / "first.policy"))
    turn(town, NEXT)
    return town.coordinator.path / "before" / "ledger", town.ledger, first


def turn(town: Town, origin: str) -> None:
    done("init", "--home", town.coordinator.path, "--founding", town.found_next(town.close(origin)["draft"]))
    town.log_founding()
    finish(town.auditor)
    open_witness(town.auditor).close()  # trusts the next log from here on
    publish(town)


def test_the_first_trust_file_alone_verifies_every_log_after_it(town: Town, tmp_path: Path) -> None:
    old, new, first = turned(town, tmp_path)
    assert audit(["verify", str(old), "--trust", str(first)]) == 0
    assert audit(["verify", str(new), "--trust", str(first), "--after", str(old)]) == 0
    mirror = ["--mirror", str(tmp_path / "mirror")]
    for _ in range(2):
        assert audit(["monitor", str(new), "--trust", str(first), "--after", str(old), *mirror]) == 0
    assert audit(["report", str(new), "--trust", str(first), "--after", str(old)]) == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_printed_steps_confirm_an_entry_of_a_later_log(town: Town, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old, new, first = turned(town, tmp_path)
    assert audit(["explain", "0", str(new), "--trust", str(first)]) != 0, "of another log than the trust file's"
    capfd.readouterr()
    assert audit(["explain", "0", str(new), "--trust", str(first), "--after", str(old)]) == 0
    steps = capfd.readouterr().out
    done = subprocess.run(["sh"], input=steps, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ok: the leaf that the trust file pins" in done.stdout
    assert done.stdout.count("ok: signed by") >= 3


def test_a_later_log_alone_is_not_called_verified(town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, first = turned(town, tmp_path)
    own = town.coordinator.path / "trust.policy"
    assert audit(["verify", str(new), "--trust", str(own), "--json"]) == 3
    assert "ledger.no_past" in capsys.readouterr().out
    assert audit(["verify", str(new), "--trust", str(first)]) == 1  # a log that this trust does not know
    capsys.readouterr()
    assert audit(["verify", str(old), "--trust", str(first), "--after", str(old), "--json"]) == 1
    assert "ledger.not_successor" in capsys.readouterr().out


# -- three logs in a chain ---------------------------------------------------------------------------------------------


def verified(*arguments: object) -> int:
    return audit(["verify", *map(str, arguments)])


def test_three_logs_in_a_chain_are_served_and_verified_from_the_first_trust_file(town: Town, tmp_path: Path) -> None:
    _, _, first = turned(town, tmp_path)
    turn(town, LAST)
    closed = _closed_logs(PastLog.read(town.coordinator))
    with served(log_app(town.ledger, others=closed)) as url:
        old, middle = f"{url}/log/{OLD}", f"{url}/log/{NEXT}"
        assert verified(url, "--trust", first, "--after", old, "--after", middle) == 0
        assert verified(middle, "--trust", first, "--after", old) == 0
        assert verified(old, "--trust", first) == 0
        assert verified(url, "--trust", first, "--after", old) != 0, "the middle one is missing"
        assert verified(url, "--trust", first, "--after", middle, "--after", old) != 0, "in another order"
        for origin, folder in ((OLD, "before/before/ledger"), (NEXT, "before/ledger")):
            answer, note = ask(url, "GET", f"/log/{origin}/checkpoint")
            assert (answer.status, note) == (200, (town.coordinator.path / folder / "checkpoint").read_bytes())
            assert Checkpoint.parse(Note.parse(note).text).origin == origin
        assert ask(url, "GET", f"/log/{LAST}/checkpoint")[0].status == 404, "the present log has no prefix"
        assert ask(url, "GET", f"/log/{OLD}/../../trust.policy")[0].status == 404
        assert ask(url, "POST", f"/log/{OLD}/add", b"{}")[0].status in (404, 405)


def test_a_party_that_slept_through_a_year_is_told_of_the_log_that_follows_its_own(town: Town, tmp_path: Path) -> None:
    turned(town, tmp_path)
    turn(town, LAST)
    past = PastLog.read(town.coordinator)
    assert past is not None
    with open_log(town.coordinator, Config.read(town.coordinator)) as store:
        ledger = CityLedger(store, None, town.coordinator.trust(), lambda: int(time.time()), past)  # type: ignore[arg-type]
        for origin, wanted in ((OLD, past.before), (NEXT, past)):
            told = ledger.ended_log(origin)
            assert told is not None
            assert told[0] is wanted
            assert st.parse(told[1]).statement.log == (NEXT if origin == OLD else LAST)
        assert ledger.ended_log(LAST) is None


def test_sums_of_an_ended_log_are_written_out_until_their_time_is_over_and_nothing_of_it_is_opened(
    town: Town, tmp_path: Path
) -> None:
    now, asked = int(time.time()), binding(origin=OLD)
    store = OpenerStore(town.auditor.path / "opener.sqlite")
    store.keep(Opened(asked.query, 0, 1, b"r", asked.encode(), None, b"its sum", 1, now))
    store.close()
    turned(town, tmp_path)
    core = open_core(town.auditor)
    found = core.open(OpenRequest(asked.encode(), ()), now).refusals
    assert (Reason.WRONG_LOG, NEXT, OLD) in {(each.reason, each.expected, each.got) for each in found}

    def written(to: Path) -> list[bytes]:
        assert audit(["vectors", "--home", str(town.auditor.path), "--out", str(to)]) == 0
        return [each.read_bytes() for each in to.rglob("*") if each.is_file()]

    core.sweep(now + 35 * 86_400)
    assert written(tmp_path / "kept") == [b"its sum"]
    core.sweep(now + 35 * 86_400 + 1)
    assert written(tmp_path / "gone") == []
    core.close()
