"""Train fashion.onnx: a quantization-aware CNN for Fashion-MNIST.

The ordinary torch.ao FX flow: float training, `prepare_qat_fx`, a few epochs
with fake quantizers, then the TorchScript ONNX exporter at opset 13. Nothing in
the exported file is edited, so it is what a PyTorch user really hands to qc.

    python3 train.py [--data DIR] [--out DIR] [--epochs N] [--qat-epochs N] [--seed N]

Writes into --out (default: this folder)
    fashion.onnx   input  float32[batch, 1, 28, 28], pixel / 255
                   logits float32[batch, 10], on the grid of the last quantizer
    samples.npz    x uint8[1000, 28, 28], y uint8[1000]: the first test images;
                   logits float32[1000, 10]: PyTorch's fake-quant logits;
                   scale float32[], zero_point uint8[]: the quantizer of `logits`
"""

import argparse
import copy
import gzip
import platform
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn
from torch.ao.nn.intrinsic.qat import freeze_bn_stats
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    QConfig,
    QConfigMapping,
    disable_observer,
)
from torch.ao.quantization.quantize_fx import prepare_qat_fx
from torch.nn import functional as F

BATCH = 128
SAMPLES = 1000


class ConvBnRelu(nn.Sequential):
    def __init__(self, cin, cout, kernel, stride=1, groups=1):
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(cout),
            nn.ReLU(),
        )


class Separable(nn.Sequential):
    """Depthwise 3x3, then pointwise 1x1, each with batch norm and ReLU."""

    def __init__(self, cin, cout, stride=1):
        super().__init__(ConvBnRelu(cin, cin, 3, stride, groups=cin), ConvBnRelu(cin, cout, 1))


