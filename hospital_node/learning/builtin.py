"""The studies of torch models that come with the node, as Flower ClientApps: the node and a simulation run these very objects."""

from torch import nn

from hospital_node.learning.client_app import client_app
from hospital_node.learning.torch_study import TorchStudy


class TorchLogistic(TorchStudy):
    """A weight a column, then an intercept."""

    def model(self, features: int) -> nn.Module:
        return nn.Linear(features, 1)


class Mlp(TorchStudy):
    """Two hidden layers of 32, smooth, so that clipped gradients tell something from the first step."""

    def model(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


torch_logistic, mlp = client_app(TorchLogistic), client_app(Mlp)
