"""Small networks, each with the arithmetic that one way of training with quantizers leaves in a graph."""

import torch
from torch import nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, QConfig, default_per_channel_weight_observer
from torch.ao.quantization.quantize_fx import prepare_qat_fx

IMAGE = (1, 3, 12, 12)


class Residual(nn.Module):
    """Convolution, batch norm, residual sum, pooling, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.body(x) + x)
        return self.head(x.mean((2, 3)))


class Activations(nn.Module):
    """Depthwise and pointwise convolutions with the curves that mobile networks use."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.pointwise = nn.Conv2d(8, 12, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.hardswish(self.first(x))
        x = nn.functional.silu(self.depthwise(x))
        x = nn.functional.gelu(self.pointwise(x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)).softmax(-1)


class Transformer(nn.Module):
    """One pre-norm block over six tokens."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
        x = x + self.project((a @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.norms[1](x))


def qat(model: nn.Module, bits: tuple[int, int] = (0, 255)) -> nn.Module:
    """PyTorch's FX quantization-aware training after a few steps; `bits`: bounds of the activations' integers."""
    activation = FakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver, quant_min=bits[0], quant_max=bits[1], dtype=torch.quint8
    )
    weight = FakeQuantize.with_args(
        observer=default_per_channel_weight_observer.p.func,
        quant_min=-128,
        quant_max=127,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
    )
    mapping = torch.ao.quantization.QConfigMapping().set_global(QConfig(activation, weight))
    prepared = prepare_qat_fx(model.train(), mapping, (torch.zeros(IMAGE),))
    for _ in range(8):
        prepared(torch.randn(4, *IMAGE[1:]))
    prepared.apply(torch.ao.quantization.disable_observer)
    return prepared.eval()


def fake_quantize(x: torch.Tensor, scale: float, zero: int, lo: int, hi: int) -> torch.Tensor:
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, lo, hi)


class Bare(nn.Module):
    """`torch.fake_quantize_*` called by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 5)

    def weight(self, w: torch.Tensor) -> torch.Tensor:
        scale = w.detach().flatten(1).abs().amax(1) / 127
        return torch.fake_quantize_per_channel_affine(
            w, scale, torch.zeros(w.shape[0], dtype=torch.int32), 0, -128, 127
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = fake_quantize(x, 0.03, 128, 0, 255)
        x = torch.relu(nn.functional.conv2d(x, self.weight(self.conv.weight), self.conv.bias, 2, 1))
        x = fake_quantize(x, 0.02, 0, 0, 255)
        x = fake_quantize(x.mean((2, 3)), 0.01, 0, 0, 255)
        return fake_quantize(nn.functional.linear(x, self.weight(self.head.weight), self.head.bias), 0.02, 128, 0, 255)


class Learned(nn.Module):
    """Learned step sizes (LSQ): division, clip, round, product. `residue`: the straight-through estimator stays in the graph."""

    def __init__(self, bits: int, residue: bool) -> None:
        super().__init__()
        self.bits, self.residue = bits, residue
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 5)
        self.steps = nn.ParameterList(nn.Parameter(torch.tensor(s)) for s in (0.53, 0.31, 0.23))
        self.channel = nn.Parameter(self.conv.weight.detach().flatten(1).abs().amax(1) / (2 ** (bits - 1) - 1))

    def quantize(self, x: torch.Tensor, step: torch.Tensor, lo: int, hi: int) -> torch.Tensor:
        c = (x / step).clamp(lo, hi)
        q = c.round()
        return ((q - c) + c if self.residue else q) * step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = 2 ** (self.bits - 1)
        x = self.quantize(x, self.steps[0], -n, n - 1)
        w = self.quantize(self.conv.weight, self.channel.view(-1, 1, 1, 1), 1 - n, n - 1)
        x = torch.relu(nn.functional.conv2d(x, w, self.conv.bias, 2, 1))
        x = self.quantize(x, self.steps[1], 0, 2 * n - 1)
        x = self.quantize(x.mean((2, 3)), self.steps[2] / 4, 0, 2 * n - 1)
        return nn.functional.linear(x, self.quantize(self.head.weight, self.steps[2] / 8, 1 - n, n - 1), self.head.bias)


class BitLinear(nn.Module):
    """Ternary weights by their mean magnitude, activations by the greatest magnitude of each row (BitNet b1.58)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList((nn.Linear(16, 24, bias=False), nn.Linear(24, 8, bias=False)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
            x = (x * scale).round().clamp(-128, 127) / scale
            mean = layer.weight.abs().mean().clamp(min=1e-5)
            x = torch.relu(nn.functional.linear(x, (layer.weight / mean).round().clamp(-1, 1) * mean))
        return x


class RmsNorm(nn.Module):
    """As in Llama and BitNet."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + 1e-6))


class BitNet(nn.Module):
    """
    A feed-forward block of BitNet b1.58 2B4T, of the layers that transformers puts in: ternary weights, packed four to a byte
    or made from floats, and rows of activations as bytes.
    """

    def __init__(self, packed: bool) -> None:
        super().__init__()
        from transformers.integrations.bitnet import AutoBitLinear, BitLinear, pack_weights

        def layer(inputs: int, outputs: int) -> nn.Module:
            if packed:
                made = BitLinear(inputs, outputs, bias=False, dtype=torch.float32)
                made.weight = pack_weights(torch.randint(-1, 2, (outputs, inputs)).float())
                made.weight_scale = torch.tensor([3.7])
            else:
                made = AutoBitLinear(inputs, outputs, bias=False, dtype=torch.float32, online_quant=True)
            made.rms_norm = RmsNorm(inputs)
            return made

        self.up = layer(32, 64)
        self.down = layer(64, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)) ** 2)
