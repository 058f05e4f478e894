// Runs the browser tests: `node scripts/e2e.mjs fixtures` needs only dist/, `real` a server
// (TOWPATH_URL) on which the demo has run. The tests are TypeScript, so Vite bundles them first.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const name = process.argv[2];
if (name !== "fixtures" && name !== "real") {
  console.error("usage: node scripts/e2e.mjs fixtures|real");
  process.exit(2);
}
const root = fileURLToPath(new URL("..", import.meta.url));
const outDir = `${root}/node_modules/.cache/e2e`;
await build({
  configFile: false,
  root,
  logLevel: "warn",
  build: { ssr: `e2e/${name}.spec.ts`, outDir, emptyOutDir: false, minify: false },
});
const { status } = spawnSync(process.execPath, ["--test", `${outDir}/${name}.spec.js`], { stdio: "inherit", cwd: root });
process.exit(status ?? 1);
