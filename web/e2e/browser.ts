import { mkdtempSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium, type BrowserContext, type Page } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** The policy that the server sends; whatever breaks it is a console error. */
export const CSP = "default-src 'self'";

export type Theme = "light" | "dark";

export interface Size {
  width: number;
  height: number;
}
export const WIDE: Size = { width: 1440, height: 900 };
export const NARROW: Size = { width: 400, height: 860 };

export async function openBrowser(size: Size = WIDE): Promise<BrowserContext> {
  const profile = mkdtempSync(join(tmpdir(), "towpath-e2e-"));
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
    viewport: size,
    reducedMotion: "reduce",
    timezoneId: "UTC",
    locale: "en-GB",
  });
}

/** Everything a page must not do: errors on the console, requests that fail, a broken policy. */
export function watch(page: Page): string[] {
  const problems: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.text().includes("Content Security Policy")) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`exception: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
  });
  page.on("requestfailed", (request) => {
    // Streams end when the page is left.
    const aborted = request.failure()?.errorText === "net::ERR_ABORTED";
    if (!aborted) problems.push(`failed: ${request.url()} ${request.failure()?.errorText}`);
  });
  return problems;
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Violations of WCAG 2.2 AA, one line each. Runs outside the page's own policy. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const engine = (window as unknown as { axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } }).axe;
    const { violations } = await engine.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary.replace(/\s+/g, " ").slice(0, 200)}`));
  });
}

export async function useTheme(page: Page, theme: Theme): Promise<void> {
  await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
}

/** Into `TOWPATH_SHOTS`, when that names a folder. */
export async function shoot(page: Page, name: string): Promise<void> {
  const folder = process.env.TOWPATH_SHOTS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
