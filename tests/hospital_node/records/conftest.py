from pathlib import Path

import pytest

from tests.hospital_node.records.resources import Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)
