/** Layout and behaviour of the built page against the invented server of `fixtures.ts`. */
import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AddressInfo } from "node:net";

import type { BrowserContext, Page } from "playwright-core";

import { CSP, NARROW, WIDE, axe, openBrowser, shoot, useTheme, watch } from "./browser";
import { NOW, answer } from "./fixtures";

const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const DIST = join(process.cwd(), "dist");

/** Requests that changed something, as `POST /path body`. */
const posted: string[] = [];
/** Open event streams. */
const streams = new Set<ServerResponse>();
let server: Server;
let base: string;
let context: BrowserContext;

before(async () => {
  server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://towpath");
    if (url.pathname === "/api/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(": hello\n\n");
      streams.add(response);
      response.on("close", () => streams.delete(response));
    } else if (url.pathname.startsWith("/api/") && request.method === "POST") {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        posted.push(`POST ${url.pathname} ${body}`);
        const recomputed = { decisions: 3, equal: 3, differences: [] };
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(url.pathname.endsWith("recompute") ? recomputed : {}));
      });
    } else if (url.pathname.endsWith("/log") && url.searchParams.get("follow")) {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      response.write(`${JSON.stringify({ number: 52, seconds: 24.4, stream: "out", text: "epoch 41  loss 0.0659  val 0.0896  acc 0.9783" })}\n`);
    } else if (url.pathname.startsWith("/api/")) {
      const body = answer(url);
      const known = body !== undefined;
      response.writeHead(known ? 200 : 404, { "content-type": "application/json" });
      response.end(JSON.stringify(known ? body : { title: "Not found", status: 404, detail: `There is nothing at ${url.pathname}.`, kind: "not_found" }));
    } else {
      const path = extname(url.pathname) ? url.pathname : "/index.html";
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "text/plain", "content-security-policy": CSP });
      response.end(readFileSync(join(DIST, path)));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  context = await openBrowser();
});

after(async () => {
  await context.close();
  server.closeAllConnections();
  server.close();
});

async function open(path: string): Promise<{ page: Page; problems: string[] }> {
  const page = await context.newPage();
  page.setDefaultTimeout(5_000);
  await page.clock.setFixedTime(NOW);
  const problems = watch(page);
  await page.goto(base + path);
  return { page, problems };
}

const VIEWS: { name: string; path: string; heading: RegExp }[] = [
  { name: "1-overview", path: "/", heading: /Three models in production, all answering\./ },
  { name: "2-run", path: "/p/digits/runs/119", heading: /Run 119/ },
  { name: "2-run-failed", path: "/p/digits/runs/118", heading: /Run 118/ },
  { name: "3-experiment", path: "/experiments/1", heading: /digits-train/ },
  { name: "4-release", path: "/releases/57", heading: /digits v8 to production/ },
  { name: "5-rollout", path: "/releases/58/rollout", heading: /digits v8 to production/ },
  { name: "projects", path: "/p", heading: /Pipelines/ },
  { name: "runs", path: "/p/digits", heading: /digits/ },
  { name: "experiments", path: "/experiments", heading: /Experiments/ },
  { name: "tracked-run", path: "/experiments/1/runs/r1", heading: /brisk-heron-118/ },
  { name: "compare", path: "/compare?runs=r1,r2,r3", heading: /Compare 3 runs/ },
  { name: "models", path: "/models", heading: /Models/ },
  { name: "model", path: "/models/digits", heading: /digits/ },
  { name: "version", path: "/models/digits/8", heading: /digits v8/ },
  { name: "releases", path: "/releases", heading: /Releases/ },
  { name: "deployments", path: "/deployments", heading: /Deployments/ },
  { name: "deployment", path: "/deployments/digits/production", heading: /digits in production/ },
  { name: "audit", path: "/audit", heading: /Audit/ },
  { name: "audit-entry", path: "/audit/48212", heading: /rollout held/ },
  { name: "trace", path: "/trace?of=digits@production", heading: /Trace/ },
  { name: "settings", path: "/settings", heading: /Settings/ },
];

describe("every view", () => {
  for (const { name, path, heading } of VIEWS) {
    test(`${name} is whole in both themes and at 400 px`, async () => {
      const { page, problems } = await open(path);
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
      await page.waitForFunction(() => document.querySelector(".waiting-bars") === null);
      for (const theme of ["light", "dark"] as const) {
        await useTheme(page, theme);
        await shoot(page, `${name}-${theme}`);
        assert.deepEqual(await axe(page), [], `axe, ${theme}`);
      }
      await page.setViewportSize(NARROW);
      await shoot(page, `${name}-dark-400`);
      await useTheme(page, "light");
      await shoot(page, `${name}-light-400`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(overflow <= 0, `the page scrolls sideways by ${overflow} px at 400 px`);
      assert.deepEqual(await axe(page), [], "axe at 400 px");
      await page.setViewportSize(WIDE);
      assert.deepEqual(problems, []);
      await page.close();
    });
  }
});
