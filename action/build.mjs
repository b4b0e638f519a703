// Bundles dist/main.js, dist/post.js and dist/receiver.js as CommonJS, which starts fastest.
// Writes the bundled packages' licences beside them and prints the sizes. Leaves out parts of the
// artifact and HTTP clients that the action never calls: reading and deleting artifacts, undici
// and CRC64. Refuses a package whose licence is not permissive.

import { build } from "esbuild";
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const dist = join(here, "dist");

const refuses = (what) => `() => { throw new Error(${JSON.stringify(`${what} is not part of this bundle`)}); }`;
const unused = {
  name: "unused",
  setup({ onLoad, onResolve }) {
    onLoad({ filter: /@actions[\\/]artifact[\\/]lib[\\/]internal[\\/](download|find|delete)[\\/]/ }, () => ({
      contents: ["download", "get", "list", "delete"]
        .flatMap((verb) => ["Artifact", "Artifacts"].flatMap((noun) => [`${verb}${noun}Public`, `${verb}${noun}Internal`]))
        .map((name) => `export const ${name} = ${refuses(name)};`)
        .join("\n"),
    }));
    onLoad({ filter: /@azure[\\/]storage-common[\\/].*[\\/]crc64\.js$/ }, () => ({ contents: `export default ${refuses("CRC64")};` }));
    onResolve({ filter: /^undici$/ }, () => ({ path: "undici", namespace: "unused" }));
    onLoad({ filter: /^undici$/, namespace: "unused" }, () => ({ contents: `export const ProxyAgent = ${refuses("undici")};` }));
  },
};

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
const { metafile } = await build({
  entryPoints: ["main", "post", "receiver"].map((name) => join(here, "src", `${name}.ts`)),
  outdir: dist,
  bundle: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  minify: true,
  keepNames: true,
  legalComments: "none",
  plugins: [unused],
  logLevel: "warning",
  metafile: true,
  absWorkingDir: here,
});
// The sources are ES modules; the bundles are CommonJS.
writeFileSync(join(dist, "package.json"), '{ "type": "commonjs" }\n');

// The bundle redistributes packages: only these licences are allowed, and their texts go with it.
const permissive = /^\(?(0BSD|Apache-2\.0|BSD-[23]-Clause|BlueOak-1\.0\.0|ISC|MIT)( AND (Apache-2\.0|BSD-3-Clause))?\)?$/;
const packages = new Map();
for (const [path, { bytesInOutput }] of Object.values(metafile.outputs).flatMap(({ inputs }) => Object.entries(inputs))) {
  const folder = path.match(/.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0] ?? "";
  packages.set(folder, (packages.get(folder) ?? 0) + bytesInOutput);
}
const notices = [...packages.keys()].filter((folder) => folder !== "").sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
  if (!permissive.test(license)) throw new Error(`${name} ${version} is under ${license}`);
  const texts = readdirSync(join(here, folder)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).map((file) => readFileSync(join(here, folder, file), "utf8"));
  return `${name} ${version}: ${license}\n\n${texts.join("\n")}`;
});
writeFileSync(join(dist, "LICENCES.txt"), notices.join(`\n${"-".repeat(80)}\n\n`));

let total = 0;
for (const name of ["main.js", "post.js", "receiver.js"]) {
  const { size } = statSync(join(dist, name));
  total += size;
  console.log(`action/dist/${name}: ${(size / 1e6).toFixed(3)} MB`);
}
console.log(`The bundle: ${(total / 1e6).toFixed(3)} MB (aim: below 1.5 MB)`);
if (process.argv.includes("--analyze")) console.table([...packages].sort((a, b) => b[1] - a[1]).slice(0, 25));
