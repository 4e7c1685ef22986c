// A headless Chromium with a new, empty profile, for the tests of the dashboard.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

// Starts one: its first page, and how to end it.
export async function open() {
  const executablePath = process.env.CHROMIUM || PLACES.find(existsSync);
  assert.ok(executablePath, "no Chromium: run integration-tests/run");
  const profile = mkdtempSync(join(tmpdir(), "larder-chromium-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    viewport: { width: 1240, height: 900 },
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = browser.pages()[0] || (await browser.newPage());
  const end = async () => {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { page, end };
}
