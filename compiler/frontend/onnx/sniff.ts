/** What a file is when it is no ONNX model, from its first bytes: people pass the neighbouring file, or half a download. */

interface Kind {
  readonly name: string;
  readonly fix?: string;
}

const EXPORT = "export the model to ONNX first, for example with torch.onnx.export or tf2onnx";
const SIGNATURES: readonly (Kind & { readonly at: number; readonly bytes: string })[] = [
  {
    at: 0,
    bytes: "PK\x03\x04",
    name: "a ZIP archive (a PyTorch, Keras or NumPy file, or a packed model)",
    fix: EXPORT,
  },
  { at: 0, bytes: "\x89PNG", name: "a PNG image" },
  { at: 0, bytes: "\xff\xd8\xff", name: "a JPEG image" },
  { at: 0, bytes: "%PDF", name: "a PDF document" },
  { at: 0, bytes: "\x1f\x8b", name: "a gzip archive", fix: "unpack it first" },
  { at: 0, bytes: "\x89HDF", name: "an HDF5 file (Keras)", fix: EXPORT },
  { at: 0, bytes: "\x93NUMPY", name: "a NumPy array" },
  { at: 0, bytes: "GGUF", name: "a GGUF model", fix: EXPORT },
  { at: 0, bytes: "\0asm", name: "a WebAssembly module" },
  { at: 0, bytes: "\x7fELF", name: "an ELF binary" },
  { at: 4, bytes: "TFL3", name: "a TensorFlow Lite model", fix: "convert it with tf2onnx --tflite" },
  { at: 4, bytes: "ORTM", name: "an ORT-format model", fix: "pass the ONNX model that it was made from" },
  {
    at: 0,
    bytes: "version https://git-lfs",
    name: "a Git LFS pointer",
    fix: "fetch the model itself: git lfs pull",
  },
  { at: 0, bytes: "\x80\x02", name: "a Python pickle", fix: EXPORT },
  { at: 0, bytes: "\x80\x03", name: "a Python pickle", fix: EXPORT },
  { at: 0, bytes: "\x80\x04", name: "a Python pickle", fix: EXPORT },
  { at: 0, bytes: "\x80\x05", name: "a Python pickle", fix: EXPORT },
];

/** Undefined when nothing is recognised. */
export function sniff(bytes: Uint8Array): Kind | undefined {
  const head = Array.from(bytes.subarray(0, 64), (byte) => String.fromCharCode(byte)).join("");
  for (const { at, bytes: signature, ...kind } of SIGNATURES) if (head.startsWith(signature, at)) return kind;
  if (head.slice(8, 9) === "{" && head.slice(4, 8) === "\0\0\0\0")
    return { name: "a safetensors file", fix: EXPORT };
  const text = head.replace(/^\xef\xbb\xbf/, "").trimStart();
  if (/^[{[]/.test(text) && printable(head)) return { name: "JSON" };
  if (/^<(!doctype|html|\?xml)/i.test(text))
    return {
      name: "an HTML or XML page",
      fix: "a download may have returned an error page: fetch the file again",
    };
  if (text !== "" && printable(head)) return { name: "text" };
  return undefined;
}

const printable = (text: string): boolean => /^[\t\n\r\x20-\x7e]*$/.test(text);
