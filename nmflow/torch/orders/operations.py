"""What operations of a graph do with channels."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

ELEMENTWISE_MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softsign),
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
)
"""Let every order through."""

POOLING_MODULES = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
)
"""Let orders of channels, axis 1, through."""

_ELEMENTWISE = {
    *(operator.add, operator.mul, operator.sub, operator.truediv, operator.neg),
    *(operator.iadd, operator.imul, operator.isub),
    *(torch.add, torch.mul, torch.sub, torch.div, torch.relu, torch.sigmoid, torch.tanh),
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu),
    *(functional.silu, functional.mish, functional.sigmoid, functional.tanh, functional.softplus),
    *(functional.hardswish, functional.hardsigmoid, functional.hardtanh, functional.selu),
    *(functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d),
    *(torch.clamp, torch.clone),
}
ELEMENTWISE_METHODS = {
    *("add", "add_", "mul", "mul_", "sub", "sub_", "div", "div_", "relu", "relu_", "sigmoid"),
    *("tanh", "clamp", "clamp_", "contiguous", "clone", "detach", "float", "double"),
}
"""Methods that let every order through, of tensors of which all have it."""

_POOLING = {
    *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d),
    *(functional.adaptive_avg_pool3d, functional.avg_pool1d, functional.avg_pool2d),
    *(functional.avg_pool3d, functional.max_pool1d, functional.max_pool2d, functional.max_pool3d),
    functional.interpolate,
}
FLATTENING = {"flatten", "view", "reshape", torch.flatten, torch.reshape}
"""Change the shape."""

MEANS = {"mean", torch.mean}
"""Take means over some axes."""

SHAPES = {"size", "dim", getattr}
"""Tell of a tensor, and give none."""


def is_elementwise(function: Any) -> bool:
    """Whether a function lets every order through, of tensors of which all have it."""
    return function in _ELEMENTWISE


def is_pooling(function: Any) -> bool:
    """Whether a function lets orders of channels, axis 1, through."""
    return function in _POOLING
