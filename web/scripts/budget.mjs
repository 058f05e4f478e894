// Prints how large each view is (gzip) and fails when one is over its budget.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const KB = 1000;
const BUDGET = { shell: 150, view: 40, css: 20 };
const dist = new URL("../dist/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist)));
const size = (file) => gzipSync(readFileSync(new URL(file, dist))).length / KB;

/** The files of a chunk and of all it imports statically. */
function files(key, seen = new Set()) {
  if (!seen.has(key)) {
    seen.add(key);
    for (const next of manifest[key].imports ?? []) files(next, seen);
  }
  return seen;
}
const sum = (keys, of) => [...keys].flatMap((key) => of(manifest[key])).reduce((total, file) => total + size(file), 0);
const scripts = (chunk) => [chunk.file].filter((file) => file.endsWith(".js"));

const shell = files("index.html");
const rows = [["shell + overview", sum(shell, scripts), BUDGET.shell]];
for (const view of manifest["index.html"].dynamicImports ?? []) {
  const own = [...files(view)].filter((key) => !shell.has(key));
  rows.push([view.replace(/^src\/pages\//, ""), sum(own, scripts), BUDGET.view]);
}
const css = new Set(Object.values(manifest).flatMap((chunk) => chunk.css ?? []));
rows.push(["css, all of it", [...css].reduce((total, file) => total + size(file), 0), BUDGET.css]);

let over = 0;
for (const [name, kilobytes, limit] of rows) {
  const fits = kilobytes < limit;
  over += fits ? 0 : 1;
  console.log(`${fits ? "   " : "!! "}${name.padEnd(40)} ${kilobytes.toFixed(1).padStart(6)} of ${limit} kB gz`);
}
process.exit(over > 0 ? 1 : 0);
