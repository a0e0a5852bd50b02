"""A period's end at the command line: close, countersign, begin the next log in the same homes, also after a crash in between."""

import json
import shutil
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
from audit_ledger.init import create_auditor
from audit_ledger.main import run as audit
from audit_ledger.note import LogKey
from audit_ledger.party.home import Home
from audit_ledger.serve import open_core, open_witness
from audit_ledger.witness_http import witness_app
from coordinator.config import Config
from coordinator.main import app
from coordinator.serve import open_log
from coordinator.witnesses import open_witnesses
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.identity import SigningKey
from tests.support.http import served

OLD, NEXT = "gz.kapok.test/2026", "gz.kapok.test/2027"
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
    done("init", "--home", town.coordinator.path, "--founding", town.found_next(town.close()["draft"]))
    town.log_founding()
    finish(town.auditor)
    open_witness(town.auditor).close()  # trusts the next log from here on
    publish(town)
    return town.coordinator.path / "before" / "ledger", town.ledger, first


def test_the_first_trust_file_alone_verifies_every_log_after_it(town: Town, tmp_path: Path) -> None:
    old, new, first = turned(town, tmp_path)
    assert audit(["verify", str(old), "--trust", str(first)]) == 0
    assert audit(["verify", str(new), "--trust", str(first), "--after", str(old)]) == 0
    mirror = ["--mirror", str(tmp_path / "mirror")]
    for _ in range(2):
        assert audit(["monitor", str(new), "--trust", str(first), "--after", str(old), *mirror]) == 0
    assert audit(["report", str(new), "--trust", str(first), "--after", str(old)]) == 0


def test_a_later_log_alone_is_not_called_verified(town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, first = turned(town, tmp_path)
    own = town.coordinator.path / "trust.policy"
    assert audit(["verify", str(new), "--trust", str(own), "--json"]) == 3
    assert "ledger.no_past" in capsys.readouterr().out
    assert audit(["verify", str(new), "--trust", str(first)]) == 1  # a log that this trust does not know
    capsys.readouterr()
    assert audit(["verify", str(old), "--trust", str(first), "--after", str(old), "--json"]) == 1
    assert "ledger.not_successor" in capsys.readouterr().out
