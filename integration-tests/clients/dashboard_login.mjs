// The dashboard of a Larder that wants a token: `node dashboard_login.mjs PORT ADMIN TOKEN`.
import assert from "node:assert/strict";
import { open } from "./browser.mjs";

const [admin, token] = [process.argv[3], process.argv[4]];
const { page, end } = await open();
try {
  await page.goto(`http://${admin}/`);
  await page.waitForSelector("#login", { state: "visible" });
  assert.ok(!(await page.isVisible("#board")), "nothing is shown before");
  await page.fill("#token", "another");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("login-said").textContent.includes("not the token"));
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#board", { state: "visible" });
  assert.equal(await page.textContent("#stage"), "serving");
  assert.ok(!(await page.isVisible("#login")));
  // It is kept for this tab, and nowhere else.
  await page.reload();
  await page.waitForSelector("#board", { state: "visible" });
  const kept = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]);
  assert.ok(kept[0].includes(token) && !kept[1].includes(token) && kept[2] === "", kept.join());
  assert.ok(!page.url().includes(token));
} finally {
  await end();
}
console.log("fine");
