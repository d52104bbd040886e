import { seriesColors } from './palette.js';

const series = (theme: 'light' | 'dark'): string =>
  seriesColors.map((color, i) => `--s${i}:${color[theme]}`).join(';');

/** Custom properties of both themes. The reward scale is orange against blue, apart for every common colour vision. */
export const themes = {
  light: {
    ...{ paper: '#ffffff', ink: '#1c2024', soft: '#59636e', line: '#e2e6ea', wash: '#f6f8fa' },
    ...{ accent: '#0a6ebd', warn: '#8a4b00', 'warn-wash': '#fff6e9', mark: '#ffe066', 'mark-ink': '#1c2024' },
    ...{ n1: '#fdeadb', n2: '#f8c8a0', n3: '#ee9a58', p1: '#e3eff9', p2: '#b7d6f0', p3: '#7db5e3' },
  },
  dark: {
    ...{ paper: '#14171b', ink: '#e6e9ec', soft: '#9aa5b1', line: '#2c323a', wash: '#1c2127' },
    ...{ accent: '#5fb0f0', warn: '#f0b866', 'warn-wash': '#2b2317', mark: '#ffe066', 'mark-ink': '#1c2024' },
    ...{ n1: '#37291d', n2: '#6a4220', n3: '#94500f', p1: '#1d2c3a', p2: '#1f4c73', p3: '#1c62a0' },
  },
};
const properties = (theme: 'light' | 'dark'): string =>
  `color-scheme:${theme};${Object.entries(themes[theme])
    .map(([name, value]) => `--${name}:${value}`)
    .join(';')};${series(theme)}`;
const [light, dark] = [properties('light'), properties('dark')];

