/**
 * What runs in the page: the theme switch, the sorting of the main table, and the sample browser. Plain JavaScript for any browser since 2020, no
 * library. Text of models reaches the document through textContent only.
 */
export const pageScript = `(() => {
  'use strict';
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

  const source = document.getElementById('sample-data');
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const stage = document.getElementById('sample');
  const position = document.getElementById('position');
  const order = document.getElementById('order');
  const find = document.getElementById('find');

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const number = (x) => x === null ? 'unknown' : (x < 0 ? '\\u2212' : '') + Math.abs(x).toFixed(2);
  const reward = (token) => token[1] === null || token[2] === null ? null : token[2] - token[1];
  const step = (r) => {
    if (r === null) return '';
    const size = Math.abs(r);
    return size < 0.25 ? 'z' : (r < 0 ? 'n' : 'p') + (size < 1 ? 1 : size < 3 ? 2 : 3);
  };
  const total = (response) => {
    const rewards = (response.tokens || []).map(reward);
    return rewards.length === 0 || rewards.includes(null) ? null : rewards.reduce((sum, r) => sum + r, 0);
  };
  const visible = (text) => text === '' ? '\\u2205' : text.replace(/\\n/g, '\\u21b5\\n');

  function responseCard(response, run) {
    const card = make('article', 'response');
    card.style.setProperty('--c', run.color);
    card.append(make('h4', '', run.label));
    const text = make('p', 'tokens');
    const readout = make('p', 'readout');
    readout.setAttribute('aria-live', 'polite');
    const count = response.tokens ? response.tokens.length : 0;
    const sum = total(response);
    const end = response.finished === null ? '' : response.finished ? 'ended by itself' : 'cut at the limit';
    const summary = [
      response.tokens ? count + (count === 1 ? ' token' : ' tokens') : '',
      sum === null || run.teacher ? '' : '\\u03a3 r = ' + number(sum),
      end,
    ].filter(Boolean).join(' \\u00b7 ');
    readout.textContent = summary;
    card.append(text, readout);
    if (!response.tokens) {
      text.textContent = response.text === '' ? '(empty)' : response.text;
      return card;
    }
    const spans = response.tokens.map((token, i) => {
      const r = reward(token);
      const span = make('span', 'tok ' + (run.teacher ? '' : step(r)), visible(token[0]));
      span.setAttribute('role', 'img');
      span.setAttribute('aria-label', '\\u201c' + token[0].trim() + '\\u201d, reward ' + number(r));
      span.tabIndex = i === 0 ? 0 : -1;
      return span;
    });
    text.setAttribute('role', 'group');
    text.setAttribute('aria-label', run.label + ': ' + response.text);
    text.append(...spans);
    const show = (i) => {
      const token = response.tokens[i];
      readout.textContent = '\\u201c' + visible(token[0]).trim() + '\\u201d  r = ' + number(reward(token)) +
        '  (ln p ' + number(token[2]) + ', ln q ' + number(token[1]) + ')';
      spans.forEach((span, k) => span.classList.toggle('on', k === i));
    };
    const rest = () => {
      readout.textContent = summary;
      spans.forEach((span) => span.classList.remove('on'));
    };
    text.addEventListener('mouseover', (event) => { const i = spans.indexOf(event.target); if (i >= 0) show(i); });
    text.addEventListener('mouseleave', rest);
    text.addEventListener('focusin', (event) => { const i = spans.indexOf(event.target); if (i >= 0) show(i); });
    text.addEventListener('focusout', rest);
    text.addEventListener('click', (event) => { const i = spans.indexOf(event.target); if (i >= 0) spans[i].focus(); });
    text.addEventListener('keydown', (event) => {
      const i = spans.indexOf(event.target);
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: spans.length - 1 }[event.key];
      if (to === undefined || !spans[to]) return;
      event.preventDefault();
      spans[i].tabIndex = -1;
      spans[to].tabIndex = 0;
      spans[to].focus();
    });
    return card;
  }

  const orders = {
    data: () => 0,
    surprise: (prompt) => Math.min(0, ...prompt.responses.map((r, i) => r && !data.runs[i].teacher ? total(r) || 0 : 0)),
    length: (prompt) => -Math.max(0, ...prompt.responses.map((r) => r ? r.text.length : 0)),
  };
  let list = [];
  let at = 0;

  function show() {
    stage.replaceChildren();
    position.textContent = list.length === 0 ? 'nothing found' : (at + 1) + ' of ' + list.length;
    const prompt = list[at];
    if (!prompt) return;
    const given = make('div', 'given');
    for (const [name, text] of [['Prompt', prompt.prompt], ['Reference', prompt.reference]]) {
      const box = make('div', 'box');
      box.append(make('h4', '', name), make('p', 'plain', text === '' ? '(none)' : text));
      given.append(box);
    }
    const responses = make('div', 'responses');
    prompt.responses.forEach((response, i) => { if (response) responses.append(responseCard(response, data.runs[i])); });
    stage.append(given, responses);
  }

  function select() {
    const wanted = find.value.toLowerCase();
    const contains = (text) => text.toLowerCase().includes(wanted);
    const key = orders[order.value] || orders.data;
    list = data.prompts
      .filter((p) => contains(p.prompt) || contains(p.reference) || p.responses.some((r) => r && contains(r.text)))
      .map((prompt) => ({ prompt, key: key(prompt) }))
      .sort((a, b) => a.key - b.key || a.prompt.index - b.prompt.index)
      .map(({ prompt }) => prompt);
    at = 0;
    show();
  }

  const move = (by) => { at = (at + by + list.length) % Math.max(1, list.length); show(); };
  document.getElementById('previous').addEventListener('click', () => move(-1));
  document.getElementById('next').addEventListener('click', () => move(1));
  order.addEventListener('change', select);
  find.addEventListener('input', select);
  document.getElementById('sample-controls').hidden = false;
  select();
})();`;
