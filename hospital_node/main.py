"""`kapok-node`: the hospital's program. See README.md; exit codes and the way to fail are in `commands`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from audit_ledger.party.help import in_one_language
from audit_ledger.words import words
from hospital_node import explaining, governing, running, setting_up, showing
from hospital_node.commands import DEFAULT_HOME, HomeOption, failures
from hospital_node.doctor import doctor
from hospital_node.logs import configure
from hospital_node.records.commands import import_app
from hospital_node.residents import residents_app
from hospital_node.sources.commands import source
from hospital_node.studies.commands import studies_app
from hospital_node.tables.commands import tables_app

app = typer.Typer(
    name="kapok-node",
    help="The hospital's node: answers the city's questions without giving a record away. 医院节点。",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(import_app, name="import")
app.add_typer(governing.peers_app, name="peers")
app.add_typer(tables_app, name="tables")
app.add_typer(residents_app, name="residents")
app.add_typer(studies_app, name="studies")
app.command(epilog="Example: kapok-node init --invite h01.json --legal-name 'First Hospital' --licence 440100123")(setting_up.init)
app.command(epilog="Example: kapok-node enroll --home /var/lib/kapok")(setting_up.enroll)
app.command(epilog="Example: kapok-node rotate --home /var/lib/kapok")(setting_up.rotate)
app.command(epilog="Example: kapok-node protect --passphrase-file /etc/kapok-passphrase --home /var/lib/kapok")(setting_up.protect)
app.command(epilog="Example: kapok-node source --example-mapping > source.toml; kapok-node source source.toml")(source)
app.command(epilog="Example: kapok-node status --json")(showing.status)
app.command(epilog="Example: kapok-node doctor --lang zh")(doctor)
app.command(epilog="Example: kapok-node policy --default > policy.toml")(governing.policy)
app.command(epilog="Example: kapok-node budget")(showing.budget)
app.command(epilog="Example: kapok-node questions --json")(showing.questions)
app.command(epilog="Example: kapok-node pause --reason 'moving servers'")(governing.pause)
app.command(epilog="Example: kapok-node resume --after-restore")(governing.resume)
app.command(epilog="Example: kapok-node incident 3f2a9c41 --reason network")(explaining.incident)
app.command(epilog="Example: kapok-node backup /mnt/backup/journal-2026-11.sqlite")(governing.backup)


@app.command(epilog="Example: kapok-node run --home /var/lib/kapok --trace /var/log/kapok-trace.jsonl")
def run(
    home: HomeOption = DEFAULT_HOME,
    trace: Annotated[
        Path | None, typer.Option(help="Seconds per step and question, one JSON line each; stays here. 逐步耗时文件，留在本机。")
    ] = None,
) -> None:
    """Answer questions until it is stopped. Opens no port. 运行节点。"""
    with failures(as_json=False):
        configure()
        running.run(home.expanduser(), trace)


def main() -> None:
    in_one_language(typer.main.get_command(app), words(sys.argv, os.environ).is_chinese)(prog_name="kapok-node")


if __name__ == "__main__":
    main()
