"""Commands that are loaded when they are called: a program starts, and draws its help, without what only other commands need.

What a help page says of a command not loaded yet is read from its source, where it is written once: the `help` that it or its
group is registered with, or else its docstring.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click
import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command stands: `module:name` of a function or of a group, a `typer.Typer`; `module:group.` of one in a group."""

    name: str
    target: str
    example: str = ""


def on_demand(*places: Place, worded: Callable[[str], str] = str) -> type[TyperGroup]:
    """The `cls` of a `typer.Typer` that has these commands before its own; in its list their help stands as `worded`."""

    class OnDemand(TyperGroup):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            unloaded = [Unloaded(each, self.rich_markup_mode, worded) for each in places]
            self.commands = {str(each.name): each for each in (*unloaded, *self.commands.values())}

        def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            for each in self.commands.values():
                if isinstance(each, Unloaded):
                    each.read_help()
            super().format_help(ctx, formatter)

    return OnDemand


class Unloaded(TyperCommand):
    """Stands in a list for a command that is not loaded; whoever calls it calls the real one."""

    def __init__(self, place: Place, markup: Any, worded: Callable[[str], str]) -> None:
        super().__init__(name=place.name, rich_markup_mode=markup)
        self._place, self._markup, self._worded = place, markup, worded
        self._dressed: Callable[[click.Command], click.Command] = _as_it_is

    def dress(self, worded: Callable[[str], str], dressed: Callable[[click.Command], click.Command]) -> None:
        """How its help is worded in the list, and what is done to the real command when it is loaded."""
        self._worded, self._dressed = worded, dressed

    def read_help(self) -> None:
        module, name, is_within = self._target()
        self.help = self._worded(_helps(module).get(str(self.name) if is_within else name) or self.load().help or "")

    def load(self) -> click.Command:
        module, name, is_within = self._target()
        found, around = getattr(import_module(module), name), typer.Typer(add_completion=False, rich_markup_mode=self._markup)
        if isinstance(found, typer.Typer):
            around.add_typer(found, name=None if is_within else self.name)
        else:
            around.command(self.name, epilog=f"Example: {self._place.example}")(found)
        return self._dressed(typer.main.get_group(around).commands[str(self.name)])

    def _target(self) -> tuple[str, str, bool]:
        module, _, name = self._place.target.partition(":")
        return module, name.rstrip("."), name.endswith(".")

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self.load().make_context(info_name, args, parent, **extra)


def _as_it_is(command: click.Command) -> click.Command:
    return command


@lru_cache
def _helps(module: str) -> dict[str, str]:
    """By name, what the functions and groups of a module say of themselves; nothing where it has no source."""
    spec = find_spec(module)
    source = spec.loader.get_source(module) if spec and hasattr(spec.loader, "get_source") else None  # type: ignore[union-attr]
    return dict(each for node in ast.parse(source or "").body for each in _said(node))


def _said(node: ast.stmt) -> list[tuple[str, str]]:
    """A function's help under its own name and under the name that it is registered by."""
    match node:
        case ast.FunctionDef(name=name, decorator_list=decorators):
            calls = [each for each in decorators if isinstance(each, ast.Call)]
            names = [each.value for call in calls for each in call.args if isinstance(each, ast.Constant)]
            told = [text for call in calls for text in _help_of(call)] or [ast.get_docstring(node) or ""]
            return [(str(each), told[0]) for each in (name, *names)]
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
            return [(name, text) for text in _help_of(call)]
    return []


def _help_of(call: ast.Call) -> list[str]:
    return [str(each.value.value) for each in call.keywords if each.arg == "help" and isinstance(each.value, ast.Constant)]
