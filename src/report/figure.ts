import * as Plot from '@observablehq/plot';
// The one-file build: half a second less before a command begins.
import { parseHTML } from 'linkedom/worker';
import { escapeHtml } from './escape.js';
import { tick } from './format.js';
import { type Hit, hitsSvg } from './hits.js';
import { seriesColors } from './palette.js';

/** A drawn figure: for the page, and for the files beside it. */
export interface Figure {
  /** File name without ending. */
  name: string;
  title: string;
  /** For inlining: colours are custom properties of the page, text is in the page's ink. */
  svg: string;
  /** The numbers behind it. */
  csv: string;
}

const inks: Record<string, string> = { '--paper': '#ffffff', '--soft': '#59636e', currentColor: '#1c2024' };
const fontFamily =
  'ui-sans-serif, system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif';

/**
 * Draws a plot in Node and gives the SVG as text, with the title inside (a figure is often shown on its own) and a
 * description for those who cannot see it; `hits` say the numbers of their places.
 */
export function drawSvg(
  options: Plot.PlotOptions,
  title: string,
  description: string,
  hits: readonly Hit[] = [],
): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({
    ...options,
    document: document as never,
    className: 'plot',
  }) as unknown as SvgElement;
  // Plot's own style sheet would be repeated in every figure; the page has one for all.
  svg.querySelector('style')?.remove();
  svg.setAttribute('font-family', fontFamily);
  svg.setAttribute('font-size', '11');
  svg.setAttribute('role', 'img');
  // The marks' own labels ("line", "y-axis tick") would be read out one by one.
  for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label');
  const head = `<text x="0" y="13" font-size="13" font-weight="600" text-anchor="start">${escapeHtml(title)}</text>`;
  // By hand: what linkedom would do to a `<` in an attribute is legal in HTML and not in an SVG file.
  const text = svg.outerHTML.replace(/<\/svg>$/, () => `${hitsSvg(hits)}</svg>`);
  const end = text.indexOf('>');
  const attributes = text.slice('<svg'.length, end);
  return `<svg${attributes} aria-label="${escapeHtml(description)}">${head}${text.slice(end + 1)}`;
}

/** The parts of the DOM that are used here; the project is compiled without the browser's types. */
interface SvgElement {
  outerHTML: string;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  remove(): void;
  querySelector(selector: string): SvgElement | null;
  querySelectorAll(selector: string): Iterable<SvgElement>;
}

/** The same drawing as a file of its own: namespace, white ground, colours written out. */
export function standaloneSvg(inline: string): string {
  const colored = inline
    .replace(
      /var\(--s(\d+)\)/g,
      (_, index: string) => seriesColors[Number(index)]?.light ?? inks.currentColor!,
    )
    .replace(/var\((--paper|--soft)\)/g, (_, name: string) => inks[name]!)
    .replaceAll('"currentColor"', `"${inks.currentColor}"`);
  return `${colored.replace(/^<svg([^>]*)>/, '<svg xmlns="http://www.w3.org/2000/svg"$1><rect width="100%" height="100%" fill="#ffffff"/>')}\n`;
}

/** A logarithmic axis below the frame, its name in the middle. */
export function logAxis(
  label: string,
  domain: [number, number],
  ticks: number | number[],
): Plot.ScaleOptions {
  return {
    ...{ type: 'log', domain, label, labelAnchor: 'center', labelArrow: 'none' },
    ...{ ticks, tickFormat: tick, tickSize: 0 },
  };
}

/**
 * Rows of a figure, the first on top. The type is said: of a domain of exactly two numbers Plot would make a linear axis, which
 * puts the first row at the bottom and cuts both at the edge.
 */
export function rowScale(count: number): Plot.ScaleOptions {
  return { type: 'point', domain: Array.from({ length: count }, (_, i) => i), axis: null, padding: 0.3 };
}

/** Text cut to a number of characters. */
export function clip(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
