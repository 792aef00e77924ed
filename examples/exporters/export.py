"""
One small file per exporter and option, with generator versions: `python export.py` rewrites `models/` and `versions.json`.
Needs torch, onnx, onnxruntime, onnxscript and transformers. What qc makes of each file is in `outcomes.json`, which `npm test` checks.
"""

import json
import pathlib
import platform
import re
import warnings

import networks as net
import numpy as np
import onnx
import onnxruntime as ort
import onnxscript
import torch
import transformers
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

OUT = pathlib.Path(__file__).parent / "models"
SCRATCH = OUT / "float"
TOKENS = (1, 6, 16)


def seeded(make):
    torch.manual_seed(7)
    return make().eval()


def torchscript(name: str, model: torch.nn.Module, shape=net.IMAGE, opset: int = 17, folder=OUT) -> pathlib.Path:
    path = folder / f"{name}.onnx"
    torch.onnx.export(
        model, (torch.randn(shape),), path, opset_version=opset, dynamo=False, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
    )
    return path


def dynamo(name: str, model: torch.nn.Module, shape=net.IMAGE, opset: int = 20, external: bool = False) -> None:
    path = OUT / f"{name}.onnx"
    torch.onnx.export(
        model, (torch.randn(shape),), path, opset_version=opset, dynamo=True,
        external_data=external, input_names=["x"], output_names=["y"], verbose=False,
    )
    relative_traces(path)


def relative_traces(path: pathlib.Path) -> None:
    """The exporter notes where in the source each node comes from: file names without their folders."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for entry in node.metadata_props:
            entry.value = re.sub(r'File "[^"]*/', 'File "', entry.value)
    onnx.save(model, path)


class Samples(CalibrationDataReader):
    def __init__(self, shape) -> None:
        rng = np.random.default_rng(7)
        self.rows = iter([{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(16)])

    def get_next(self):
        return next(self.rows, None)


def static(name: str, source: pathlib.Path, shape=net.IMAGE, **options) -> None:
    quantize_static(source, OUT / f"{name}.onnx", Samples(shape), **options)


def preprocessed(name: str, model: torch.nn.Module, shape=net.IMAGE, opset: int = 17) -> pathlib.Path:
    source = torchscript(f"{name}.raw", model, shape, opset, SCRATCH)
    target = SCRATCH / f"{name}.onnx"
    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    return target


def from_torch() -> None:
    torchscript("torchscript_qat_u8", net.qat(seeded(net.Residual)))
    torchscript("torchscript_qat_reduced_range", net.qat(seeded(net.Residual), (0, 127)))
    torchscript("torchscript_bare", seeded(net.Bare))
    dynamo("dynamo_bare", seeded(net.Bare))
    dynamo("dynamo_bare_external", seeded(net.Bare), external=True)
    dynamo("dynamo_bare_opset23", seeded(net.Bare), opset=23)
    for bits in (4, 8):
        for residue in (False, True):
            tail = f"lsq_w{bits}a{bits}{'_residue' if residue else ''}"
            torchscript(f"torchscript_{tail}", seeded(lambda: net.Learned(bits, residue)))
            dynamo(f"dynamo_{tail}", seeded(lambda: net.Learned(bits, residue)))
    torchscript("torchscript_bitlinear", seeded(net.BitLinear), (1, 16))
    dynamo("dynamo_bitlinear", seeded(net.BitLinear), (1, 16))


def from_transformers() -> None:
    with torch.compiler.set_stance("force_eager"):
        dynamo("transformers_bitnet_packed", seeded(lambda: net.BitNet(packed=True)), (1, 6, 32))
        dynamo("transformers_bitnet_online", seeded(lambda: net.BitNet(packed=False)), (1, 6, 32))


def in_blocks(name: str, source: pathlib.Path, folder=OUT, **options) -> pathlib.Path:
    path = folder / f"{name}.onnx"
    q = MatMulNBitsQuantizer(onnx.load(source), block_size=16, **options)
    q.process()
    q.model.save_model_to_file(str(path))
    return path


def from_onnxruntime() -> None:
    residual = preprocessed("residual", seeded(net.Residual))
    curves = preprocessed("curves", seeded(net.Activations))
    block = preprocessed("block", seeded(net.Transformer), TOKENS)
    u8, s8, u16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QUInt16
    for name, source, shape in (("residual", residual, net.IMAGE), ("curves", curves, net.IMAGE), ("block", block, TOKENS)):
        static(f"ort_{name}_s8s8", source, shape)
        static(f"ort_{name}_u8s8_per_channel", source, shape, activation_type=u8, weight_type=s8, per_channel=True)
        static(f"ort_{name}_qoperator", source, shape, quant_format=QuantFormat.QOperator, activation_type=u8, weight_type=s8)
        quantize_dynamic(source, OUT / f"ort_{name}_dynamic.onnx", weight_type=s8)
    static("ort_residual_symmetric", residual, extra_options={"ActivationSymmetric": True})
    static("ort_residual_dedicated", residual, extra_options={"DedicatedQDQPair": True})
    static("ort_residual_float_bias", residual, extra_options={"QuantizeBias": False})
    static("ort_residual_weight_pair", residual, extra_options={"AddQDQPairToWeight": True})
    static("ort_residual_a16w8", residual, activation_type=u16, weight_type=s8)
    static("ort_residual_w4", residual, activation_type=u8, weight_type=QuantType.QInt4)
    opset21 = preprocessed("residual21", seeded(net.Residual), opset=20)
    upgraded = SCRATCH / "residual_opset21.onnx"
    onnx.save(onnx.version_converter.convert_version(onnx.load(opset21), 21), upgraded)
    static("ort_residual_w4_opset21", upgraded, activation_type=u8, weight_type=QuantType.QInt4)
    for bits in (2, 4, 8):
        in_blocks(f"ort_block_matmul_{bits}bits", block, bits=bits, is_symmetric=False)
    qdq = in_blocks("ort_block_matmul_4bits_qdq", block, bits=4, is_symmetric=True, quant_format=QuantFormat.QDQ)
    static("ort_block_matmul_4bits_static", qdq, TOKENS)
    lopsided = in_blocks("block_lopsided", block, SCRATCH, bits=4, is_symmetric=False, quant_format=QuantFormat.QDQ)
    static("ort_block_matmul_4bits_static_asymmetric", lopsided, TOKENS)


def main() -> None:
    warnings.filterwarnings("ignore")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    from_torch()
    from_transformers()
    from_onnxruntime()
    for path in SCRATCH.iterdir():
        path.unlink()
    SCRATCH.rmdir()
    versions = {
        "python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__,
        "onnxruntime": ort.__version__, "onnxscript": onnxscript.__version__,
        "transformers": transformers.__version__,
    }
    (OUT.parent / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
