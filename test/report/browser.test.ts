import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeReport } from '../../src/report/report.js';
import { writeSyntheticRuns } from './syntheticRuns.js';

/** A browser of the machine; none is ever downloaded. */
const places = [
  process.env.CHROME,
  ...['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'].map((x) => `/usr/bin/${x}`),
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const executablePath = places.find((file) => file !== undefined && existsSync(file));
const quiet = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
];
const hostile = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked=2">';

/** Why the tests are skipped, or the browser. */
const started: string | Browser = executablePath
  ? await chromium
      .launch({ executablePath, args: quiet })
      .catch((error: Error) => `${executablePath} does not start: ${error.message.split('\n')[0]}`)
  : 'no Chromium; set CHROME to the path of one';

describe.skipIf(typeof started === 'string')(
  `the report in a browser (${typeof started === 'string' ? `skipped: ${started}` : executablePath})`,
  () => {
    let root: string;
    let url: string;
    const browser = started as Browser;
    beforeAll(async () => {
      root = mkdtempSync(path.join(tmpdir(), 'browser-'));
      writeSyntheticRuns(path.join(root, 'runs'), { steps: 40, prompts: 4 });
      const samples = path.join(root, 'runs/minillm/samples/eval.jsonl');
      const [first, ...rest] = readFileSync(samples, 'utf8').split('\n');
      const row = { ...JSON.parse(first!), prompt: hostile, text: hostile };
      writeFileSync(
        samples,
        [JSON.stringify({ ...row, tokens: [hostile, ...row.tokens.slice(1)] }), ...rest].join('\n'),
      );
      mkdirSync(path.join(root, 'page'));
      writeReport([path.join(root, 'runs')], path.join(root, 'page/report.html'));
      url = pathToFileURL(path.join(root, 'page/report.html')).href;
    });
    afterAll(async () => {
      await browser.close();
      rmSync(root, { recursive: true });
    });

    /** Opens the page and hears everything that it complains of or asks for. */
    async function open(options: BrowserContextOptions = {}): Promise<{ page: Page; heard: string[] }> {
      const page = await browser.newPage(options);
      const heard: string[] = [];
      page.on('console', (message) => heard.push(`${message.type()}: ${message.text()}`));
      page.on('pageerror', (error) => heard.push(`error: ${error.message}`));
      page.on('request', (request) => {
        if (request.url() !== url) heard.push(`request: ${request.url()}`);
      });
      await page.goto(url);
      return { page, heard };
    }

    it('opens from disk: every section, nothing asked of the network, nothing complained of', async () => {
      const { page, heard } = await open();
      for (const link of await page.locator('nav a').all()) {
        await link.click();
        const id = (await link.getAttribute('href'))!;
        expect(await page.locator(id).isVisible(), id).toBe(true);
        expect((await page.locator(`${id} h2`).boundingBox())!.y).toBeLessThan(900);
      }
      expect(await page.locator('main > section').count()).toBe(9);
      expect(await page.locator('figure svg').count()).toBeGreaterThan(20);
      for (const summary of await page.locator('summary').all()) await summary.click();
      expect(heard).toEqual([]);
      await page.close();
    });

    it('sorts the models by a column, by mouse and by keyboard, the teacher always on top', async () => {
      const { page } = await open();
      const names = () => page.locator('.rank tbody th').allTextContents();
      const head = page.locator('.rank th', { hasText: 'Rouge-L sampled' });
      await head.locator('button').click();
      expect(await head.getAttribute('aria-sort')).toBe('descending');
      expect(await names()).toEqual(['Teacher', 'MiniLLM', 'KD', 'BabyLlama', 'SFT']);
      await page.keyboard.press('Enter');
      expect(await head.getAttribute('aria-sort')).toBe('ascending');
      expect(await names()).toEqual(['Teacher', 'SFT', 'BabyLlama', 'KD', 'MiniLLM']);
      await page.keyboard.press('Shift+Tab');
      await page.keyboard.press('Space');
      expect(await head.getAttribute('aria-sort')).toBeNull();
      expect(await names()).toEqual(['Teacher', 'BabyLlama', 'KD', 'MiniLLM', 'SFT']);
      await page.close();
    });

    it('shows the numbers of a token under the mouse and in focus', async () => {
      const { page } = await open();
      const card = page.locator('.response', { hasText: 'KD' });
      const readout = card.locator('.readout');
      const before = await readout.textContent();
      await card.locator('.tok').nth(2).hover();
      expect(await readout.textContent()).toMatch(
        /^“ opening” {2}r = −?\d+\.\d\d {2}\(ln p −\d+\.\d\d, ln q −\d+\.\d\d\)$/,
      );
      await page.mouse.move(0, 0);
      expect(await readout.textContent()).toBe(before);
      await card.locator('.tok').first().focus();
      await page.keyboard.press('ArrowRight');
      expect(await readout.textContent()).toContain('“ small”');
      expect(await page.evaluate('document.activeElement.textContent')).toBe(' small');
      await page.close();
    });

    it('says the numbers of a cell and of a figure: under the mouse, in focus, at a touch', async () => {
      const { page } = await open();
      const tip = page.locator('#tip');
      await page.locator('.rank tbody tr', { hasText: 'KD' }).locator('td').first().hover();
      expect(await tip.textContent()).toMatch(
        /^KD: Rouge-L, sampled 11\.70, 95 % interval 11\.24 to 12\.14 over prompts$/,
      );
      await page.mouse.move(0, 0);
      expect(await tip.isVisible()).toBe(false);
      await page.locator('.rank td[tabindex="0"]').focus();
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('ArrowDown');
      expect(await tip.textContent()).toMatch(/^SFT: Rouge-L, greedy 19\.0/);
      await page.keyboard.press('Escape');
      expect(await tip.isVisible()).toBe(false);
      expect(await page.locator('td[title], .hit > title').count()).toBe(0);
      await page.close();
      const touched = await open({ viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true });
      const curve = touched.page.locator('figure', { hasText: 'Reverse KL, nats per token' }).first();
      await curve.locator('.hit').last().tap();
      const box = touched.page.locator('#tip');
      expect(await box.textContent()).toMatch(/^step 35\n/);
      expect(await box.textContent()).toMatch(/MiniLLM 0\.\d+/);
      const { x, width } = (await box.boundingBox())!;
      expect(x >= 0 && x + width <= 390).toBe(true);
      await touched.page.locator('h1').tap();
      expect(await box.isVisible()).toBe(false);
      expect(touched.heard).toEqual([]);
      await touched.page.close();
    });

    it('marks what is sought, across tokens too, and colours no space', async () => {
      const { page } = await open();
      await page.locator('#find').fill('small OPENING');
      const card = page.locator('.response', { hasText: 'KD' });
      expect(await card.locator('mark').allTextContents()).toEqual(['small', 'opening']);
      expect(await page.locator('.given mark').count()).toBe(0);
      await page.locator('#find').fill('rift');
      expect(await page.locator('.given mark').allTextContents()).toEqual(['rift']);
      const inks = await page.locator('.ink').allTextContents();
      expect(inks.filter((text) => text !== text.trim())).toEqual([]);
      await page.close();
    });

    it('keeps a hostile sample text', async () => {
      const { page, heard } = await open();
      const token = page.locator('.response', { hasText: 'MiniLLM' }).locator('.tok').first();
      expect(await token.textContent()).toBe(hostile);
      expect(await page.evaluate('window.hacked')).toBeUndefined();
      expect(await page.locator('img, iframe, #sample script').count()).toBe(0);
      await page.locator('#next').click();
      expect(await page.locator('#position').textContent()).toBe('2 of 4');
      expect(heard).toEqual([]);
      await page.close();
    });

    it('fits a phone of 390 pixels, in light and dark, with nothing that sticks out', async () => {
      for (const colorScheme of ['light', 'dark'] as const) {
        const { page, heard } = await open({ viewport: { width: 390, height: 800 }, colorScheme });
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
        const paper = await page.evaluate('getComputedStyle(document.body).backgroundColor');
        expect(paper).toBe(colorScheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(20, 23, 27)');
        expect(heard).toEqual([]);
        await page.close();
      }
    });

    it('switches the theme and keeps it', async () => {
      const { page } = await open({ colorScheme: 'light' });
      await page.locator('#theme').click();
      expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('dark');
      expect(await page.locator('#theme').textContent()).toBe('Light');
      await page.close();
    });
  },
);
