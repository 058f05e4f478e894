/** Layout and behaviour of the built page against the invented server of `fixtures.ts`. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { BrowserContext, Locator, Page } from "playwright-core";

import { NARROW, WIDE, axe, openBrowser, shoot, useTheme, watch } from "./browser";
import { delta, evidence } from "../src/format/number";
import { lineDiff } from "../src/format/lines";
import { clip, inPast, rounded, sentence, withoutVerb } from "../src/format/text";
import { closer, further, moved } from "../src/pages/experiments/zoom";
import { pointsOf } from "../src/pages/deployments/evidenceSeries";
import { NOW, card, rollout } from "./fixtures";
import { serveFixtures, type FixtureServer } from "./fixtureServer";

let server: FixtureServer;
let context: BrowserContext;

before(async () => {
  server = await serveFixtures();
  context = await openBrowser();
});

after(async () => {
  await context.close();
  server.stop();
});

/** Opens a page, lets the test look at it, and closes it also when the test fails. */
async function visit(path: string, look: (page: Page, problems: string[]) => Promise<void>): Promise<void> {
  const page = await context.newPage();
  try {
    page.setDefaultTimeout(5_000);
    await page.clock.setFixedTime(NOW);
    const problems = watch(page);
    await page.goto(server.url + path);
    await look(page, problems);
  } finally {
    await page.close();
  }
}

/** Presses at one share of an element's width and lets go at another. */
async function drag(element: Locator, from: number, to: number): Promise<void> {
  // Waits until it is there and still.
  await element.hover();
  const box = await element.boundingBox();
  assert.ok(box);
  const mouse = element.page().mouse;
  await mouse.move(box.x + box.width * from, box.y + box.height / 2);
  await mouse.down();
  await mouse.move(box.x + box.width * to, box.y + box.height / 2, { steps: 4 });
  await mouse.up();
}

const VIEWS: { name: string; path: string; heading: RegExp }[] = [
  { name: "1-overview", path: "/", heading: /Three models in production, all answering\./ },
  { name: "2-run", path: "/p/digits/runs/119", heading: /Run 119/ },
  { name: "2-run-waiting", path: "/p/digits/runs/120?stage=evaluate", heading: /Run 120/ },
  { name: "2-run-why", path: "/p/digits/runs/119?stage=train%40mlp", heading: /Run 119/ },
  { name: "2-run-undeclared", path: "/p/digits/runs/119?stage=train%40mlp&tab=inputs", heading: /Run 119/ },
  { name: "2-run-items", path: "/p/digits/runs/119?stage=features&tab=items", heading: /Run 119/ },
  { name: "2-run-failed", path: "/p/digits/runs/118", heading: /Run 118/ },
  { name: "3-experiment", path: "/experiments/1", heading: /digits-train/ },
  { name: "4-release", path: "/releases/57", heading: /digits v8 to production/ },
  { name: "5-rollout", path: "/releases/58/rollout", heading: /digits v8 to production/ },
  { name: "4-release-rolled-back", path: "/releases/15", heading: /digits v6 to production/ },
  { name: "5-rollout-rolled-back", path: "/releases/15/rollout", heading: /digits v6 to production/ },
  { name: "5-rollout-experiment", path: "/releases/59/rollout", heading: /digits v8 to production/ },
  { name: "projects", path: "/p", heading: /Pipelines/ },
  { name: "runs", path: "/p/digits", heading: /digits/ },
  { name: "experiments", path: "/experiments", heading: /Experiments/ },
  { name: "tracked-run", path: "/experiments/1/runs/r1", heading: /brisk-heron-118/ },
  { name: "tracked-run-zoomed", path: "/experiments/1/runs/r2?steps=400000~600000", heading: /calm-weir-96/ },
  { name: "mlflow-link", path: "/#/experiments/1/runs/r1", heading: /brisk-heron-118/ },
  { name: "compare", path: "/compare?runs=r1,r2,r3", heading: /Compare 3 runs/ },
  { name: "models", path: "/models", heading: /Models/ },
  { name: "model", path: "/models/digits", heading: /digits/ },
  { name: "version", path: "/models/digits/8", heading: /digits v8/ },
  { name: "versions-compared", path: "/versions?a=digits/7&b=digits/8&all=1", heading: /digits v7 and v8/ },
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
    test(`${name} is whole in both themes and at 400 px`, () =>
      visit(path, async (page, problems) => {
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
        assert.deepEqual(problems, []);
      }));
  }
});

