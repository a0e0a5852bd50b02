"""A small network over a table's columns. All that a researcher writes."""

from torch import nn

from hospital_node.learning.client_app import client_app
from hospital_node.learning.torch_study import TorchStudy


class HeartRisk(TorchStudy):
    """One hidden layer; LayerNorm, since BatchNorm would mix patients and is refused."""

    def model(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 1))


app = client_app(HeartRisk)
"""What the hospitals' nodes run, and `kapok-sim learn` or any Flower simulation before them."""
