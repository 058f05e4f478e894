// Opens a tracked run in a real browser and measures how long the chart of one metric takes, as JSON:
// `node scripts/chart.mjs URL EXPERIMENT RUN METRIC TIMES`. For benches/charts.py.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

const [url, experiment, run, metric, times] = process.argv.slice(2);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const profile = mkdtempSync(join(tmpdir(), "towpath-chart-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: FLAGS,
  viewport: { width: 1440, height: 900 },
});
const page = await context.newPage();
const panel = page.getByRole("region", { name: metric, exact: true });

/** In the page: from the next press of the mouse until the panel's foot says what `text` matches and that frame is painted. */
const drawn = (event, text) =>
  page.evaluate(
    ([metric, event, text]) => {
      window.drawn = new Promise((resolve) => {
        let began = 0;
        window.addEventListener(event, () => (began = performance.now()), { once: true, capture: true });
        const look = () => {
          const foot = document.querySelector(`section[aria-label="${metric}"] [role=status]`);
          const canvas = document.querySelector(`section[aria-label="${metric}"] canvas`);
          if (began > 0 && canvas && new RegExp(text).test(foot?.textContent ?? "")) {
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
          } else requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
      });
    },
    [metric, event, text],
  );

const found = { open: [], zoom: [], open_bytes: 0, zoom_bytes: 0, open_points: "", zoom_points: "" };
let bytes = 0;
const session = await context.newCDPSession(page);
const series = new Set();
await session.send("Network.enable");
session.on("Network.requestWillBeSent", ({ requestId, request }) => request.url.includes("/tracking/metrics") && series.add(requestId));
session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => series.has(requestId) && (bytes += encodedDataLength));

// Code is in the browser's cache, as for anybody who has looked at a run before; data is not.
for (let time = -1; time < Number(times); time++) {
  // Without charts there: they would fetch the same series.
  await page.goto(`${url}/experiments/${experiment}?charted=none`);
  const link = page.locator(`a[data-row][href$="/runs/${run}"]`);
  await link.waitFor();
  // The code of the other pages has come by then.
  await page.waitForTimeout(2_000);
  bytes = 0;
  await drawn("click", " of 1,000,000 points$");
  await link.click();
  const open = await page.evaluate(() => window.drawn);
  found.open_bytes = bytes;
  found.open_points = await panel.getByRole("status").innerText();

  const over = panel.locator(".u-over");
  await over.hover();
  const box = await over.boundingBox();
  bytes = 0;
  await drawn("mouseup", " of (4|5)\\d,\\d{3} points");
  await page.mouse.move(box.x + box.width * 0.5, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.55, box.y + 60, { steps: 3 });
  await page.mouse.up();
  const zoom = await page.evaluate(() => window.drawn);
  found.zoom_bytes = bytes;
  found.zoom_points = await panel.getByRole("status").innerText();
  if (time < 0) continue;
  found.open.push(open);
  found.zoom.push(zoom);
}
await context.close();
rmSync(profile, { recursive: true, force: true });
console.log(JSON.stringify(found));