describe("what a person does", () => {
  test("an approval names the hash, asks for a reason and sends both", () =>
    visit("/releases/57", async (page) => {
      const button = page.getByRole("button", { name: "Approve c41d 7be9" });
      await button.click();
      await page.getByText("Say why, in a few words").waitFor();
      await page.getByLabel("Reason").fill("Gain elsewhere.");
      await button.click();
      await page.getByText("Tick what you have seen").waitFor();
      await page.getByLabel("I have seen that macro F1 holds did not pass").check();
      await button.click();
      await page.waitForFunction(() => !document.querySelector("[aria-invalid=true]"));
      const vote = server.posted.find((line) => line.includes("/releases/57/approve"));
      assert.match(vote ?? "", /^POST \/api\/v1\/releases\/57\/approve \{"reason":"Gain elsewhere\.","hash":"c41d7be9[0-9a-f]{56}"\}$/);
    }));

  test("rolling back is one press with the focus already on it", () =>
    visit("/releases/58/rollout", async (page) => {
      await page.getByRole("button", { name: "Roll back to v7" }).click();
      await page.getByRole("dialog", { name: "Roll back to v7?" }).waitFor();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      assert.ok(server.posted.includes('POST /api/v1/releases/58/rollback {"reason":"rolled back by hand"}'), server.posted.join("\n"));
    }));

  test("an experiment names its variants, says what is shown so far, and is ended by a person", () =>
    visit("/releases/59/rollout", async (page) => {
      await page.getByText("experiment: treatment against control").waitFor();
      const result = page.getByRole("list", { name: "Result so far" });
      await result.getByText("fewer with treatment v8: at most 0.79 times control v7's rate, p\u00a0<0.001").waitFor();
      await result.getByText("nothing bad in either").waitFor();
      await page.getByRole("columnheader", { name: "treatment bad / all" }).waitFor();
      await page.getByRole("button", { name: "Promote treatment v8" }).click();
      const dialog = page.getByRole("dialog", { name: "Promote treatment v8?" });
      await dialog.getByLabel("Reason").fill("Fewer wrong labels.");
      await dialog.getByRole("button", { name: "Promote treatment v8" }).click();
      await dialog.waitFor({ state: "detached" });
      assert.ok(server.posted.includes('POST /api/v1/releases/59/rollout/promote {"reason":"Fewer wrong labels."}'), server.posted.join("\n"));
    }));

  test("a version is released into an environment, with the reason that a second time needs", () =>
    visit("/models/digits/8", async (page) => {
      await page.getByRole("button", { name: "Release version" }).click();
      await page.getByRole("combobox", { name: "Environment" }).fill("production");
      await page.getByLabel("Reason").fill("Labels were late.");
      await page.getByRole("button", { name: "Release digits v8" }).click();
      await page.waitForURL("**/releases/57");
      assert.ok(server.posted.includes('POST /api/v1/releases {"model":"digits","version":8,"environment":"production","reason":"Labels were late."}'), server.posted.join("\n"));
    }));

  test("a card is edited where it stands, and what is in it never runs", () =>
    visit("/models/digits", async (page) => {
      const panel = page.getByRole("region", { name: "Card", exact: true });
      await panel.getByRole("heading", { level: 4, name: "Limits" }).waitFor();
      await panel.getByText(/<script>alert\("no"\)<\/script> not this <kept>/).waitFor();
      assert.deepEqual(await panel.getByRole("link").evaluateAll((links) => links.map((link) => link.getAttribute("href"))), ["https://example.org/digits"]);
      await panel.getByRole("button", { name: "Edit card" }).click();
      const text = panel.getByLabel("Card of digits, in Markdown");
      assert.equal(await text.evaluate((element) => element === document.activeElement), true);
      assert.equal(await panel.getByRole("button", { name: "Save card" }).isDisabled(), true);
      await text.fill("# Digits\n\nFor forms.\n");
      await panel.getByRole("button", { name: "Read" }).click();
      await panel.getByText("For forms.").waitFor();
      await panel.getByRole("button", { name: "Write" }).click();
      await text.press("Control+Enter");
      await panel.getByText("edited by reviewer-1").waitFor();
      await panel.getByText("For forms.").waitFor();
      assert.ok(server.posted.some((line) => line.startsWith('PUT /api/v1/models/digits/card {"markdown":"# Digits')), server.posted.join("\n"));
    }));

  test("a card that somebody else changed meanwhile is not replaced unseen", () =>
    visit("/models/digits", async (page) => {
      const panel = page.getByRole("region", { name: "Card", exact: true });
      const began = card.now;
      card.now = { ...began, markdown: "# Digits\n\nFirst.\n" };
      await page.reload();
      await panel.getByRole("button", { name: "Edit card" }).click();
      await panel.getByRole("textbox").fill("# Digits\n\nMine.\n");
      card.now = { markdown: "# Digits\n\nTheirs.\n", digest: "theirs", edited_by: "ds-2", edited_at: NOW };
      await panel.getByRole("button", { name: "Save card" }).click();
      const notice = panel.getByRole("alert");
      await notice.getByText("ds-2 changed the card").waitFor();
      const lines = await notice.getByRole("region", { name: "From their card to yours" }).locator("div").allInnerTexts();
      assert.deepEqual(lines.map((line) => line.trim()).filter(Boolean), ["# Digits", "-Theirs.", "+Mine."]);
      assert.deepEqual(await axe(page), []);
      await shoot(page, "model-card-conflict");
      await notice.getByRole("button", { name: "Replace theirs with mine" }).click();
      await panel.getByText("Mine.").waitFor();
      assert.equal(card.now.markdown, "# Digits\n\nMine.\n");
    }));

  test("who may not write is not offered to", () =>
    visit("/models/digits", async (page) => {
      await page.route("**/api/v1/me", (route) => route.fulfill({ json: { user: "guest", roles: ["read"], admin: false, open: false, server_version: "0" } }));
      await page.reload();
      await page.getByRole("region", { name: "Card", exact: true }).getByText("edited by").waitFor();
      await page.getByText("guest").first().waitFor();
      assert.equal(await page.getByRole("button", { name: "Edit card" }).count(), 0);
    }));

  test("the list of models says what each is for, where it serves and when it changed", () =>
    visit("/models", async (page) => {
      await page.getByText("Reads one handwritten digit in an image of 8 × 8 pixels. See the data.").waitFor();
      await page.getByRole("link", { name: "v8 production 25 %" }).waitFor();
      const last = await page.getByRole("columnheader", { name: "Last change" }).boundingBox();
      assert.ok(last && last.x + last.width <= WIDE.width, "the last column is in sight");
    }));

  test("two versions are chosen by keys and compared, only what differs at first", () =>
    visit("/models/digits", async (page) => {
      await page.getByRole("link", { name: "v8", exact: true }).first().waitFor();
      await page.keyboard.press("j");
      await page.keyboard.press("x");
      await page.keyboard.press("j");
      await page.keyboard.press("x");
      await page.getByRole("link", { name: /^Compare v7 and v8/ }).waitFor();
      await page.keyboard.press("c");
      await page.getByRole("heading", { level: 1, name: "digits v7 and v8" }).waitFor();
      const params = page.getByRole("region", { name: "Params", exact: true });
      await params.getByText("2 different, 1 the same").waitFor();
      assert.equal(await params.getByRole("rowheader", { name: "seed" }).count(), 0);
      await page.getByRole("region", { name: "Files", exact: true }).getByText("other content").waitFor();
      await page.getByRole("region", { name: "Data", exact: true }).getByText("200 added, 0 removed, 1 changed").click();
      await page.getByText("~ 17.png").waitFor();
      await page.getByRole("switch", { name: "Only differences" }).uncheck();
      await params.getByRole("rowheader", { name: "seed" }).waitFor();
      await page.waitForURL((url) => url.searchParams.get("all") === "1");
      await page.getByRole("button", { name: "Swap" }).click();
      await page.getByRole("heading", { level: 1, name: "digits v8 and v7" }).waitFor();
    }));

  test("the grid shows each stage of each run, is walked by keys and leads to the stage", () =>
    visit("/p/digits", async (page) => {
      const cells = page.getByRole("grid", { name: "States of stages" });
      const newest = cells.getByRole("button", { name: "validate in run 119: Succeeded" });
      await newest.focus();
      await page.keyboard.press("ArrowLeft");
      await page.keyboard.press("ArrowDown");
      const focused = await page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
      assert.match(focused ?? "", /^labels in run 118: /);
      await page.keyboard.press("Enter");
      await page.waitForURL(/\/p\/digits\/runs\/118\?stage=labels$/);
    }));

  test("a schedule is paused, resumed, and run for days that have passed after they are counted", () =>
    visit("/p/digits", async (page) => {
      await page.getByRole("button", { name: "Pause nightly" }).click();
      await page.getByRole("button", { name: "Resume weekly" }).click();
      assert.equal(await page.getByRole("button", { name: "Backfill data" }).count(), 0);
      await page.getByRole("button", { name: "Backfill nightly" }).click();
      const dialog = page.getByRole("dialog", { name: "Backfill nightly" });
      await dialog.getByLabel("First day").fill("2026-11-01");
      await dialog.getByLabel("Runs at the same time").fill("3");
      await dialog.getByRole("button", { name: "Count" }).click();
      await dialog.getByText("2 runs would start, 1 planned times are left out.").waitFor();
      await dialog.getByRole("button", { name: "Backfill nightly" }).click();
      await dialog.waitFor({ state: "detached" });
      const wanted = '{"schedule":"nightly","from":"2026-11-01","to":null,"at_once":3,"reprocess":"none"}';
      for (const line of ["/schedules/nightly/pause {}", "/schedules/weekly/resume {}", `/backfills/preview ${wanted}`, `/backfills ${wanted}`]) {
        assert.ok(server.posted.includes(`POST /api/v1/projects/digits${line}`), `${line}\n${server.posted.join("\n")}`);
      }
    }));

  test("a backfill shows its planned times with their runs, and is cancelled", () =>
    visit("/p/digits", async (page) => {
      const times = page.getByRole("list", { name: "Planned times of backfill 2" });
      await times.getByRole("link", { name: /: failed, run 102$/ }).waitFor();
      assert.equal(await times.getByRole("listitem").count(), 7);
      await page.getByText("4 of 7 over").waitFor();
      const posted = page.waitForResponse((response) => response.url().endsWith("/cancel"));
      await page.getByRole("button", { name: "Cancel backfill 2" }).click();
      await posted;
      assert.ok(server.posted.includes("POST /api/v1/projects/digits/backfills/2/cancel {}"), server.posted.join("\n"));
    }));

  test("a stage names what it reads undeclared, and how its items went", () =>
    visit("/p/digits/runs/119?stage=train%40mlp", async (page) => {
      const inspector = page.getByRole("region", { name: "Stage train@mlp" });
      await inspector.getByText(/^Reads \d+ inputs? that it does not declare$/).waitFor();
      await inspector.getByRole("button", { name: "Show", exact: true }).click();
      await inspector.getByRole("table", { name: "Undeclared inputs" }).waitFor();
      await page.goto(`${server.url}/p/digits/runs/119?stage=features&tab=items`);
      const items = page.getByRole("region", { name: "Stage features" });
      await items.getByText("1 failed, 3 done, 2 run more than once, 1,200 kept from earlier runs.").waitFor();
      await items.getByRole("row", { name: /^2026-11-18.csv Failed 2 400 ms exited with 3$/ }).waitFor();
    }));

  test("a stage that waits is approved with a reason", () =>
    visit("/p/digits/runs/120?stage=evaluate", async (page) => {
      await page.getByText("1 of 2 approvals from risk").waitFor();
      await page.getByLabel("Reason").fill("Numbers hold.");
      const posted = page.waitForRequest((request) => request.url().endsWith("/vote"));
      await page.getByRole("button", { name: "Approve evaluate" }).click();
      await posted;
      const wanted = 'POST /api/v1/projects/digits/runs/120/stages/evaluate/vote {"approve":true,"reason":"Numbers hold."}';
      assert.ok(server.posted.includes(wanted), server.posted.join("\n"));
    }));

  test("recomputing says how many decisions come out equal", () =>
    visit("/releases/58/rollout", async (page) => {
      await page.getByRole("button", { name: "Recompute" }).click();
      await page.getByText("3 of 3 decisions come out equal.").waitFor();
    }));

  test("a long series comes as its pixels show it, and finer where it is dragged over", () =>
    visit("/experiments/1/runs/r2", async (page) => {
      const asked: URLSearchParams[] = [];
      page.on("request", (request) => {
        const url = new URL(request.url());
        if (url.pathname.endsWith("/tracking/metrics") && url.searchParams.get("key") === "grad_norm") asked.push(url.searchParams);
      });
      await page.reload();
      const panel = page.getByRole("region", { name: "grad_norm", exact: true });
      const says = panel.getByRole("status");
      await says.getByText(/ of 1,000,000 points$/).waitFor();
      const width = (await panel.boundingBox())?.width ?? 0;
      const points = Number(asked[0]?.get("points"));
      assert.ok(points >= 2 * width - 20 && points < 2 * width + 200, `${points} points for ${width} px`);
      await drag(panel.locator(".u-over"), 0.4, 0.6);
      await says.getByText(/ of (19|20)\d,\d{3} points, step (39|40)\d,\d{3} to (59|60)\d,\d{3}$/).waitFor();
      const finer = asked.at(-1);
      assert.ok(Number(finer?.get("from")) > 390_000 && Number(finer?.get("to")) < 610_000, String(finer));
      await page.waitForURL((url) => url.searchParams.get("steps") === `${finer?.get("from")}~${finer?.get("to")}`);
      // The other chart of the page shows the same steps, and has no more to ask for.
      await page.getByRole("region", { name: "val_loss", exact: true }).getByRole("status").getByText(/^0 points, step (39|40)/).waitFor();
      // Without dragging: closer, along, further, and all of it.
      await panel.getByRole("button", { name: "Zoom in: grad_norm" }).press("Enter");
      await says.getByText(/of (9|10)\d,\d{3} points,/).waitFor();
      await panel.getByRole("button", { name: "Later: grad_norm" }).click();
      await says.getByText(/step (49|50)\d,\d{3} to (59|60)\d,\d{3}$/).waitFor();
      await panel.getByRole("button", { name: "Zoom out: grad_norm" }).click();
      await panel.getByRole("button", { name: "Whole series of grad_norm" }).click();
      await says.getByText(/ of 1,000,000 points$/).waitFor();
      await page.waitForURL((url) => !url.searchParams.has("steps"));
    }));

  test("the filter goes to the server as it is written", () =>
    visit("/experiments/1", async (page) => {
      await page.getByRole("heading", { level: 1, name: "digits-train" }).waitFor();
      const asked = page.waitForRequest((request) => request.url().includes("/experiments/1/runs?") && request.url().includes("filter="));
      await page.keyboard.press("/");
      await page.keyboard.type('params.model = "mlp"');
      await page.keyboard.press("Enter");
      assert.equal(new URL((await asked).url()).searchParams.get("filter"), 'params.model = "mlp"');
      await page.waitForURL((url) => url.searchParams.get("filter") === 'params.model = "mlp"');
    }));

  test("keys move through rows, chart them, and go to other places", () =>
    visit("/experiments/1", async (page) => {
      await page.getByRole("link", { name: "brisk-heron-118" }).waitFor();
      await page.keyboard.press("j");
      await page.keyboard.press("x");
      assert.equal(await page.getByRole("checkbox", { name: "Chart brisk-heron-118" }).isChecked(), false);
      await page.keyboard.press("g");
      await page.keyboard.press("r");
      await page.getByRole("heading", { level: 1, name: "Releases" }).waitFor();
    }));

  test("the palette finds a release by the beginning of its hash", () =>
    visit("/", async (page) => {
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.keyboard.press("Control+K");
      await page.getByRole("combobox", { name: "Search or go to" }).fill("c41d7be");
      await page.getByRole("option", { name: /digits v8 to production/ }).waitFor();
      await page.keyboard.press("Enter");
      await page.waitForURL("**/releases/57");
    }));

  test("an event makes the page ask again for what it names, and for nothing else", () =>
    visit("/releases/57", async (page) => {
      await page.getByText("Live", { exact: true }).first().waitFor();
      await page.getByRole("heading", { level: 1, name: /digits v8/ }).waitFor();
      const asked: string[] = [];
      page.on("request", (request) => request.url().includes("/api/") && asked.push(new URL(request.url()).pathname));
      const again = page.waitForRequest("**/api/v1/releases/57");
      server.announce([["releases", 57]]);
      await again;
      await page.waitForTimeout(300);
      assert.deepEqual([...new Set(asked)].sort(), ["/api/v1/overview", "/api/v1/releases/57"]);
    }));

  test("at 400 px the navigation opens from the menu button and closes by itself", () =>
    visit("/", async (page) => {
      await page.setViewportSize(NARROW);
      const navigation = page.getByRole("navigation", { name: "Main" });
      await page.getByRole("button", { name: "Menu", exact: true }).click();
      await page.keyboard.press("Escape");
      await navigation.waitFor({ state: "hidden" });
      await page.getByRole("button", { name: "Menu", exact: true }).click();
      await navigation.getByRole("link", { name: "Models" }).click();
      await page.getByRole("heading", { level: 1, name: "Models" }).waitFor();
      await navigation.waitFor({ state: "hidden" });
      await page.setViewportSize(WIDE);
    }));

  test("the theme is kept and applied before the first paint", () =>
    visit("/", async (page) => {
      await page.getByRole("button", { name: "Use the dark theme" }).click();
      await page.reload();
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
      await page.getByRole("button", { name: "Use the light theme" }).click();
      await page.evaluate(() => localStorage.clear());
    }));

  test("a server that asks who it is gets a token", () =>
    visit("/", async (page) => {
      await page.route("**/api/**", async (route) => {
        const allowed = (await route.request().headerValue("authorization")) === "Bearer secret-1";
        const refused = { title: "Unauthenticated", status: 401, detail: "This server wants a token.", kind: "unauthenticated" };
        await (allowed ? route.continue() : route.fulfill({ status: 401, json: refused }));
      });
      await page.reload();
      await page.getByRole("textbox", { name: "Token" }).fill("wrong");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("This server wants a token.").waitFor();
      await page.getByRole("textbox", { name: "Token" }).fill("secret-1");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { level: 1, name: /Three models/ }).waitFor();
      await page.evaluate(() => sessionStorage.clear());
    }));

  test("a part that fails says what failed and leaves the rest", () =>
    visit("/releases/999", async (page) => {
      await page.getByText("Cannot show release 999.").waitFor();
      await page.getByText("There is nothing at /api/v1/releases/999.").waitFor();
      await page.getByRole("navigation", { name: "Main" }).waitFor();
    }));
});

