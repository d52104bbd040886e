/**
 * The pictures of docs/report.md: `node --import tsx experiments/quickstart/pictures.ts runs/quickstart/report.html docs/images`. Drives
 * the Chromium that CHROME names, or the one of the system.
 */
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const [report, folder] = process.argv.slice(2) as [string, string];
const browser = await chromium.launch({
  executablePath: process.env.CHROME ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  const page = await browser.newPage({
    viewport: { width: 1160, height: 900 },
    colorScheme: 'light',
    deviceScaleFactor: 1.5,
  });
  await page.goto(pathToFileURL(resolve(report)).href);
  /** From one element to another, with a little room above. */
  const shoot = async (name: string, first: string, last: string): Promise<void> => {
    const [from, to] = [await box(first), await box(last)];
    const top = Math.max(0, from.y - 16);
    await page.screenshot({
      path: join(folder, name),
      fullPage: true,
      clip: { x: 0, y: top, width: 1160, height: to.y + to.height + 4 - top },
    });
  };
  const box = async (selector: string) => (await page.locator(selector).first().boundingBox())!;
  await shoot('report-table1.png', 'header', '#comparison .scroll');
  await page.locator('#order').selectOption('length');
  await page.locator('.response').last().locator('.tok').nth(1).focus();
  await page.evaluate('scrollTo(0, 0)');
  await shoot('report-samples.png', '#samples .legend', '#sample');
} finally {
  await browser.close();
}
