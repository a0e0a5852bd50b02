"""`kapok-node`: the hospital's program. See README.md; exit codes and the way to fail are in `commands`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.party.help import in_one_language
from audit_ledger.party.on_demand import Place, on_demand
from audit_ledger.party.output import steady_output
from audit_ledger.words import words
from hospital_node.commands import DEFAULT_HOME, HomeOption, failures

COMMANDS = (
    Place(
        "init",
        "hospital_node.setting_up:init",
        "kapok-node init --invite h01.json --legal-name 'First Hospital' --licence 440100",
    ),
    Place("enroll", "hospital_node.setting_up:enroll", "kapok-node enroll --home /var/lib/kapok"),
    Place("rotate", "hospital_node.setting_up:rotate", "kapok-node rotate --home /var/lib/kapok"),
    Place(
        "protect",
        "hospital_node.setting_up:protect",
        "kapok-node protect --passphrase-file /etc/kapok-passphrase --home /var/lib/kapok",
    ),
    Place(
        "source",
        "hospital_node.sources.commands:source",
        "kapok-node source --example-mapping > source.toml; kapok-node source source.toml",
    ),
    Place("status", "hospital_node.showing:status", "kapok-node status --json"),
    Place("doctor", "hospital_node.doctor:doctor", "kapok-node doctor --lang zh"),
    Place("policy", "hospital_node.governing:policy", "kapok-node policy --default > policy.toml"),
    Place("budget", "hospital_node.budget:budget", "kapok-node budget --chart budget.png"),
    Place("questions", "hospital_node.showing:questions", "kapok-node questions --json"),
    Place("pause", "hospital_node.governing:pause", "kapok-node pause --reason 'moving servers'"),
    Place("resume", "hospital_node.governing:resume", "kapok-node resume --after-restore"),
    Place("incident", "hospital_node.explaining:incident", "kapok-node incident 3f2a9c41 --reason network"),
    Place("backup", "hospital_node.governing:backup", "kapok-node backup /mnt/backup/journal-2026-11.sqlite"),
    Place("import", "hospital_node.records.commands:import_app"),
    Place("peers", "hospital_node.governing:peers_app"),
    Place("tables", "hospital_node.tables.commands:tables_app"),
    Place("residents", "hospital_node.residents:residents_app"),
    Place("studies", "hospital_node.studies.commands:studies_app"),
)
app = typer.Typer(
    name="kapok-node",
    cls=on_demand(*COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _root() -> None:
    """The hospital's node: answers the city's questions without giving a record away. 医院节点。"""


@app.command(epilog="Example: kapok-node run --home /var/lib/kapok --trace /var/log/kapok-trace.jsonl")
def run(
    home: HomeOption = DEFAULT_HOME,
    trace: Annotated[
        Path | None, typer.Option(help="Seconds per step and question, one JSON line each; stays here. 逐步耗时文件，留在本机。")
    ] = None,
) -> None:
    """Answer questions until it is stopped. Opens no port. 运行节点。"""
    from hospital_node import running
    from hospital_node.logs import configure

    with failures(as_json=False):
        configure()
        running.run(home.expanduser(), trace)


def main() -> None:
    # Before NumPy is loaded: its matrix products are small here, and threads that wait for each other make them many times slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with steady_output():
        in_one_language(typer.main.get_command(app), words(sys.argv, os.environ).is_chinese)(prog_name="kapok-node")


if __name__ == "__main__":
    main()
