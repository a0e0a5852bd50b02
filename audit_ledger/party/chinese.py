"""What click and typer say themselves, in Chinese: headings of help pages, and what is wrong with a command line.

Both look their words up by `gettext` under one name in each module, from catalogues of the system that no installation has; here
the look-up is given. The words hold for the process, as its language does.
"""

import gettext
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

import click
import click.core
import click.decorators
import click.exceptions
import click.formatting
import click.parser
import click.types
import typer.core

if TYPE_CHECKING:
    from rich.columns import Columns
    from rich.console import RenderableType

WORDS: Final = {
    "Usage:": "用法：",
    "Arguments": "参数",
    "Options": "选项",
    "Commands": "命令",
    "Error": "错误",
    "Show this message and exit.": "显示本说明并退出。",
    "Try '{command} {option}' for help.": "请看 '{command} {option}'。",
    "Try [blue]'{command_path} {help_option}'[/] for help.": "请看 [blue]'{command_path} {help_option}'[/]。",
    "Error: {message}": "错误：{message}",
    "Aborted!": "已中止。",
    "Aborted.": "已中止。",
    "Missing command.": "缺少命令。",
    "Missing argument": "缺少参数",
    "Missing option": "缺少选项",
    "Missing parameter": "缺少参数",
    "No such command {name!r}.": "没有命令 {name!r}。",
    "No such option: {name}": "没有选项：{name}",
    "Invalid value: {message}": "值不正确：{message}",
    "Invalid value for {param_hint}: {message}": "{param_hint} 的值不正确：{message}",
    "Option {name!r} does not take a value.": "选项 {name!r} 不带值。",
    "{value!r} is not a valid {number_type}.": "{value!r} 不是所要的数。",
    "{value} is not in the range {range}.": "{value} 不在范围 {range} 内。",
    "Choose from:\n\t{choices}": "可选：\n\t{choices}",
    "Could not open file {filename!r}: {message}": "打不开文件 {filename!r}：{message}",
    "{name} {filename!r} does not exist.": "{name} {filename!r} 不存在。",
    "{name} {filename!r} is a file.": "{name} {filename!r} 是文件。",
    "{name} {filename!r} is a directory.": "{name} {filename!r} 是目录。",
    "{name} {filename!r} is not readable.": "{name} {filename!r} 不可读。",
    "(deprecated) ": "（已弃用）",
    "(dynamic)": "（视环境）",
    "required": "必填",
    "[required]": "[必填]",
    "default: {default}": "默认：{default}",
    "[default: {}]": "[默认：{}]",
    "env var: {var}": "环境变量：{var}",
    "[env var: {}]": "[环境变量：{}]",
    "(Possible options: {possibilities})": "（近似的选项：{possibilities}）",
    "Did you mean {possibility}?": "是不是 {possibility}？",
    "{value!r} is not {choice}.": "{value!r} 不是 {choice}。",
    "{value!r} is not one of {choices}.": "{value!r} 不在可选之列：{choices}。",
    "Option {name!r} requires an argument.": "选项 {name!r} 需要一个值。",
    "Option {name!r} requires {nargs} arguments.": "选项 {name!r} 需要 {nargs} 个值。",
    "Got unexpected extra argument ({args})": "多余的参数（{args}）",
    "Got unexpected extra arguments ({args})": "多余的参数（{args}）",
}
_SPEAKERS: Final = (
    click.core, click.decorators, click.exceptions, click.formatting, click.parser, click.types, typer.core,
)  # fmt: skip


def speak(is_chinese: bool) -> None:
    """From now on click and typer speak Chinese, or English again."""
    for module in _SPEAKERS:
        vars(module)["_"] = _chinese if is_chinese else gettext.gettext
        if "ngettext" in vars(module):
            vars(module)["ngettext"] = _chinese_number if is_chinese else gettext.ngettext
    # The headings are loaded with the first page that is drawn, and are English then.
    if is_chinese or "typer.rich_utils" in sys.modules:
        for name, english in _headings().items():
            setattr(sys.modules["typer.rich_utils"], name, WORDS[english] if is_chinese else english)
        vars(sys.modules["typer.rich_utils"])["Columns"] = _folded if is_chinese else sys.modules["rich.columns"].Columns


def _folded(parts: "Iterable[RenderableType]") -> "Columns":
    """An option's help over as many lines as it needs: Chinese has no spaces to break at, and would be cut off at the first."""
    from rich.columns import Columns
    from rich.text import Text

    whole = list(parts)
    for each in whole:
        if isinstance(each, Text):
            each.overflow = "fold"
    return Columns(whole)


@cache
def _headings() -> dict[str, str]:
    import typer.rich_utils

    found = vars(typer.rich_utils).items()
    return {name: value for name, value in found if name.isupper() and isinstance(value, str) and value in WORDS}


def _chinese(english: str) -> str:
    return WORDS.get(english, english)


def _chinese_number(one: str, many: str, count: int) -> str:
    return _chinese(one if count == 1 else many)