describe("numbers and words", () => {
  test("a chart is looked at closer, further and along within what there is", () => {
    const whole = { from: 0, to: 1_000 };
    assert.deepEqual(closer(whole), { from: 250, to: 750 });
    assert.deepEqual(closer({ from: 4, to: 5 }), { from: 4, to: 5 });
    assert.deepEqual(further({ from: 250, to: 750 }, whole), null);
    assert.deepEqual(further({ from: 900, to: 1_000 }, whole), { from: 850, to: 1_000 });
    assert.deepEqual(moved({ from: 800, to: 1_000 }, 1, whole), { from: 800, to: 1_000 });
    assert.deepEqual(moved({ from: 100, to: 300 }, -1, whole), { from: 0, to: 200 });
  });

  test("of a path that is too long the end is shown, of a name the beginning", () => {
    assert.deepEqual([clip("for-loop-1[0]/train", 12), clip("validate-the-images", 12), clip("train", 12)], ["…-1[0]/train", "validate-th…", "train"]);
  });

  test("two texts differ by the lines that were taken and added", () => {
    const shown = (a: string, b: string) => lineDiff(a, b).map(({ sign, text }) => sign + text);
    assert.deepEqual(shown("a\nb\nc", "a\nx\nc\nd"), [" a", "-b", "+x", " c", "+d"]);
    assert.deepEqual(shown("", "a"), ["-", "+a"]);
    assert.deepEqual(shown("same", "same"), [" same"]);
  });

  test("a change that four decimals do not show is only said to be small", () => {
    assert.equal(delta(0.9639, 0.9722), "+0.0083");
    assert.equal(delta(0.2573655, 0.2573651), "<0.0001");
    assert.equal(delta(0.5, 0.5), "0");
  });

  test("evidence beyond a million is not counted", () => {
    assert.equal(evidence(213.26), "213");
    assert.equal(evidence(42_294_048_064_264), ">1,000,000");
    assert.equal(evidence(null), "∞");
  });

  test("the server's words fit where they stand, and paths stay as they are", () => {
    assert.equal(sentence("check 'images' of data/images failed"), "Check 'images' of data/images failed");
    assert.equal(sentence("images.py changed"), "images.py changed");
    assert.equal(withoutVerb("Hold at 20 %: labels are not shown safe yet"), "Labels are not shown safe yet");
    assert.equal(inPast("Roll back: the candidate is worse"), "Rolled back: the candidate is worse");
    assert.equal(rounded("candidate 0.9638888888888889, limit 0.01"), "candidate 0.9639, limit 0.01");
  });

  test("the chart of a rollout that is over ends with the numbers it was decided on", () => {
    assert.equal(pointsOf(rollout), rollout.series, "while it is judged the server's points are all");
    const over = { ...rollout, finished_at: NOW + 1 };
    const end = pointsOf(over).at(-1);
    assert.deepEqual([end?.at, end?.combined, end?.latency, end?.stable.accuracy], [NOW + 1, 7.2, 24.1, 1 - 205 / 5_684]);
  });
});
