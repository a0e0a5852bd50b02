"""The slot in which contributions leave, set as an operator sets it: in every node's settings, and the nodes started again."""

import re
from collections.abc import Callable

from simulations.processes import run
from simulations.town import Town


def set_slot(town: Town, slot_ms: int, tell: Callable[[str], None], **shorter_ms: int) -> None:
    """`shorter_ms` are the slots of a training's steps and of prepared months, which else have the slot of a count."""
    wanted = {"slot_ms": slot_ms, **shorter_ms}
    tell(f"the nodes' slot becomes {' and '.join(f'{each} ms' for each in wanted.values())}")
    for name in town.hospitals:
        town.services.running[f"node/{name}"].stop()
        config = town.node(name) / "config.toml"
        kept = re.sub(r"(?m)^(training_|prepared_)?slot_ms = .*\n", "", config.read_text())
        config.write_text(kept + "".join(f"{name} = {each}\n" for name, each in wanted.items()))
        run("kapok-node", "resume", "--home", town.node(name))
    town.start_nodes(town.hospitals)
    town.await_hospitals(lambda each: each["connected"])
