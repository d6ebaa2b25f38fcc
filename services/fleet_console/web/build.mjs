/** Bundles the console: `node build.mjs FOLDER` writes the files of the page into FOLDER.
 *
 * `make console` copies this folder into build/console, installs the packages there and runs it.
 */

import { createHash } from "node:crypto";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { build } from "esbuild";

const BUNDLED = ["preact", "uplot"];
const [, , folder] = process.argv;

await build({
  entryPoints: { app: "src/main.tsx" },
  outdir: folder,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "utf8",
});
for (const name of ["index.html", "icon.svg"]) await copyFile(name, join(folder, name));

const licenses = [];
for (const name of BUNDLED) {
  const { version, license } = JSON.parse(await readFile(join("node_modules", name, "package.json"), "utf8"));
  const text = await readFile(join("node_modules", name, "LICENSE"), "utf8");
  licenses.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
}
await writeFile(join(folder, "licenses.txt"), licenses.join("\n\n"));

// The digest of the sources, by which a test notices a bundle that is not theirs.
const digest = createHash("sha256");
const sources = (await readdir("src", { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => relative(".", join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
for (const name of [...sources, "build.mjs", "icon.svg", "index.html", "package.json", "tsconfig.json"].sort()) {
  digest.update(`${name}\n`);
  digest.update(await readFile(name));
}
await writeFile(join(folder, "sources.sha256"), `${digest.digest("hex")}\n`);
