"""The two networks that Deep Compression shows first (Han et al. 2016, arXiv:1510.00149, tables 2 and 3).

LeNet-300-100 and Caffe's LeNet-5: LeCun et al. 1998, Proceedings of the IEEE 86(11), wider than there.
"""

from collections import OrderedDict

from torch import nn

PIXELS = 28


def lenet_300_100() -> nn.Module:
    """Scores of 10 classes, [N, 10], for images [N, 1, 28, 28]: 266,200 weights in three layers."""
    return nn.Sequential(
        OrderedDict(
            flat=nn.Flatten(),
            fc1=nn.Linear(PIXELS**2, 300), relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100), relu2=nn.ReLU(),
            fc3=nn.Linear(100, 10),
        )
    )  # fmt: skip


def lenet_5() -> nn.Module:
    """The same, with two convolutions: 430,500 weights in four layers."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5), pool2=nn.MaxPool2d(2),
            flat=nn.Flatten(),
            fc1=nn.Linear(800, 500), relu1=nn.ReLU(),
            fc2=nn.Linear(500, 10),
        )
    )  # fmt: skip


NETWORKS = {"lenet-300-100": lenet_300_100, "lenet-5": lenet_5}