class Residual(nn.Module):
    """relu(x + bn(conv3x3(x))). The add gets a quantizer of its own."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(x + self.bn(self.conv(x)))


class FashionNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            ConvBnRelu(1, 16, 3),  # 28 x 28
            Separable(16, 32, stride=2),  # 14 x 14
            Separable(32, 64, stride=2),  # 7 x 7
            Residual(64),
            Separable(64, 128),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(128, 10)

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


# FakeQuantize and not the default FusedMovingAvgObsFakeQuantize, which no ONNX exporter accepts.
QCONFIG = QConfig(
    activation=FakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver,
        quant_min=0,
        quant_max=255,
        dtype=torch.quint8,
        qscheme=torch.per_tensor_affine,
        reduce_range=False,
    ),
    weight=FakeQuantize.with_args(
        observer=MovingAveragePerChannelMinMaxObserver,
        quant_min=-128,
        quant_max=127,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
        reduce_range=False,
        ch_axis=0,
    ),
)


def read_idx(path):
    """Array of an IDX file of unsigned bytes (gzip)."""
    raw = gzip.decompress(path.read_bytes())
    assert raw[:3] == b"\0\0\x08", f"{path}: not an IDX file of unsigned bytes"
    shape = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def read_dataset(folder):
    def pair(name):
        return (
            read_idx(folder / f"{name}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{name}-labels-idx1-ubyte.gz"),
        )

    return pair("train"), pair("t10k")


def to_input(images):
    """uint8[n, 28, 28] -> float32[n, 1, 28, 28], pixel / 255."""
    return torch.from_numpy(images.astype(np.float32) / np.float32(255)).unsqueeze(1)


def augment(x):
    """Random horizontal flip and shift by up to two pixels, per image."""
    n = x.shape[0]
    x = torch.where((torch.rand(n, 1, 1, 1) < 0.5), x.flip(3), x)
    padded = F.pad(x, (2, 2, 2, 2))[:, 0]
    rows = torch.randint(0, 5, (n, 1)) + torch.arange(28)
    cols = torch.randint(0, 5, (n, 1)) + torch.arange(28)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], cols[:, None, :]].unsqueeze(1)


def fit(model, x, y, epochs, peak_lr, label, before_epoch=lambda epoch: None):
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=1e-2)
    steps = (len(x) + BATCH - 1) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_lr, epochs * steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        before_epoch(epoch)
        start, total = time.time(), 0.0
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(augment(x[batch])), y[batch], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"{label} epoch {epoch + 1}/{epochs}: loss {total / len(x):.4f}, {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def logits_of(model, x):
    model.eval()
    return torch.cat([model(batch) for batch in x.split(500)]).numpy()


def train(x, y, epochs, qat_epochs):
    """The float model and its quantization-aware successor, both in eval mode."""
    model = FashionNet()
    fit(model, x, y, epochs, 4e-3, "float")
    float_model = copy.deepcopy(model).eval()

    qat = prepare_qat_fx(model.train(), QConfigMapping().set_global(QCONFIG), (x[:1],))

    def before_epoch(epoch):
        # In the last epoch scales and batch statistics stand still and only weights move.
        if epoch == qat_epochs - 1:
            qat.apply(disable_observer)
            qat.apply(freeze_bn_stats)

    fit(qat, x, y, qat_epochs, 5e-4, "quantized", before_epoch)
    qat.apply(disable_observer)
    return float_model, qat.eval()


def export(model, path):
    for module in model.modules():
        if isinstance(module, FakeQuantize) and not module.is_per_channel:
            # Scalars instead of the one-element vectors torch keeps: both are per-tensor parameters in ONNX,
            # but onnxruntime 1.30 fails on a file with the latter as soon as it fuses an Add between quantizers.
            module.scale, module.zero_point = module.scale.reshape(()), module.zero_point.reshape(())
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 28, 28),),
        str(path),
        dynamo=False,
        opset_version=13,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def output_quantizer(path):
    """(scale, zero point) of the QuantizeLinear that makes `logits`."""
    graph = onnx.load(path).graph
    maker = {name: node for node in graph.node for name in node.output}
    values = {init.name: onnx.numpy_helper.to_array(init) for init in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    dequantize = maker["logits"]
    assert dequantize.op_type == "DequantizeLinear", "logits have no quantizer"
    scale, zero_point = (values[name].reshape(()) for name in dequantize.input[1:])
    return scale, zero_point


def onnx_logits(path, x):
    """The exported graph in onnxruntime, with graph optimizations disabled."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"input": batch.numpy()})[0] for batch in x.split(500)])


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--qat-epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.qat_epochs < 2:
        parser.error("--qat-epochs must be at least 2: the last epoch runs with frozen observers")

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    torch.use_deterministic_algorithms(True)
    (train_images, train_labels), (test_images, test_labels) = read_dataset(args.data)
    train_x, test_x = to_input(train_images), to_input(test_images)
    start = time.time()
    float_model, model = train(train_x, torch.from_numpy(train_labels.astype(np.int64)), args.epochs, args.qat_epochs)
    seconds = time.time() - start

    onnx_path, samples_path = args.out / "fashion.onnx", args.out / "samples.npz"
    export(model, onnx_path)
    scale, zero_point = output_quantizer(onnx_path)
    torch_logits, ort_logits = logits_of(model, test_x), onnx_logits(onnx_path, test_x)
    np.savez_compressed(
        samples_path,
        x=test_images[:SAMPLES],
        y=test_labels[:SAMPLES],
        logits=torch_logits[:SAMPLES],
        scale=scale,
        zero_point=zero_point,
    )

    def accuracy(logits, n=None):
        return f"{100 * np.mean(logits[:n].argmax(1) == test_labels[:n]):.2f} %"

    steps = np.abs(np.rint(torch_logits / scale) - np.rint(ort_logits / scale)).astype(int)
    print(f"versions                          Python {platform.python_version()}, torch {torch.__version__}, "
          f"onnx {onnx.__version__}, onnxruntime {ort.__version__}, numpy {np.__version__}")
    print(f"seed, epochs, training time       {args.seed}, {args.epochs} + {args.qat_epochs}, {seconds:.0f} s")
    print(f"parameters                        {sum(p.numel() for p in float_model.parameters())}")
    print(f"float, PyTorch                    {accuracy(logits_of(float_model, test_x))} of {len(test_x)} test images")
    print(f"fake-quant, PyTorch               {accuracy(torch_logits)}, first {SAMPLES}: {accuracy(torch_logits, SAMPLES)}")
    print(f"fake-quant, onnxruntime           {accuracy(ort_logits)}, first {SAMPLES}: {accuracy(ort_logits, SAMPLES)}")
    print(f"top-1 equal, torch = onnxruntime  {100 * np.mean(torch_logits.argmax(1) == ort_logits.argmax(1)):.2f} %")
    print("logit difference in quanta        "
          + ", ".join(f"{k}: {n}" for k, n in enumerate(np.bincount(steps.ravel())) if n))
    print(f"quantizer of the logits           scale {scale!s}, zero point {zero_point!s}")
    print(f"bytes                             fashion.onnx {onnx_path.stat().st_size}, samples.npz {samples_path.stat().st_size}")


if __name__ == "__main__":
    main()
