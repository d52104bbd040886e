/**
 * The sample browser: prompts one at a time, the responses side by side, each token coloured by its reward, what is sought
 * marked. Text of models reaches the document through text nodes only.
 */
export const sampleScript = `
  const source = document.getElementById('sample-data');
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const stage = document.getElementById('sample');
  const position = document.getElementById('position');
  const order = document.getElementById('order');
  const find = document.getElementById('find');

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
  const named = (text) => text === '' ? '\\u2205' : text.replace(/\\n/g, '\\u21b5');

  /** Where the sought word stands in a text, as pairs of positions. */
  const matches = (text) => {
    const [wanted, lower] = [find.value.toLowerCase(), text.toLowerCase()];
    const found = [];
    if (wanted === '' || lower.length !== text.length) return found;
    for (let i = lower.indexOf(wanted); i >= 0; i = lower.indexOf(wanted, i + wanted.length)) found.push([i, i + wanted.length]);
    return found;
  };
  /** The piece of a text from one position to another, what was sought marked in it. */
  const marked = (text, found, from, to) => {
    const parts = [];
    let at = from;
    for (const [start, end] of found) {
      const [a, b] = [Math.max(start, at), Math.min(end, to)];
      if (a >= b) continue;
      if (a > at) parts.push(text.slice(at, a));
      parts.push(make('mark', '', text.slice(a, b)));
      at = b;
    }
    if (at < to) parts.push(text.slice(at, to));
    return parts;
  };
  const passage = (className, text) => {
    const element = make('p', className);
    element.append(...marked(text, matches(text), 0, text.length));
    return element;
  };
  /** Space around a token is outside its colour: at the end of a line it would stick out as a sliver. */
  function tokenSpan(token, className, text, found, from) {
    const span = make('span', 'tok');
    const to = from + token.length;
    const lead = /^\\s*/.exec(token)[0].length;
    const tail = lead === token.length ? 0 : /\\s*$/.exec(token)[0].length;
    const ink = make('span', ('ink ' + className).trim());
    if (token === '') ink.append('\\u2205');
    else if (lead === token.length) ink.append(token.includes('\\n') ? '\\u21b5' : '\\u2423');
    else ink.append(...marked(text, found, from + lead, to - tail));
    if (lead < token.length) span.append(token.slice(0, lead));
    span.append(ink);
    if (tail > 0) span.append(token.slice(token.length - tail));
    if (lead === token.length && token.includes('\\n')) span.append(token.slice(token.indexOf('\\n')));
    return span;
  }

  function responseCard(response, run) {
    const card = make('article', 'response');
    card.style.setProperty('--c', run.color);
    card.append(make('h4', '', run.label));
    const text = make('p', 'tokens');
    const readout = make('p', 'readout');
    readout.setAttribute('aria-live', 'polite');
    const count = (response.tokens || []).reduce((sum, token) => sum + (token[3] || 1), 0);
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
      text.append(...(response.text === '' ? ['(empty)'] : marked(response.text, matches(response.text), 0, response.text.length)));
      return card;
    }
    const whole = response.tokens.map((token) => token[0]).join('');
    const found = matches(whole);
    let from = 0;
    const spans = response.tokens.map((token, i) => {
      const r = reward(token);
      const span = tokenSpan(token[0], run.teacher ? '' : step(r), whole, found, from);
      from += token[0].length;
      span.setAttribute('role', 'img');
      span.setAttribute('aria-label', '\\u201c' + named(token[0]) + '\\u201d, reward ' + number(r));
      span.tabIndex = i === 0 ? 0 : -1;
      return span;
    });
    text.setAttribute('role', 'group');
    text.setAttribute('aria-label', run.label + ': ' + response.text);
    text.append(...spans);
    const at = (target) => spans.indexOf(target.closest('.tok'));
    const show = (i) => {
      const token = response.tokens[i];
      readout.textContent = '\\u201c' + named(token[0]) + '\\u201d' + (token[3] ? ' of ' + token[3] + ' tokens' : '') + '  r = ' + number(reward(token)) +
        '  (ln p ' + number(token[2]) + ', ln q ' + number(token[1]) + ')';
      spans.forEach((span, k) => span.classList.toggle('on', k === i));
    };
    const rest = () => {
      readout.textContent = summary;
      spans.forEach((span) => span.classList.remove('on'));
    };
    text.addEventListener('mouseover', (event) => { const i = at(event.target); if (i >= 0) show(i); });
    text.addEventListener('mouseleave', rest);
    text.addEventListener('focusin', (event) => { const i = at(event.target); if (i >= 0) show(i); });
    text.addEventListener('focusout', rest);
    text.addEventListener('click', (event) => { const i = at(event.target); if (i >= 0) spans[i].focus(); });
    text.addEventListener('keydown', (event) => {
      const i = at(event.target);
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
      box.append(make('h4', '', name), passage('plain', text === '' ? '(none)' : text));
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
`;
