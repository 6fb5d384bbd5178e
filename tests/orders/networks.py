"""Small networks whose orders are searched, with weights of all sizes."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402


def at_random(model, seed=0, dtype=None):
    """The model in evaluation mode with parameters and statistics none of which is special."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator)
        parameter.data = 0.3 * values * torch.rand(parameter.shape, generator=generator)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model.eval().to(dtype or torch.float32)


def mlp(dtype=None):
    layers = [nn.Linear(16, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 24), nn.GELU()]
    return at_random(nn.Sequential(*layers, nn.Linear(24, 16)), dtype=dtype)


class Residual(nn.Module):
    """As in ResNets: two convolutions, their norms, and a way around them."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, images):
        inner = functional.relu(self.bn1(self.conv1(images)))
        return functional.relu(images + self.bn2(self.conv2(inner)))


class Squeezed(nn.Module):
    """As in EfficientNets: a depthwise convolution, and a gate by squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.reduce = nn.Conv2d(2 * channels, channels // 2, 1)
        self.excite = nn.Conv2d(channels // 2, 2 * channels, 1)
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, images):
        inner = functional.silu(self.norm(self.depthwise(self.expand(images))))
        gate = self.excite(functional.silu(self.reduce(functional.adaptive_avg_pool2d(inner, 1))))
        return images + self.project(inner * gate.sigmoid())


class ConvolutionalNet(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(Residual(channels), Squeezed(channels))
        self.head = nn.Linear(channels, 5)

    def forward(self, images):
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))


def convolutional(dtype=None):
    return at_random(ConvolutionalNet(), dtype=dtype)


def images(dtype=torch.float32, seed=0):
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_as_it_was(model, before):
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
