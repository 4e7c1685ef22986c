// Looks at every panel of the dashboard in a headless Chromium: `node dashboard.mjs PORT ADMIN`. What the test beside it does to
// the origin it is told in words on stdin, one line each; what it wants done it says on stdout. Ends with `fine`.
//
// With LARDER_SCREENSHOTS=DIR it also leaves pictures there; `dashboard.png` is that of the README.
import assert from "node:assert/strict";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Redis from "ioredis";
import { open } from "./browser.mjs";

const [port, admin] = [Number(process.argv[2]), process.argv[3]];
const pictures = process.env.LARDER_SCREENSHOTS;
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
// Asks the test for something and waits until it is done.
async function please(wish) {
  console.log(wish);
  const { value } = await input.next();
  assert.equal(value, "done");
}

// Traffic, also while the origin is away; errors are part of it.
const client = new Redis({ port, host: "127.0.0.1", maxRetriesPerRequest: 1, enableOfflineQueue: true });
client.on("error", () => {});
let going = true;
const names = ["user:1001:profile", "user:1002:profile", "session:8f3a", "product:77:price", "feature-flags", "cart:551", "config:site", "rates:eur"];
const fill = () => Promise.all(names.map((name, at) => client.set(name, "x".repeat(100 + 300 * at))));
await fill();
async function traffic() {
  while (going) {
    const batch = names.flatMap((name, at) => Array.from({ length: Math.ceil(60 / (at + 1) ** 1.2) }, () => client.get(name)));
    batch.push(...Array.from({ length: 6 }, () => client.get(`cold:${Math.floor(Math.random() * 5000)}`)), client.incr("visits"));
    await Promise.allSettled(batch);
    await new Promise((done) => setTimeout(done, 25));
  }
}
traffic();

const { page, end } = await open();
const strangers = [], complaints = [];
let ended = false;
page.on("request", (request) => {
  if (!request.url().startsWith(`http://${admin}/`) && !request.url().startsWith("data:")) strangers.push(request.url());
});
page.on("console", (message) => {
  // What the browser itself says of a request that an outage of Larder made fail is no fault of the page.
  if (!(ended && message.text().includes("ERR_CONNECTION_REFUSED"))) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));

const text = (id) => page.textContent(`#${id}`);
const until = (what, condition, argument) =>
  page.waitForFunction(condition, argument, { timeout: 40_000, polling: 100 }).catch(async (error) => {
    throw new Error(`not within time: ${what}: ${error.message}\n${await page.innerText("body")}`);
  });
const picture = async (name, options = {}) => {
  if (pictures) await page.screenshot({ path: join(pictures, name), ...options });
};
const confirmed = async (button, words) => {
  await page.click(button);
  assert.ok((await text("question")).includes(words), await text("question"));
  await page.click("#yes");
};

