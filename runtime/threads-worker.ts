/**
 * What a worker of a threaded model executes: a classic script, without imports, that runs in browsers and in Node. It answers
 * once, with "" or with what went wrong, and then stays inside WebAssembly until the model is disposed.
 */
export const WORKER = `const port = globalThis.process?.getBuiltinModule?.("node:worker_threads").parentPort ?? self;
port.onmessage = ({ data: { module, memory, thread, threads } }) => {
  let instance;
  try {
    instance = new WebAssembly.Instance(module, { env: { memory } });
  } catch (error) {
    port.postMessage(String(error));
    return;
  }
  port.postMessage("");
  instance.exports.loop(thread, threads);
  port.close();
};
`;