export const pageStyle = `
:root{${light}}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){${dark}}}
:root[data-theme=dark]{${dark}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1160px;margin:0 auto;padding:0 24px}
header{padding-top:40px}
.top{display:flex;justify-content:space-between;align-items:baseline;gap:16px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;font-weight:650;margin:0 0 4px}
h2{font-size:22px;letter-spacing:-.01em;font-weight:650;margin:56px 0 12px;padding-top:20px;border-top:1px solid var(--line)}
h3{font-size:16px;font-weight:650;margin:32px 0 8px}
h4{font-size:13px;font-weight:650;margin:0 0 4px}
.lead{color:var(--soft);margin:0;max-width:100ch}
.outcome{font-size:18px;line-height:1.45;max-width:100ch;margin:18px 0 0;padding-left:20px}.outcome li{margin:4px 0}
.note,.absent{color:var(--soft);font-size:14px;line-height:1.6;max-width:80ch}.note .tok{color:var(--ink)}
a{color:var(--accent)}
nav{display:flex;flex-wrap:wrap;gap:4px 20px;margin:20px 0 0;font-size:14px}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
button,select,input{font:inherit;font-size:14px;color:var(--ink);background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:5px 12px;min-height:34px}
button{cursor:pointer}button:hover{background:var(--wash)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(215px,1fr));gap:12px 28px;margin:24px 0 0}
.facts dt{font-size:12px;color:var(--soft)}
.facts dd{margin:0;font-size:14px;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:16px;margin:20px 0 28px}
.card{background:var(--wash);border-radius:10px;padding:14px 18px}
.card p{margin:0;font-size:13px;color:var(--soft)}
.card .value{font-size:26px;line-height:1.3;font-weight:650;letter-spacing:-.01em;color:var(--ink);font-variant-numeric:tabular-nums}
.card .value small{font-size:14px;font-weight:400;color:var(--soft);letter-spacing:0}
.card .who{font-weight:650}
.warning{background:var(--warn-wash);border-left:3px solid var(--warn);border-radius:0 6px 6px 0;padding:10px 16px;margin:10px 0;font-size:15px;max-width:90ch}
.warning b{color:var(--warn)}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:separate;border-spacing:0;font-size:14px;font-variant-numeric:tabular-nums}
.comparison{width:100%}
th,td{padding:6px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
thead th{font-weight:650;vertical-align:bottom}
th:first-child,.plain th,.plain td{text-align:left}
.comparison th:first-child{position:sticky;left:0;background:var(--paper);padding-left:0;z-index:1}
.comparison tbody th{font-weight:400}
.comparison .group th{color:var(--soft);font-size:12px;font-weight:650;padding-top:18px;border-bottom-color:var(--soft)}
.comparison td b{font-weight:400}.comparison td.best b{font-weight:700}
.comparison td.best{background:var(--wash)}
.rank{width:100%}
.rank thead th{padding:0 2px;white-space:normal;font-size:13px;line-height:1.3}
.rank thead th>span,.rank thead button{display:block;width:100%;min-height:0;padding:6px;border:0;border-radius:6px;background:none;font:inherit;font-size:13px;line-height:1.3;text-align:right;color:inherit}
.rank thead button:hover{background:var(--wash)}
.rank thead small{display:block;padding:0 6px 6px;color:var(--soft);font-weight:400;font-size:11px}
.rank thead button small{padding:0}
.rank thead th:first-child button,.rank thead th:first-child>span{text-align:left;padding-left:0}
.rank thead [aria-sort] button::after{content:"▲";display:block;font-size:9px;line-height:1;color:var(--accent)}
.rank thead [aria-sort=descending] button::after{content:"▼"}
.rank td{padding:7px 6px;vertical-align:top}
.rank td small,.rank th[scope=row] small{display:block;line-height:1.3}
.rank td b{font-weight:400}.rank td.best b{font-weight:700}.rank td.best{background:var(--wash)}
.rank tbody th{font-weight:600;padding-left:0;position:sticky;left:0;background:var(--paper);z-index:1;vertical-align:top}
.rank tbody th small{color:var(--soft);font-weight:400;font-size:12px;padding-left:15px}
.rank tbody tr.teacher th{font-weight:400}
.rank tbody tr.teacher:last-child>*{border-bottom-color:var(--soft)}
.teacher{color:var(--soft)}
td small{color:var(--soft);font-size:12px}.rank td small{font-size:11.5px;letter-spacing:-.01em}
details .scroll{margin-top:4px}
.unit,.none{color:var(--soft)}
abbr{text-decoration:none;color:var(--soft)}
.dot{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:6px}
.plain th{font-weight:400;color:var(--soft)}.plain td,.plain th{white-space:normal;vertical-align:top;padding-left:0}
.plain th:first-child{white-space:nowrap;padding-right:20px}.plain td{overflow-wrap:anywhere;min-width:7em}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:28px 32px;margin:20px 0}
figure{margin:0;min-width:0;position:relative;max-width:340px}
figcaption{position:absolute;top:0;right:0;font-size:11px;line-height:17px;display:flex;gap:8px}
figcaption a{color:var(--soft);text-decoration:none}figcaption a:hover,figcaption a:focus-visible{text-decoration:underline;color:var(--accent)}
.stack{display:grid;gap:24px}
.wide{max-width:760px}.wide .scroll{margin:0}.wide svg.plot{max-width:none}
svg.plot{display:block;max-width:100%;height:auto;color:var(--ink);overflow:visible}
svg.plot text{white-space:pre}
details{margin:12px 0}
summary{cursor:pointer;font-weight:650;font-size:15px}
pre{background:var(--wash);border-radius:8px;padding:14px 16px;font-size:13px;line-height:1.45;overflow:auto;max-height:480px}
.legend{display:flex;flex-wrap:wrap;gap:4px 8px;align-items:center;font-size:13px;color:var(--soft);margin:12px 0}
.legend .tok{color:var(--ink)}
.controls{display:flex;flex-wrap:wrap;gap:10px 12px;align-items:center;margin:16px 0;font-size:14px}
.controls[hidden]{display:none}
.controls label{display:flex;align-items:center;gap:6px;color:var(--soft)}
.controls .grow{flex:1 1 240px}.controls .grow input{flex:1;min-width:0;width:100%}
#position{min-width:5.5em;text-align:center;font-variant-numeric:tabular-nums}
.given{display:grid;grid-template-columns:2fr 1fr;gap:16px;margin-bottom:16px}
.box{background:var(--wash);border-radius:8px;padding:12px 16px;min-width:0}
.box h4{color:var(--soft)}
.plain{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
table.plain{white-space:normal}
.box .plain{font-size:15px;max-height:260px;overflow:auto}
.responses{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px}
.response{border:1px solid var(--line);border-top:3px solid var(--c);border-radius:0 0 8px 8px;padding:12px 16px;display:flex;flex-direction:column;min-width:0}
.response h4{color:var(--c)}
.tokens{margin:4px 0 10px;line-height:2;font-size:15px;white-space:pre-wrap;overflow-wrap:anywhere;flex:1}
.readout{margin:0;padding-top:8px;border-top:1px solid var(--line);font-size:13px;color:var(--soft);font-variant-numeric:tabular-nums;min-height:50px;overflow-wrap:anywhere}
.tok{cursor:default}.tok:focus{outline:none}
.ink,.legend .tok,.note .tok{border-radius:3px;padding:2px 0;border-top:2px solid transparent;border-bottom:2px solid transparent}
.n1{background:var(--n1)}.n2{background:var(--n2)}.n3{background:var(--n3)}
.p1{background:var(--p1)}.p2{background:var(--p2)}.p3{background:var(--p3)}
.ink.n1,.ink.n2,.ink.n3,.legend .n1,.legend .n2,.legend .n3,.note .n2{border-bottom-color:var(--s1)}
.ink.p1,.ink.p2,.ink.p3,.legend .p1,.legend .p2,.legend .p3,.note .p2{border-top-color:var(--s2)}
.n1{border-bottom-style:dotted!important}.p1{border-top-style:dotted!important}
.tok.on .ink{outline:2px solid var(--ink);outline-offset:0}
::placeholder{color:var(--soft);opacity:1}
.legend .tok{padding:2px 9px}
mark{background:var(--mark);color:var(--mark-ink);border-radius:2px}
.tip{position:absolute;z-index:5;max-width:min(320px,calc(100vw - 16px));background:var(--ink);color:var(--paper);border-radius:6px;padding:6px 10px;font-size:13px;line-height:1.45;white-space:pre-line;pointer-events:none;font-variant-numeric:tabular-nums}
.tip[hidden]{display:none}
.hit:hover,.hit.on{fill:currentColor;fill-opacity:.07}
td[data-tip]{cursor:default}
footer{margin-top:56px;padding-bottom:40px;color:var(--soft);font-size:13px}
@media (max-width:640px){
.outcome{font-size:16px}.cards{gap:10px}.card{padding:12px 14px}.card .value{font-size:22px}
main,header,footer{padding-left:16px;padding-right:16px}header{padding-top:24px}
h1{font-size:24px}h2{margin-top:40px}
.given{grid-template-columns:1fr}
.facts{grid-template-columns:1fr 1fr;gap:10px 16px}
th,td{padding:6px 8px}.comparison td small{display:block}.comparison th:first-child{white-space:normal;min-width:118px;max-width:132px}
}
@media print{.controls,nav,#theme{display:none}h2{break-after:avoid}figure,.response{break-inside:avoid}}
`;
