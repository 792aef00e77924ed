/** The command line: options, dispatch, exit codes. Commands load lazily, so that `qc --help` is instant. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { VERSION } from "../version.gen.js";
import { batch, collect, positive, withModelOptions } from "./model-options.ts";
import { type CommonOptions, systemTerminal, type Terminal } from "./terminal.ts";

const steps = (text: string): number => {
  const n = Number(text);
  if (!/^[0-9]+$/.test(text) || n > 2 ** 24) throw new InvalidArgumentError("It must be a whole number.");
  return n;
};
const seconds = (text: string): number => {
  const n = Number(text);
  if (!/^[0-9]*[.]?[0-9]+$/.test(text) || n <= 0 || n > 3600)
    throw new InvalidArgumentError("It must be a number of seconds, at most 3600.");
  return n;
};
const target = () =>
  new Option(
    "-t, --target <target>",
    "what to compile for: baseline SIMD, relaxed SIMD, or both, chosen at load",
  )
    .choices(["wasm", "wasm-simd", "wasm-relaxed"])
    .default("wasm");
const inputs = () =>
  new Option(
    "-i, --input <name=file>",
    "an input tensor as .npy, or a .npz with inputs by name; rows of a batch run one by one (images: not yet)",
  ).argParser(collect);

/** Everything but the actions: `act` starts the command of a module by its exported name. */
function program(terminal: Terminal, finish: (code: number) => void): Command {
  const act =
    <A extends readonly unknown[]>(run: (...args: A) => Promise<number>) =>
    async (...args: A): Promise<void> =>
      finish(await run(...args));
  const root = new Command("qc")
    .description("Compiles fake-quantized ONNX models to exact integer WebAssembly.")
    .version(VERSION, "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 the model or an input is at fault, 2 wrong usage, 70 a bug in qc." +
        "\nEnvironment: NO_COLOR turns colours off.",
    );
  const command = (usage: string, summary: string): Command =>
    root
      .command(usage)
      .description(summary)
      .option("--json", "print one JSON object instead of text")
      .option("-q, --quiet", "print errors only")
      .option("--debug", "print a stack trace when qc itself fails");
  const modelCommand = (usage: string, summary: string): Command => withModelOptions(command(usage, summary));

  modelCommand("compile <model.onnx>", "compile a model to kernels, packed weights and a typed loader")
    .addOption(target())
    .option("-o, --output <folder>", "where to write", "dist")
    .option("--threads", "also make modules for several threads, on a shared memory")
    .option("--debug-tensors", "keep every quantizer's tensor, for qc verify")
    .option("--tuning <file>", "use the schedules that qc tune measured")
    .action(act(async (model, options) => (await import("./compile.ts")).compile(model, options, terminal)));

  modelCommand("inspect <model.onnx>", "what is integer, at which widths, at what cost, and what is proved")
    .addOption(target())
    .option("--write <lowered.onnx>", "write the recognized graph as a standard QDQ file")
    .action(act(async (model, options) => (await import("./inspect.ts")).inspect(model, options, terminal)));

  modelCommand(
    "run <artifact|model.onnx|x.qir> [data]",
    "run an artifact, or a model in the reference interpreter",
  )
    .addOption(inputs())
    .option("-o, --output <folder>", "write each output as .npy")
    .option("--raw", "integers in, integers out")
    .addOption(
      new Option("--backend <name>", "kernels of an artifact")
        .choices(["auto", "baseline", "relaxed"])
        .default("auto"),
    )
    .option("--threads <n>", "threads that compute, for an artifact made with --threads", positive)
    .action(
      act(async (path, data, options) => (await import("./run.ts")).run(path, data, options, terminal)),
    );

  modelCommand("verify <model.onnx>", "compare the artifact with the reference interpreter, bit for bit")
    .addOption(target())
    .option(
      "--inputs <data.npz>",
      "inputs by name; `expected`, where present, gives a histogram of differences",
    )
    .option("--samples <n>", "number of random inputs", positive, 10)
    .option("--seed <n>", "seed of the random inputs", positive, 1)
    .addOption(new Option("--against <peer>", "also compare with another runtime").choices(["onnxruntime"]))
    .action(act(async (model, options) => (await import("./verify.ts")).verify(model, options, terminal)));

  modelCommand(
    "compare <first> [second]",
    "two models or artifacts on the same inputs, tensor by tensor; the first to differ (grids are for the first)",
  )
    .option("--inputs <data.npz>", "inputs by name")
    .option("--samples <n>", "number of random inputs", positive, 10)
    .option("--seed <n>", "seed of the random inputs", positive, 1)
    .option("--tolerance <lsb>", "greatest difference that is no error", steps, 0)
    .addOption(
      new Option("--against <peer>", "run the second model, or the only one, there").choices(["onnxruntime"]),
    )
    .action(
      act(async (a, b, options) => (await import("./compare-command.ts")).compare(a, b, options, terminal)),
    );

  modelCommand(
    "bench <artifact|model.onnx>",
    "time one inference, also kernel by kernel or against another runtime",
  )
    .addOption(target())
    .option("--profile <trace.json>", "time every kernel and write a Chrome trace (needs the model)")
    .option("--seconds <n>", "how long to measure", seconds, 2)
    .option("--threads <n>", "also time that many threads", positive)
    .addOption(new Option("--against <peer>", "time another runtime in turn").choices(["onnxruntime-web"]))
    .action(act(async (path, options) => (await import("./bench.ts")).bench(path, options, terminal)));

  modelCommand(
    "tune <model.onnx>",
    "measure schedules of each kernel and write down the fastest, for qc compile --tuning",
  )
    .addOption(target())
    .requiredOption("-o, --output <file>", "the tuning file to write")
    .addOption(
      new Option("--engine <name>", "where to measure").choices(["node", "chromium"]).default("node"),
    )
    .option("--candidates <n>", "schedules to measure of each kernel", positive, 12)
    .option("--rounds <n>", "samples of each", positive, 21)
    .action(act(async (model, options) => (await import("./tune.ts")).tune(model, options, terminal)));

  command("opt <x.qir|model.onnx>", "run passes over a module: text in, text out")
    .option("-p, --passes <text>", 'passes in order, with their options: a,b{"option": 1}', "")
    .addOption(batch())
    .option("--elide", "print long constants as fingerprints")
    .action(act(async (path, options) => (await import("./opt.ts")).opt(path, options, terminal)));
  return root;
}

/** Runs a command line without the leading `node qc`; returns the exit code. Never throws. */
export async function main(argv: readonly string[], terminal: Terminal = systemTerminal()): Promise<number> {
  let code = 0;
  const root = program(terminal, (c) => {
    code = c;
  });
  try {
    if (argv.length === 0) {
      root.outputHelp({ error: true });
      return 2;
    }
    await root.parseAsync(argv as string[], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    terminal.err(bugText(error, argv.includes("--debug")));
    return 70;
  }
}

function bugText(error: unknown, debug: boolean): string {
  const message = error instanceof Error ? error.message : String(error);
  const stack = debug && error instanceof Error ? `\n${error.stack ?? ""}\n` : "";
  return `qc: internal error: ${message.slice(0, 2000)}
This is a bug in qc ${VERSION} (Node ${process.version}, ${process.platform} ${process.arch}), not in your model.
Please report it with the model, or a part of it that shows the error${debug ? "." : ", and the output of the same command with --debug."}
${stack}`;
}

export type { CommonOptions };
