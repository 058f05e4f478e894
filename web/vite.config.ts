import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// In development the API comes from a running `towpath server`.
const server = process.env.TOWPATH_URL ?? "http://127.0.0.1:8470";

// The browsers that know `light-dark()`, which every colour token uses.
const browsers = ["chrome123", "firefox120", "safari17.5"];

/** Empties dist/ but for the .gitignore that keeps the folder in the repository. */
const emptyDist: Plugin = {
  name: "empty-dist",
  apply: "build",
  buildStart() {
    for (const name of readdirSync("dist")) {
      if (name !== ".gitignore") rmSync(join("dist", name), { recursive: true });
    }
  },
};

export default defineConfig({
  plugins: [react(), emptyDist],
  build: {
    target: browsers,
    cssTarget: browsers,
    // The content security policy is `default-src 'self'`: nothing may become a data: URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: false,
    manifest: true,
  },
  server: { proxy: { "/api": server } },
});
