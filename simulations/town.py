"""A whole city on loopback, founded step by step with the programs that its people would use.

Auditor, coordinator, bureau and every hospital get their own folder and their own processes; nothing is shared but files that
would be handed over in life (the auditor's card, the founding file, invitations, the trust file).
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coordinator.client.city import connect
from simulations.ports import free_ports
from simulations.processes import CommandFailed, Services, run

ORIGIN = "guangzhou.kapok.example/2026"
AUDITOR, BUREAU, COORDINATOR = "guangzhou", "cdc", "city"
Tell = Callable[[str, str], None]
"""A step, in English and in Chinese."""


@dataclass(frozen=True, slots=True)
class Ports:
    link: int
    enrol: int
    opener: int
    witness: int

    @classmethod
    def free(cls) -> "Ports":
        """Four ports nobody listens on now."""
        return cls(*free_ports(4))


@dataclass(slots=True)
class Town:
    """A founded city. `hospitals` maps names to the source of their records (a FHIR folder, or a ready records folder)."""

    root: Path
    hospitals: Mapping[str, Path]
    services: Services
    ports: Ports = field(default_factory=Ports.free)
    tell: Tell = lambda _english, _chinese: None
    count: Callable[[int, int], None] = lambda _done, _of: None
    node_settings: Mapping[str, object] = field(default_factory=dict)
    programme: str = ""

    @property
    def auditor(self) -> Path:
        return self.root / "auditor"

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    @property
    def bureau(self) -> Path:
        return self.root / "bureau"

    @property
    def trust(self) -> Path:
        return self.root / "trust.policy"

    @property
    def ledger(self) -> Path:
        return self.coordinator / "ledger"

    def node(self, name: str) -> Path:
        return self.root / "hospitals" / name

    def found(self) -> None:
        """From nothing to a city whose hospitals are connected and whose programme is approved."""
        self.found_log()
        self.start_coordinator()
        self.found_auditor()
        many = len(self.hospitals)
        self.tell(f"{many} hospitals make their keys and load their records", f"{many} 家医院生成密钥并载入病历")
        with ThreadPoolExecutor(2) as pool:
            for done, _ in enumerate(pool.map(self._found_hospital, self.hospitals), start=1):
                self.count(done, len(self.hospitals))
        self._found_bureau()
        self.tell("the auditor compares fingerprints and admits them by a second signature", "审计方核对指纹，以第二个签名准入")
        run("kapok-audit", "admit", "--pending", "--yes", "--home", self.auditor)
        self.start_nodes(self.hospitals)
        self.await_hospitals(lambda each: each["connected"] and each["policy"] and each["tables"])
        self._accept_peers()

    def found_log(self) -> None:
        """Entry 0, and the trust file that everybody pins."""
        self.tell(
            "the auditor makes its keys; the coordinator drafts entry 0; the auditor countersigns it",
            "审计方生成密钥；协调方起草账本首条；审计方会签",
        )
        run("kapok-audit", "init", "--home", self.auditor, "--name", AUDITOR)
        ports = self.ports
        run(
            *("kapok-coordinator", "init", "--home", self.coordinator, "--origin", ORIGIN, "--name", COORDINATOR),
            *("--auditor-card", self.auditor / "auditor.json"),
            *("--link-listen", f"127.0.0.1:{ports.link}", "--enrol-listen", f"127.0.0.1:{ports.enrol}"),
            *("--opener", f"127.0.0.1:{ports.opener}", "--witness", f"http://127.0.0.1:{ports.witness}"),
        )
        draft, founding = self.coordinator / "founding" / "draft.json", self.root / "founding.json"
        run("kapok-audit", "found", draft, "--home", self.auditor, "--out", founding)
        run("kapok-coordinator", "init", "--home", self.coordinator, "--founding", founding)
        shutil.copy(self.coordinator / "trust.policy", self.trust)

    def start_coordinator(self) -> None:
        self.services.start("coordinator", "kapok-coordinator", "run", "--home", self.coordinator)

    def start_auditor(self) -> None:
        opener, witness = f"127.0.0.1:{self.ports.opener}", f"127.0.0.1:{self.ports.witness}"
        self.services.start(
            *("auditor", "kapok-audit", "serve", "--home", self.auditor, "--listen", opener, "--witness-listen", witness)
        )

    def start_nodes(self, names: Iterable[str]) -> None:
        self.trace("").parent.mkdir(parents=True, exist_ok=True)
        for name in names:
            command = ("kapok-node", "run", "--home", self.node(name), "--trace", self.trace(name))
            self.services.add(f"node/{name}", *command).launch()

    def trace(self, name: str) -> Path:
        return self.root / "traces" / f"{name}.jsonl"

    def _invite(self, role: str, name: str) -> Path:
        invitation = self.root / "invitations" / f"{role}-{name}.json"
        invitation.parent.mkdir(parents=True, exist_ok=True)
        run("kapok-coordinator", "enroll", role, name, "--home", self.coordinator, "--out", invitation)
        return invitation

    def found_auditor(self) -> None:
        """The auditor's certificate, and its witness and opener at work."""
        shutil.copy(self.trust, self.auditor / "trust.policy")
        run("kapok-audit", "enroll", "--home", self.auditor, "--invite", self._invite("auditor", AUDITOR))
        self.start_auditor()

    def _found_hospital(self, name: str) -> None:
        home = self.node(name)
        legal = ("--legal-name", f"Kapok simulated hospital {name}", "--licence", f"SIM-{name}")
        run("kapok-node", "init", "--home", home, "--invite", self._invite("hospital", name), *legal)
        shutil.copy(self.trust, home / "trust.policy")
        self._configure(home)
        self._declare(home)
        run("kapok-node", "enroll", "--home", home)
        source = self.hospitals[name]
        if (source / "CURRENT").exists():
            shutil.copytree(source, home / "records", dirs_exist_ok=True)
        else:
            run("kapok-node", "import", "fhir", source, "--home", home)

    def _configure(self, home: Path) -> None:
        path = home / "config.toml"
        lines = path.read_text().splitlines()
        kept = [line for line in lines if line.split("=")[0].strip() not in self.node_settings]
        path.write_text("\n".join([*kept, *(f"{name} = {json.dumps(value)}" for name, value in self.node_settings.items()), ""]))

    def _declare(self, home: Path) -> None:
        """What IT writes by hand: tables, their public size class, dates and code systems."""
        systems = {"visits": "HL7 v3 ActCode", "diagnoses": "ICD-10", "measurements": "LOINC", "patients": "none"}
        dates = 'size_class = 20\nfirst_day = "2000-01-01"\nlast_day = "open"'
        tables = [f'[[table]]\nname = "{name}"\n{dates}\ncode_systems = ["{codes}"]\n' for name, codes in systems.items()]
        head = 'freshness = "daily"\nstatic_blocks = ["static:patients"]\n\n'
        (home / "dataset.toml").write_text(head + "\n".join(tables))

    def _found_bureau(self) -> None:
        legal = ("--legal-name", "Simulated health bureau", "--licence", "SIM-BUREAU")
        invitation = self._invite("bureau", BUREAU)
        run("kapok", "init", "--home", self.bureau, "--invite", invitation, "--trust", self.trust, *legal)

    def _accept_peers(self) -> None:
        """In life IT compares fingerprints by telephone; here every hospital accepts every admitted one."""

        def accept(name: str) -> None:
            run("kapok-node", "peers", "--accept-admitted", "--home", self.node(name))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(accept, self.hospitals))
        self.await_hospitals(lambda each: len(each["policy"].get("peers", ())) >= len(self.hospitals) - 1)

    @property
    def until(self) -> str:
        """A day until which approvals are given here."""
        return (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%d")

    def catalog(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run("kapok", "catalog", "--home", self.bureau, "--json"))
        return found

    def await_hospitals(self, is_ready: Callable[[dict[str, Any]], Any], timeout_s: float = 60.0) -> None:
        """Until every hospital of the city is as wanted in the catalogue, which is looked at on one connection."""
        until = time.monotonic() + timeout_s
        with connect(self.bureau) as city:
            while len(ready := [each for each in city.catalog_json()["hospitals"] if is_ready(each)]) < len(self.hospitals):
                if time.monotonic() > until:
                    raise CommandFailed(f"{len(ready)} of {len(self.hospitals)} hospitals are ready")
                time.sleep(0.1)

    def approve_tables(self) -> list[dict[str, Any]]:
        """Approves every registration of a table that waits for the auditor; returns what `kapok-audit review` told of them."""
        told = json.loads(run("kapok-audit", "review", "--home", self.auditor, "--json"))["statements"]
        waiting = [each for each in told if each["kind"] == "registration"]
        for each in waiting:
            run("kapok-audit", "approve", each["id"], "--until", self.until, "--home", self.auditor)
        return waiting

    def approve_programme(self, title: str, tables: Iterable[str], max_price: str) -> str:
        """The bureau states a programme, the auditor approves it; returns its id."""
        until = self.until
        before = {each["id"] for each in self.catalog()["programmes"]}
        options = [option for table in tables for option in ("--table", table)]
        run(
            *("kapok", "programs", "add", "--home", self.bureau, "--title", title, "--purpose", "surveillance"),
            *(*options, "--max-price", max_price, "--until", until),
        )
        (new,) = {each["id"] for each in self.catalog()["programmes"]} - before
        run("kapok-audit", "approve", new, "--until", until, "--home", self.auditor)
        self.programme = new
        return str(new)

    def query(self, sql: str, *options: object, expect: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """One question through the bureau's program; the parsed `--json` answer."""
        arguments = ("query", sql, "--home", self.bureau, "--programme", self.programme, "--json", *options)
        answer: dict[str, Any] = json.loads(run("kapok", *arguments, expect=expect))
        return answer
