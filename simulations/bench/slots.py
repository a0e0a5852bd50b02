"""The slot in which contributions leave, set as an operator sets it: in every node's settings, and the nodes started again."""

import re
from collections.abc import Callable

from simulations.processes import run
from simulations.town import Town


def set_slot(town: Town, slot_ms: int, tell: Callable[[str], None]) -> None:
    tell(f"the nodes' slot becomes {slot_ms} ms")
    for name in town.hospitals:
        town.services.running[f"node/{name}"].stop()
        config = town.node(name) / "config.toml"
        config.write_text(re.sub(r"(?m)^slot_ms = .*$", f"slot_ms = {slot_ms}", config.read_text()))
        run("kapok-node", "resume", "--home", town.node(name))
    town.start_nodes(town.hospitals)
    town.await_hospitals(lambda each: each["connected"])