try {
  const answer = await page.goto(`http://${admin}/`);
  assert.match(answer.headers()["content-security-policy"], /default-src 'none'; script-src 'sha256-/);

  // Every panel is there, and its numbers are those of live traffic.
  await until("hot keys", () => document.querySelectorAll("#hot tr").length >= 8);
  const panels = ["requests", "hit-ratio", "latency", "memory", "stale", "runway", "rungs", "traffic", "latencies", "endpoints", "hot-keys", "events", "actions"];
  for (const panel of panels) assert.ok(await page.isVisible(`[data-panel=${panel}]`), panel);
  await until("requests are counted", () => /[1-9]/.test(document.getElementById("requests").textContent));
  await until("a hit ratio", () => parseFloat(document.getElementById("hit-ratio").textContent) > 50);
  await until("latencies", () => ["p50", "p99", "p999"].every((id) => /[1-9].* (µs|ms|s)$/.test(document.getElementById(id).textContent)));
  await until("a runway", () => parseFloat(document.getElementById("runway").textContent) > 0);
  assert.match(await text("memory"), /KiB|MiB/);
  assert.equal(await text("stage"), "serving");
  assert.equal(await text("ready"), "ready");
  assert.equal(await page.textContent("#hot tr:first-child .mono"), "user:1001:profile");
  assert.equal(await page.getAttribute("[data-upstream=main]", "data-rung"), "normal");
  assert.equal(await page.textContent("#endpoints .breaker"), "closed");
  assert.ok((await text("events")).includes("serves"));
  await until("curves", () => [...document.querySelectorAll("#traffic path.s0, #latencies path.s1")].every((path) => path.getAttribute("d").length > 40));
  const before = await text("requests-more");
  await until("the numbers move", (before) => document.getElementById("requests-more").textContent !== before, before);

  // An outage shows itself, and so does its end.
  await please("kill");
  await until("the rung of the outage", () => document.querySelector("[data-upstream=main]").dataset.rung === "local-only");
  await until("an open breaker", () => document.querySelector("#endpoints .breaker").textContent === "open");
  await until("its event", () => document.getElementById("events").textContent.includes("normal -> local-only"));
  await until("its place in the history", () => document.querySelector("#strips rect.r1"));
  await until("stale answers", () => /[1-9]/.test(document.getElementById("stale-more").textContent));
  assert.ok((await text("events")).includes("near-cache not covered"));
  await until("the second rung", () => document.querySelector("[data-upstream=main]").dataset.rung === "stale-read-only");
  await please("restart");
  await until("recovery", () => document.querySelector("[data-upstream=main]").dataset.rung === "normal");
  await until("its event", () => document.getElementById("events").textContent.includes("-> normal"));
  await until("a closed breaker", () => document.querySelector("#endpoints .breaker").textContent === "closed");
  await fill();
  await until("hits again", () => parseFloat(document.getElementById("hit-ratio").textContent) > 50);

  // A page opened later shows the same history.
  await page.reload();
  await until("the history of before", () => document.querySelector("#strips rect.r1") && document.querySelector("#strips rect.r0"));

  // Actions, each behind a question.
  await page.selectOption("#force-rung", "passthrough");
  await page.fill("#force-for", "1h");
  await page.click("#force button[type=submit]");
  await page.click("#no");
  assert.equal(await page.getAttribute("[data-upstream=main]", "data-rung"), "normal", "it was not confirmed");
  await confirmed("#force button[type=submit]", "rung passthrough for 1h");
  await until("the forced rung", () => document.querySelector("[data-upstream=main]").dataset.rung === "passthrough");
  await until("that it is forced", () => document.querySelector("[data-upstream=main]").textContent.includes("forced"));
  await confirmed("#auto", "main");
  await until("the end of it", () => document.querySelector("[data-upstream=main]").dataset.rung === "normal");
  await page.fill("#purge-name", "user:1001:profile");
  await confirmed("#purge button[type=submit]", "user:1001:profile");
  await until("what went", () => document.getElementById("said").textContent === "1 key dropped.");
  await page.selectOption("#purge-what", "prefix");
  await page.fill("#purge-name", "nobody:has:this:");
  await confirmed("#purge button[type=submit]", "begins with");
  await until("that nothing went", () => document.getElementById("said").textContent === "0 keys dropped.");
  await page.fill("#force-for", "soon");
  await confirmed("#force button[type=submit]", "for soon");
  await until("an error in words", () => document.getElementById("said").className === "bad" && document.getElementById("said").textContent.includes("soon"));
  // The browser notes the refusal itself; that is no complaint of the page.
  assert.ok(complaints.length <= 1 && complaints.every((words) => words.includes("400")), complaints.join("\n"));
  complaints.length = 0;
  await page.fill("#force-for", "");

  // Both colours, the switch, and a phone.
  const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = (colour) => colour.match(/\d+/g).slice(0, 3).every((part) => Number(part) < 60);
  await page.emulateMedia({ colorScheme: "light" });
  assert.ok(!dark(await colour()), await colour());
  await page.evaluate(() => scrollTo(0, 0));
  await picture("dashboard.png");
  await picture("light.png", { fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  assert.ok(dark(await colour()), await colour());
  await picture("dark.png", { fullPage: true });
  await page.click("#theme");
  assert.ok(!dark(await colour()), "the switch wins over the system");
  await page.click("#theme");
  assert.ok(dark(await colour()));
  await page.emulateMedia({ colorScheme: "light" });
  assert.ok(dark(await colour()), "also the other way round");
  await page.click("#theme");
  for (const width of [360, 768, 1600]) {
    await page.setViewportSize({ width, height: 800 });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${wide} px wide on a screen of ${width}`);
    for (const panel of panels) {
      const box = await page.locator(`[data-panel=${panel}]`).boundingBox();
      assert.ok(box && box.x >= 0 && box.x + box.width <= width + 0.5, `${panel} on ${width}: ${JSON.stringify(box)}`);
    }
    if (width === 360) await picture("phone.png", { fullPage: true });
  }
  await page.setViewportSize({ width: 1240, height: 900 });

  // By keyboard alone: the switch is the first stop, and Enter answers the question.
  await page.focus("#reload");
  await page.keyboard.press("Enter");
  assert.ok(await page.isVisible("#confirm"));
  await page.keyboard.press("Escape");
  assert.ok(!(await page.isVisible("#confirm")));

  // The end of the process is told, with the time since when.
  ended = true;
  await please("end");
  await until("that it is gone", () => /does not answer since \d\d:\d\d:\d\d/.test(document.getElementById("lost").textContent) && !document.getElementById("lost").hidden);
  assert.ok(await page.isVisible("#lost"));
  await picture("gone.png");
  assert.deepEqual(strangers, [], "requests to others");
  assert.deepEqual(complaints, [], "said on the console");
} finally {
  going = false;
  client.disconnect();
  await end();
}
console.log("fine");
process.exit(0);
