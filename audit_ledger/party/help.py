"""Help pages in one language: a help text is written once, English first and Chinese after it, and the reader sees one of them.

`English. 中文。` and `English / 中文` are both read so; a text without Chinese stands in both languages.
"""

import re

import click
from typer.core import TyperArgument, TyperOption

from audit_ledger.party.chinese import speak
from audit_ledger.party.on_demand import Unloaded

# The Chinese part begins after the English sentence's full stop with a Han character, or after a slash with a word or two of Latin.
_CHINESE = re.compile(r"(?<=\.) (?=[\u4e00-\u9fff])| / (?=[\w' ]{0,12}[\u4e00-\u9fff])")


def one_language(text: str, is_chinese: bool) -> str:
    """`text` in the reader's language."""
    english, *chinese = _CHINESE.split(text, maxsplit=1)
    return chinese[0] if chinese and is_chinese else english


def in_one_language(command: click.Command, is_chinese: bool) -> click.Command:
    """The command and all below it, changed in place; each then takes `--lang`, and click and typer speak that language too."""
    speak(is_chinese)
    if isinstance(command, Unloaded):
        command.dress(lambda text: one_language(text, is_chinese), lambda loaded: in_one_language(loaded, is_chinese))
        return command
    command.help = one_language(command.help, is_chinese) if command.help else command.help
    command.epilog = command.epilog.replace("Example: ", "示例：", 1) if command.epilog and is_chinese else command.epilog
    for param in command.params:
        if isinstance(param, click.Option | TyperArgument) and param.help:
            param.help = one_language(param.help, is_chinese)
    if not any("--lang" in param.opts for param in command.params):
        # It was read before the commands were built (`audit_ledger.words`); here it is only taken off the line.
        told = "语言：zh 或 en" if is_chinese else "zh or en"
        command.params.append(TyperOption(param_decls=["--lang"], help=told, expose_value=False))
    if isinstance(command, click.Group):
        for each in command.commands.values():
            in_one_language(each, is_chinese)
    return command
