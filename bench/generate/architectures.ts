/** The networks of the bench: published shapes, random weights. */
import { type Array32, array } from "./float-ops.ts";
import { type Activation, type Builder, type Network, network, type Value } from "./network.ts";
import { randomImage, randomOf } from "./random.ts";

const SIZE = 224;

/** Calibrated on one image like those the model will be given. */
function start(name: string, seed: number) {
  const random = randomOf(seed);
  const dims = [1, 3, SIZE, SIZE];
  return network(name, random, array(dims, randomImage(random, 3, SIZE)));
}

function classify(net: Builder, x: Value): Network {
  return net.finish(net.gemm(net.flatten(net.globalMean(x)), 1000));
}

function mobileNetV1(): Network {
  const { input, net } = start("mobilenet_v1_224", 1);
  const relu = { activation: "relu6" } as const;
  let x = net.conv(input, { outputs: 32, kernel: 3, stride: 2, ...relu });
  const blocks: readonly (readonly [outputs: number, stride: number])[] = [
    [64, 1],
    [128, 2],
    [128, 1],
    [256, 2],
    [256, 1],
    [512, 2],
    ...Array.from({ length: 5 }, () => [512, 1] as const),
    [1024, 2],
    [1024, 1],
  ];
  for (const [outputs, stride] of blocks) {
    const channels = x.sample.dims[1]!;
    x = net.conv(x, { outputs: channels, kernel: 3, stride, groups: channels, ...relu });
    x = net.conv(x, { outputs, kernel: 1, ...relu });
  }
  return classify(net, x);
}

function mobileNetV2(): Network {
  const { input, net } = start("mobilenet_v2_224", 2);
  const relu = { activation: "relu6" } as const;
  let x = net.conv(input, { outputs: 32, kernel: 3, stride: 2, ...relu });
  const groups: readonly (readonly [expand: number, outputs: number, repeat: number, stride: number])[] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ];
  for (const [expand, outputs, repeat, first] of groups)
    for (let i = 0; i < repeat; i++) {
      const stride = i === 0 ? first : 1;
      const wide = expand * x.sample.dims[1]!;
      let y = expand === 1 ? x : net.conv(x, { outputs: wide, kernel: 1, ...relu });
      y = net.conv(y, { outputs: wide, kernel: 3, stride, groups: wide, ...relu });
      y = net.conv(y, { outputs, kernel: 1 });
      x = i === 0 ? y : net.binary("Add", x, y);
    }
  return classify(net, net.conv(x, { outputs: 1280, kernel: 1, ...relu }));
}

function resNet(name: string, seed: number, repeats: readonly number[], bottleneck: boolean): Network {
  const { input, net } = start(name, seed);
  let x = net.conv(input, { outputs: 64, kernel: 7, stride: 2, activation: "relu" });
  x = net.maxPool(x, { kernel: 3, stride: 2, pad: 1, groups: 1 });
  const relu = { activation: "relu" as Activation };
  for (const [stage, repeat] of repeats.entries())
    for (let i = 0; i < repeat; i++) {
      const stride = i === 0 && stage > 0 ? 2 : 1;
      const width = 64 << stage;
      const outputs = bottleneck ? 4 * width : width;
      let y = x;
      if (bottleneck) {
        y = net.conv(y, { outputs: width, kernel: 1, ...relu });
        y = net.conv(y, { outputs: width, kernel: 3, stride, ...relu });
        y = net.conv(y, { outputs, kernel: 1, gain: 0.5 });
      } else {
        y = net.conv(y, { outputs: width, kernel: 3, stride, ...relu });
        y = net.conv(y, { outputs, kernel: 3, gain: 0.5 });
      }
      const shortcut = i === 0 && (stage > 0 || bottleneck) ? net.conv(x, { outputs, kernel: 1, stride }) : x;
      x = net.activate(net.binary("Add", y, shortcut), "relu");
    }
  return classify(net, x);
}

const scalar = (x: number): Array32 => array([], Float32Array.of(x));

/** Two encoder blocks of the shape of DeiT-Tiny, behind its patch embedding; no class token, the head sees the mean of the tokens. */
function vit(): Network {
  const { input, net } = start("vit_tiny_2_224", 5);
  const [width, heads, tokens] = [192, 3, 196];
  const each = width / heads;
  const patches = net.conv(input, { outputs: width, kernel: 16, stride: 16, pad: 0 });
  let x = net.transpose(net.reshape(patches, [1, width, tokens]), [0, 2, 1]);
  const positions = Float32Array.from({ length: tokens * width }, () => 0.4 * net.random.normal());
  x = net.binary("Add", x, array([1, tokens, width], positions));
  for (let block = 0; block < 2; block++) {
    const normal = net.layerNorm(x);
    const split = (perm: readonly number[], gain: number): Value =>
      net.transpose(net.reshape(net.linear(normal, width, gain), [1, tokens, heads, each]), perm);
    const query = split([0, 2, 1, 3], 1.4);
    const key = split([0, 2, 3, 1], 1.4);
    const values = split([0, 2, 1, 3], 1);
    const scores = net.binary("Mul", net.matMul(query, key), scalar(1 / Math.sqrt(each)));
    const mixed = net.matMul(net.softmax(scores), values);
    const joined = net.reshape(net.transpose(mixed, [0, 2, 1, 3]), [1, tokens, width]);
    x = net.binary("Add", x, net.linear(joined, width));
    const hidden = net.linear(net.layerNorm(x), 4 * width);
    const half = net.binary("Add", net.erf(net.binary("Div", hidden, scalar(Math.SQRT2))), scalar(1));
    const gelu = net.binary("Mul", net.binary("Mul", hidden, half), scalar(0.5));
    x = net.binary("Add", x, net.linear(gelu, width));
  }
  return net.finish(net.gemm(net.reduceMean(net.layerNorm(x)), 1000));
}

/** By name, in the order of the tables. */
export const architectures: ReadonlyMap<string, () => Network> = new Map([
  ["mobilenet_v1_224", mobileNetV1],
  ["mobilenet_v2_224", mobileNetV2],
  ["resnet18_224", () => resNet("resnet18_224", 3, [2, 2, 2, 2], false)],
  ["resnet50_224", () => resNet("resnet50_224", 4, [3, 4, 6, 3], true)],
  ["vit_tiny_2_224", vit],
]);
