/**
 * The built page on a real server on which the demo has run. `TOWPATH_URL` names it,
 * `TOWPATH_TOKEN` is sent when it wants one, `TOWPATH_SHOTS` takes the pictures.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { BrowserContext, Page } from "playwright-core";

import type { Card, Experiment, Me, Model, Overview, Page as ListPage, Release, ReleaseSummary, Run, RunSummary, TrackedRun } from "../src/api/types";
import { NARROW, WIDE, axe, openBrowser, shoot, useTheme, watch } from "./browser";

const base = (process.env.TOWPATH_URL ?? "").replace(/\/$/, "");
const bearer = process.env.TOWPATH_TOKEN;
const DEADLINE_MS = 15_000;

let context: BrowserContext;
/** What the demo left behind. */
let overview: Overview;
let succeeded: Run;
let stopped: Run | undefined;
let experiment: Experiment;
let tracked: TrackedRun;
let release: Release;
let judged: ReleaseSummary;

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(`${base}/api/v1${path}`, {
    headers: bearer ? { authorization: `Bearer ${bearer}` } : {},
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  assert.equal(response.status, 200, `GET ${path}`);
  return response.json() as Promise<T>;
}

function found<T>(value: T | undefined, what: string): T {
  assert.ok(value !== undefined, `the demo left no ${what}`);
  return value;
}

before(async () => {
  assert.ok(base, "TOWPATH_URL must name a server on which the demo has run");
  overview = await ask<Overview>("/overview");
  const { project } = found(overview.lanes[0], "project");
  const runs = (await ask<ListPage<RunSummary>>(`/projects/${project}/runs`)).items;
  const good = found(runs.find((run) => run.status === "succeeded"), "run that succeeded");
  succeeded = await ask<Run>(`/projects/${project}/runs/${good.number}`);
  const details = await Promise.all(runs.filter((run) => run.status === "failed").map((run) => ask<Run>(`/projects/${project}/runs/${run.number}`)));
  stopped = details.find((run) => run.checks.some((check) => check.stopped_run));

  const experiments = await ask<Experiment[]>("/experiments");
  experiment = found(experiments.find((each) => each.runs > 0 && each.id === succeeded.experiment) ?? experiments.find((each) => each.runs > 0), "experiment with runs");
  const rows = (await ask<ListPage<TrackedRun>>(`/experiments/${experiment.id}/runs`)).items;
  tracked = found(rows.find((run) => Object.keys(run.metrics).length > 0), "tracked run with metrics");

  const releases = (await ask<ListPage<ReleaseSummary>>(`/releases?project=${project}`)).items;
  judged = found(releases.find((each) => each.state === "rolled_back") ?? releases.find((each) => each.state === "live" && each.environment === "production"), "release that was judged");
  release = await ask<Release>(`/releases/${judged.id}`);
  context = await openBrowser();
  if (bearer) await context.addInitScript((secret) => location.protocol === "http:" && sessionStorage.setItem("towpath.token", secret), bearer);
});

after(async () => {
  await context?.close();
});

/** Opens a page, looks at it, then pictures and axe in both themes and narrow, and no complaint. */
async function visit(name: string, path: string, heading: RegExp, look: (page: Page) => Promise<void> = async () => undefined): Promise<void> {
  const page = await context.newPage();
  try {
    page.setDefaultTimeout(DEADLINE_MS);
    const problems = watch(page);
    await page.goto(base + path);
    await page.getByRole("heading", { level: 1, name: heading }).waitFor();
    await page.waitForFunction(() => document.querySelector(".waiting-bars") === null);
    assert.equal(await page.getByRole("alert").filter({ hasText: "Cannot show" }).count(), 0, "a part could not be shown");
    for (const theme of ["light", "dark"] as const) {
      await useTheme(page, theme);
      await shoot(page, `${name}-${theme}`);
      assert.deepEqual(await axe(page), [], `axe, ${theme}`);
    }
    await look(page);
    await page.setViewportSize(NARROW);
    await shoot(page, `${name}-dark-400`);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(overflow <= 0, `scrolls sideways by ${overflow} px at 400 px`);
    await page.setViewportSize(WIDE);
    assert.deepEqual(problems, []);
  } finally {
    await page.close();
  }
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

describe("the five screens", () => {
  test("the overview answers in a sentence and shows each model as a lane", () =>
    visit("1-overview", "/", /production/i, async (page) => {
      for (const panel of ["Models", "Waiting for you", "Needs attention", "Pipeline runs", "Ledger"]) {
        await page.getByRole("region", { name: panel, exact: true }).waitFor();
      }
      await page.getByRole("region", { name: "Models" }).getByRole("link", { name: overview.lanes[0]?.model ?? "", exact: true }).waitFor();
      await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
      await page.getByRole("contentinfo").or(page.locator(".nav footer")).getByText("Ledger verified").waitFor();
    }));

  test("a run shows its graph, its timeline, why each stage ran, and the log", () =>
    visit("2-run", `/p/${succeeded.project}/runs/${succeeded.number}`, new RegExp(`Run ${succeeded.number}`), async (page) => {
      await page.getByRole("region", { name: "Timeline" }).waitFor();
      const graph = page.getByRole("group", { name: /Stage graph/ });
      for (const stage of succeeded.stages) await graph.getByRole("button", { name: new RegExp(`^${escaped(stage.name.slice(0, 11))}`) }).waitFor();
      const logged = succeeded.stages.find((stage) => stage.log_lines > 0);
      const chosen = found(logged ?? succeeded.stages[0], "stage");
      await graph.getByRole("button", { name: new RegExp(`^${escaped(chosen.name.slice(0, 11))}`) }).click();
      const inspector = page.getByRole("region", { name: `Stage ${chosen.name}` });
      await inspector.getByText(chosen.why).first().waitFor();
      if (logged) await inspector.getByRole("log").locator(".log-line").first().waitFor();
      await inspector.getByRole("tab", { name: /Inputs/ }).click();
      await inspector.getByText(found(chosen.inputs[0], "input").path, { exact: true }).first().waitFor();
    }));

  test("a stopped run names the columns and numbers of the bad batch", async (context) => {
    if (!stopped) return context.skip("no check stopped a run on this server");
    const run = stopped;
    await visit("2-run-failed", `/p/${run.project}/runs/${run.number}`, new RegExp(`Run ${run.number}`), async (page) => {
      const checks = page.getByRole("region", { name: "Data checks" });
      await checks.getByText("stopped the run, nothing was trained").waitFor();
      const column = run.checks.flatMap((check) => check.failures).find((failure) => failure.column !== null)?.column;
      if (column) await checks.getByText(column, { exact: true }).first().waitFor();
    });
  });

  test("an experiment lists its runs, charts them, and passes the filter to the server", () =>
    visit("3-experiment", `/experiments/${experiment.id}`, new RegExp(escaped(experiment.name)), async (page) => {
      const runs = page.getByRole("region", { name: "Runs", exact: true });
      await runs.getByRole("link", { name: tracked.name, exact: true }).first().waitFor();
      const [name = ""] = Object.keys(tracked.metrics);
      const filter = page.getByRole("textbox", { name: "Filter" }).or(page.getByLabel("Filter"));
      await filter.first().fill(`metrics.\`${name}\` > 999999999`);
      await page.keyboard.press("Enter");
      await page.getByText("No run matches the filter.").waitFor();
      await filter.first().fill("");
      await page.keyboard.press("Enter");
      await runs.getByRole("link", { name: tracked.name, exact: true }).first().waitFor();
    }));

  test("a release shows its gates with their evidence, the comparison and the approvals", () =>
    visit("4-release", `/releases/${release.id}`, new RegExp(`${escaped(release.model)} v${release.version} to ${escaped(release.environment)}`), async (page) => {
      const gates = page.getByRole("region", { name: "Gates" });
      for (const gate of release.gates) await gates.getByRole("article", { name: new RegExp(`^Gate ${escaped(gate.name)}:`) }).waitFor();
      await gates.getByRole("button", { name: /^Evidence/ }).first().click();
      await gates.getByText("on exactly this:").waitFor();
      if (release.comparison) await page.getByRole("region", { name: `Against ${release.environment}` }).waitFor();
      await page.getByRole("region", { name: "Approval" }).getByText((release.hash.slice(0, 16).match(/.{4}/g) ?? []).join(" ")).waitFor();
    }));

  test("a rollout shows traffic, evidence and decisions, and its decisions can be recomputed", () =>
    visit("5-rollout", `/releases/${judged.id}/rollout`, new RegExp(`${escaped(judged.model)} v${judged.version} to`), async (page) => {
      await page.getByRole("region", { name: "Traffic" }).getByRole("list", { name: "Steps" }).waitFor();
      await page.getByRole("region", { name: /^Evidence/ }).waitFor();
      const decisions = page.getByRole("region", { name: "Decisions" });
      await decisions.getByRole("button", { name: "Recompute" }).click();
      const verdict = decisions.getByRole("status");
      await verdict.getByText(/decisions come out equal/).waitFor();
      const [, equal, all] = /(\d+) of (\d+) decisions/.exec(await verdict.innerText()) ?? [];
      assert.equal(equal, all, "every decision comes out equal");
    }));
});

describe("the lists", () => {
  const lists: [string, string, RegExp][] = [
    ["projects", "/p", /Pipelines/],
    ["experiments", "/experiments", /Experiments/],
    ["models", "/models", /Models/],
    ["releases", "/releases", /Releases/],
    ["deployments", "/deployments", /Deployments/],
    ["audit", "/audit", /Audit/],
    ["settings", "/settings", /Settings/],
  ];
  for (const [name, path, heading] of lists) test(name, () => visit(name, path, heading));

  test("a project's runs", () => visit("runs", `/p/${succeeded.project}`, new RegExp(escaped(succeeded.project))));
  test("a tracked run", () => visit("tracked-run", `/experiments/${experiment.id}/runs/${tracked.run_id}`, new RegExp(escaped(tracked.name))));
  test("a model and its version", async () => {
    await visit("model", `/models/${release.model}`, new RegExp(escaped(release.model)));
    await visit("version", `/models/${release.model}/${release.version}`, new RegExp(`v${release.version}`));
  });
  test("a version and another one side by side", async (context) => {
    const { versions } = await ask<Model>(`/models/${release.model}`);
    const other = versions.find(({ version }) => version !== release.version);
    if (!other) return context.skip("the model has one version");
    const path = `/versions?a=${release.model}/${other.version}&b=${release.model}/${release.version}`;
    await visit("versions-compared", path, new RegExp(`${escaped(release.model)} v${other.version} and v${release.version}`), async (page) => {
      await page.getByRole("region", { name: "Made from", exact: true }).getByRole("rowheader", { name: "commit" }).waitFor();
      await page.getByRole("switch", { name: "Only differences" }).uncheck();
      await page.getByRole("region", { name: "Files", exact: true }).getByText("different").waitFor();
    });
  });
  test("a card is written, and the server keeps it", async (context) => {
    const me = await ask<Me>("/me");
    if (!me.admin && !me.roles.includes("write")) return context.skip(`${me.user} may not write`);
    await visit("model-card", `/models/${release.model}`, new RegExp(escaped(release.model)), async (page) => {
      const panel = page.getByRole("region", { name: "Card", exact: true });
      await panel.getByRole("button", { name: "Edit card" }).click();
      const text = `# ${release.model}\n\nWritten ${Date.now()}.\n`;
      await panel.getByRole("textbox").fill(text);
      await panel.getByRole("button", { name: "Save card" }).click();
      await panel.getByText(`edited by ${me.user}`).waitFor();
      const kept = await ask<Card>(`/models/${release.model}/card`);
      assert.deepEqual([kept.markdown, kept.edited_by], [text, me.user]);
    });
  });
  test("what serves in an environment", () => visit("deployment", `/deployments/${release.project}/${release.environment}`, new RegExp(`in ${escaped(release.environment)}`)));
  test("a trace down to the data", () => visit("trace", `/trace?of=${encodeURIComponent(`${release.model}/${release.version}`)}`, /Trace/, (page) => page.getByText("commit", { exact: true }).first().waitFor()));
});
