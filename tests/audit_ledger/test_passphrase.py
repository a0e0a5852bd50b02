"""Private keys at rest: what lies in a home is of no use without a file that lies elsewhere."""

import shutil
import stat
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from typer.testing import CliRunner

from audit_ledger.init import create_auditor
from audit_ledger.main import run
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.party.channel import server_credentials
from audit_ledger.party.enrol import Invitation
from audit_ledger.party.home import Home, HomeError
from audit_ledger.party.passphrase import POINTER
from audit_ledger.protecting import encrypt_keys
from coordinator.main import app as coordinator
from coordinator.transport_ca import CertificateAuthority
from protocols.clock import unix
from protocols.identity import SigningKey
from tests.hospital_node.test_commands import kapok_node
from tests.support.city import COORDINATOR, ORIGIN
from tests.support.killing import killed_at

WORDS = "correct horse battery staple"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return _file(tmp_path / "passphrase", WORDS)


def _file(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def home(tmp_path: Path, file: Path) -> Home:
    return Home(tmp_path / "home").protect(file)


def _everything(home: Home) -> list[Path]:
    return [path for path in home.path.rglob("*") if path.is_file()]


def test_every_key_of_an_auditor_and_a_coordinator_is_encrypted_and_read_back(home: Home, tmp_path: Path) -> None:
    shares = create_auditor(home, "gz", 3, 2)
    seeds = [home.key(name).seed() for name in ("root", "approval", "service", "witness")]
    sealing = SealingKeys(home).current("2026-11", unix("2026-11-20T00:00:00Z")).secret()
    authority = CertificateAuthority.create(ORIGIN)
    authority.save(home)
    key, certificate = authority.issue_own(COORDINATOR)
    home.write_transport_key(key)
    home.write("tls/cert.pem", certificate)
    home.write("tls/ca.pem", authority.pem())

    private = [path for path in _everything(home) if path.parent.name in {"keys", "sealing"} or path.name == "key.pem"]
    assert len(private) == 7
    for path in private:
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"), path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len({*seeds, sealing}) == 5
    assert SealingKeys(home).find("2026-11").secret() == sealing  # type: ignore[union-attr]
    assert CertificateAuthority.load(home).key.private_numbers() == authority.key.private_numbers()
    assert isinstance(server_credentials(home), grpc.ServerCredentials)
    assert len(shares) == 3, "the shares of the root go to other people, and are no file of this home afterwards"


def test_a_home_without_a_passphrase_has_plain_keys(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").protect(None)
    made = home.create_key("identity")
    home.write_transport_key(ec.generate_private_key(ec.SECP256R1()))
    assert home.key("identity").seed() == made.seed()
    assert (home.path / "keys" / "identity.key").read_bytes().startswith(b"-----") is False
    assert load_pem_private_key((home.path / "tls" / "key.pem").read_bytes(), None)
    assert not home.has(POINTER)


def test_any_tool_that_reads_pkcs8_reads_such_a_key(home: Home) -> None:
    made = home.create_key("identity")
    key = load_pem_private_key((home.path / "keys" / "identity.key").read_bytes(), WORDS.encode())
    assert key.private_bytes_raw() == made.seed()  # type: ignore[union-attr]


def test_another_passphrase_is_said_to_be_wrong_and_shown_to_nobody(home: Home, file: Path) -> None:
    home.create_key("identity")
    _file(file, "another passphrase of enough characters")
    with pytest.raises(HomeError, match=r"identity\.key: the passphrase does not open it, or it is damaged") as caught:
        home.key("identity")
    assert "another passphrase" not in str(caught.value)


def test_a_home_that_was_copied_without_the_passphrase_gives_no_key(home: Home, file: Path) -> None:
    home.create_key("identity")
    file.unlink()
    with pytest.raises(HomeError, match=r"passphrase: the passphrase cannot be read \(No such file or directory\)"):
        home.key("identity")
    (home.path / POINTER).unlink()
    with pytest.raises(HomeError, match=r"identity\.key: encrypted, and the home names no passphrase in 'passphrase-file'"):
        home.key("identity")


def test_a_passphrase_that_others_may_read_that_is_short_or_lies_inside_is_refused(tmp_path: Path, file: Path) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    file.chmod(0o640)
    with pytest.raises(HomeError, match=r"passphrase: readable by others \(mode 640\); run chmod 600 on it"):
        home.protect(file)
    with pytest.raises(HomeError, match="expected a passphrase of at least 20 characters, got 6"):
        home.protect(_file(file, "secret"))
    with pytest.raises(HomeError, match="a passphrase lies outside the folder that it protects"):
        home.protect(_file(home.path / "inside", WORDS))
    assert not home.has(POINTER), "nothing was changed"


@pytest.mark.parametrize("name", ["keys/identity.key", "tls/key.pem"])
def test_a_private_key_that_others_may_read_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path)
    home.create_key("identity")
    home.write_transport_key(ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / name).chmod(0o644)
    with pytest.raises(HomeError, match=r"readable by others \(mode 644\); run chmod 600 on it"):
        home.key("identity") if name.startswith("keys") else home.transport_key()


def test_a_transport_key_is_replaced_and_an_identity_never(home: Home) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    for key in keys:
        home.write_transport_key(key)
    assert load_pem_private_key(home.transport_key(), None).private_numbers() == keys[1].private_numbers()  # type: ignore[union-attr]
    home.write_secret("keys/identity.key", SigningKey.generate().seed())
    with pytest.raises(HomeError, match="exists already and is not overwritten"):
        home.create_key("identity")


def test_a_wrong_passphrase_is_one_line_to_a_person(tmp_path: Path, file: Path) -> None:
    invitation = Invitation(
        uri="kapok://hospital/h01", origin=ORIGIN, coordinator=COORDINATOR, link_address="127.0.0.1:1", enrol_address="127.0.0.1:1",
        ca_pem="pem", token="once",
    )  # fmt: skip
    (tmp_path / "invite.json").write_text(invitation.model_dump_json())
    given = ("--legal-name", "First", "--licence", "1", "--passphrase-file", file)
    assert kapok_node("init", "--home", tmp_path / "H", "--invite", tmp_path / "invite.json", *given).exit_code == 0
    assert kapok_node("status", "--home", tmp_path / "H").exit_code == 0
    _file(file, "another passphrase of enough characters")
    found = kapok_node("status", "--home", tmp_path / "H")
    assert found.exit_code == 2
    (told,) = found.stderr.splitlines()
    assert told.endswith("identity.key: the passphrase does not open it, or it is damaged   [home]")


def test_the_auditor_s_and_the_witness_s_own_commands_take_one_too(tmp_path: Path, file: Path) -> None:
    assert run(["init", "--home", str(tmp_path / "A"), "--name", "gz", "--passphrase-file", str(file)]) == 0
    assert (tmp_path / "A" / "keys" / "root.key").read_bytes().startswith(b"-----BEGIN ENCRYPTED")
    assert run(["init", "--home", str(tmp_path / "B"), "--name", "gz", "--passphrase-file", str(tmp_path / "nothing")]) == 2
    assert not (tmp_path / "B" / "keys").exists()


# -- a home that was made without one ----------------------------------------------------------------------------------


def _plain_home(path: Path) -> Home:
    home = Home(path)
    create_auditor(home, "gz", 3, 2)
    SealingKeys(home).current("2026-11", unix("2026-11-20T00:00:00Z"))
    authority = CertificateAuthority.create(ORIGIN)
    authority.save(home)
    home.write_transport_key(authority.issue_own(COORDINATOR)[0])
    before = Home(path / "before")
    before.write_secret("keys/log.key", SigningKey.generate().seed())
    before.write("trust.policy", b"of the log before")
    return home


def _private(home: Home) -> dict[Path, bytes]:
    """Every key of this home and of the one before it, as any reader gets it."""
    found = {}
    for place in (home, Home(home.path / "before")):
        for path in sorted([*place.path.glob("*/*.key"), *place.path.glob("*/key.pem")]):
            key = place.private_key(str(path.relative_to(place.path)))
            found[path] = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


def _plain(home: Home) -> list[Path]:
    return [path for path in _private(home) if not path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")]


@pytest.mark.parametrize("program", ["audit", "coordinator", "node"])
def test_a_command_encrypts_every_key_of_a_home_and_a_second_run_has_nothing_to_do(
    tmp_path: Path, file: Path, program: str
) -> None:
    home = _plain_home(tmp_path / "home")
    keys, arguments = _private(home), ["protect", "--home", str(home.path), "--passphrase-file", str(file)]

    def protect() -> int:
        if program == "audit":
            return run(arguments)
        if program == "coordinator":
            return CliRunner().invoke(coordinator, arguments).exit_code
        return kapok_node(*arguments).exit_code

    assert len(_plain(home)) == len(keys) == 8
    assert protect() == 0
    assert _plain(home) == []
    assert _private(home) == keys
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys)
    written = {path: path.read_bytes() for path in keys}
    assert protect() == 0
    assert {path: path.read_bytes() for path in keys} == written
    other = _file(tmp_path / "other", "another passphrase of enough characters")
    arguments[-1] = str(other)
    assert protect() in (2, 3), "its keys are under the first one"
    assert _private(home) == keys


def test_a_home_is_readable_and_goes_on_wherever_its_protection_was_killed(tmp_path: Path, file: Path) -> None:
    made = _plain_home(tmp_path / "home")
    step, is_over = 0, False
    while not is_over:
        home = Home(tmp_path / f"killed-{step}")
        shutil.copytree(made.path, home.path)
        keys = _private(home)
        is_over = not killed_at(step, lambda home=home: encrypt_keys(home, file))  # type: ignore[misc]
        assert _private(home) == keys, f"step {step}"
        encrypt_keys(home, file)
        assert (_private(home), _plain(home)) == (keys, []), f"step {step}"
        assert list(home.path.rglob("*.part")) == []
        step += 1
    assert step > 2 * len(keys)


def test_nothing_is_changed_where_the_passphrase_will_not_do(tmp_path: Path, file: Path) -> None:
    home = _plain_home(tmp_path / "home")
    for wrong in (_file(tmp_path / "short", "secret"), _file(home.path / "inside", WORDS), tmp_path / "none"):
        with pytest.raises(HomeError):
            encrypt_keys(home, wrong)
        assert not home.has(POINTER)
    with pytest.raises(HomeError, match="run `init` first"):
        encrypt_keys(Home(tmp_path / "nowhere"), file)
    assert len(_plain(home)) == 8
