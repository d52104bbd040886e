/**
 * The numbers of a table's cell or of a place in a figure in a box beside it: under the mouse, at a touch, and in focus (in a
 * table the arrow keys move). Without the script the browser's own tooltips show the same.
 */
export const tipScript = `
  const tip = make('div', 'tip');
  tip.id = 'tip';
  tip.setAttribute('role', 'tooltip');
  tip.hidden = true;
  document.body.append(tip);
  for (const cell of document.querySelectorAll('td[title]')) {
    cell.setAttribute('data-tip', cell.getAttribute('title'));
    cell.removeAttribute('title');
    cell.tabIndex = -1;
  }
  for (const title of document.querySelectorAll('svg .hit > title')) {
    title.parentNode.setAttribute('data-tip', title.textContent);
    title.remove();
  }
  const tipped = (event) => event.target.closest && event.target.closest('[data-tip]');
  const hideTip = () => {
    tip.hidden = true;
    for (const on of document.querySelectorAll('.hit.on')) on.classList.remove('on');
  };
  const showTip = (element) => {
    hideTip();
    tip.textContent = element.getAttribute('data-tip');
    tip.hidden = false;
    if (element.classList.contains('hit')) element.classList.add('on');
    if (!element.getBoundingClientRect) return;
    const [box, own] = [element.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), Math.max(8, root.clientWidth - own.width - 8));
    const above = box.top - own.height - 6;
    tip.style.left = left + scrollX + 'px';
    tip.style.top = (above > 4 ? above : box.bottom + 6) + scrollY + 'px';
  };
  document.addEventListener('pointerover', (event) => {
    if (event.pointerType === 'touch') return;
    const element = tipped(event);
    if (element) showTip(element);
    else hideTip();
  });
  document.addEventListener('click', (event) => {
    const element = tipped(event);
    if (element) showTip(element);
    else hideTip();
  });
  document.addEventListener('focusin', (event) => { const element = tipped(event); if (element) showTip(element); });
  document.addEventListener('focusout', hideTip);
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hideTip(); });

  for (const table of document.querySelectorAll('table.rank, table.comparison')) {
    const cellsOf = (row) => [...row.children].filter((cell) => cell.hasAttribute('data-tip'));
    const rows = () => [...table.querySelectorAll('tbody tr')].filter((row) => cellsOf(row).length > 0);
    const [first] = rows();
    if (!first) continue;
    cellsOf(first)[0].tabIndex = 0;
    table.addEventListener('keydown', (event) => {
      const cell = event.target.closest('td');
      const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!cell || !move) return;
      const all = rows();
      const row = all.indexOf(cell.parentNode);
      const place = [...cell.parentNode.children].indexOf(cell);
      const target = all[row + move[0]] && all[row + move[0]].children[place + move[1]];
      if (!target || !target.hasAttribute('data-tip')) return;
      event.preventDefault();
      cell.tabIndex = -1;
      target.tabIndex = 0;
      target.focus();
    });
  }
`;
