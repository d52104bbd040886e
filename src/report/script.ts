import { sampleScript } from './sampleScript.js';
import { tipScript } from './tipScript.js';

/** The theme switch, and the heads of the main table, which sort. */
const frameScript = `
  const root = document.documentElement;
  const store = {
    get() { try { return localStorage.getItem('minillm-theme'); } catch { return null; } },
    set(value) { try { localStorage.setItem('minillm-theme', value); } catch { /* a page from disk may have none */ } },
  };
  const toggle = document.getElementById('theme');
  const isDark = () => root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  const showTheme = () => { toggle.textContent = isDark() ? 'Light' : 'Dark'; };
  const saved = store.get();
  if (saved === 'dark' || saved === 'light') root.dataset.theme = saved;
  toggle.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    store.set(root.dataset.theme);
    showTheme();
  });
  toggle.hidden = false;
  showTheme();

  for (const table of document.querySelectorAll('table.rank')) {
    const heads = [...table.querySelectorAll('thead th')];
    const value = (row, column) => row.children[column].getAttribute('data-v');
    const sortBy = (column, direction) => {
      const sign = direction === 'ascending' ? 1 : -1;
      for (const body of table.querySelectorAll('tbody')) {
        const rows = [...body.querySelectorAll('tr')].sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (column === 0 ? x.localeCompare(y, 'en') : Number(x) - Number(y));
        });
        body.append(...rows);
      }
    };
    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const first = head.getAttribute('data-first');
        const other = first === 'ascending' ? 'descending' : 'ascending';
        const direction = head.getAttribute('aria-sort') === first ? other : first;
        for (const one of heads) one.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', direction);
        sortBy(column, direction);
      });
    });
  }
`;

const helpers = `
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
`;

/**
 * What runs in the page: theme switch, sorting, tooltips, sample browser. Plain JavaScript for any browser since 2020, no library.
 */
export const pageScript = `(() => {
  'use strict';
${helpers}${frameScript}${tipScript}${sampleScript}})();`;
