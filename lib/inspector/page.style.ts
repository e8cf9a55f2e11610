/** The style of the page, light and dark, for a desk and for a phone. */
export const STYLE = `:root {
  color-scheme: light dark;
  --ground: #f6f7f9;
  --sheet: #fff;
  --text: #1a1d23;
  --faint: #59616e;
  --line: #d6dae1;
  --accent: #1f4fbf;
  --on-accent: #fff;
  --good: #0a6b3d;
  --wait: #8a5200;
  --bad: #b3261e;
  font: 15px/1.45 system-ui, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171c;
    --sheet: #1d2128;
    --text: #e6e9ee;
    --faint: #a3acba;
    --line: #373d48;
    --accent: #8fb4ff;
    --on-accent: #10131a;
    --good: #6fd39d;
    --wait: #f0b35e;
    --bad: #ff9a90;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--ground); color: var(--text); }
header, nav, main, #said { max-width: 84rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 1rem; padding-top: 0.75rem; }
h1 { font-size: 1.15rem; margin: 0; }
h2 { font-size: 1rem; margin: 1.25rem 0 0.5rem; }
p { margin: 0.35rem 0; }
#status { color: var(--wait); margin: 0; }
#totals { margin: 0; font-variant-numeric: tabular-nums; }
#status[data-status='open'] { color: var(--good); }
#status[data-status='closed'] { color: var(--bad); }
.hint, #summary, #following { color: var(--faint); }
#said:empty { display: none; }
#said { padding-top: 0.5rem; font-weight: 600; }
#said[data-kind='bad'] { color: var(--bad); }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem; padding-top: 0.5rem; border-bottom: 1px solid var(--line); }
nav a { padding: 0.5rem 0.8rem; color: var(--text); text-decoration: none; border-bottom: 3px solid transparent; }
nav a[aria-current] { border-color: var(--accent); color: var(--accent); font-weight: 600; }
main { padding-bottom: 3rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 1px; }
button, input, select, textarea {
  font: inherit; color: inherit; background: var(--sheet);
  border: 1px solid var(--faint); border-radius: 4px; padding: 0.35rem 0.6rem; min-height: 2.25rem;
}
button { cursor: pointer; }
button[type='submit'], #yes { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
button:disabled { color: var(--faint); border-color: var(--line); cursor: default; }
.fields { display: flex; flex-wrap: wrap; gap: 0.5rem 0.75rem; align-items: end; }
.fields label { display: grid; gap: 0.15rem; color: var(--faint); }
.fields label > * { color: var(--text); }
.fields .check { display: flex; align-items: center; min-height: 2.25rem; gap: 0.4rem; }
.check input { min-height: 0; width: 1.1rem; height: 1.1rem; }
.fields .wide { flex-basis: 100%; }
.fields .wide textarea { width: 100%; max-width: 48rem; }
.buttons { display: flex; gap: 0.5rem; margin: 0.5rem 0; }
table { width: 100%; border-collapse: collapse; background: var(--sheet); border: 1px solid var(--line); }
th, td { text-align: start; vertical-align: top; padding: 0.35rem 0.6rem; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; white-space: pre-wrap; }
.number { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.actions { white-space: nowrap; padding: 0.15rem 0.6rem; }
td.actions button { min-height: 1.9rem; padding: 0.1rem 0.5rem; margin: 0.1rem 0.2rem 0.1rem 0; }
[data-state='good'] { color: var(--good); }
[data-state='wait'] { color: var(--wait); }
[data-state='bad'] { color: var(--bad); font-weight: 600; }
.groups { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0.75rem; }
.groups section { background: var(--sheet); border: 1px solid var(--line); padding: 0.5rem 0.75rem; }
.groups h3 { font-size: 0.9rem; margin: 0 0 0.25rem; color: var(--faint); }
.groups dl { display: grid; grid-template-columns: 1fr auto; margin: 0; gap: 0 0.75rem; }
.groups dd { margin: 0; text-align: end; font-variant-numeric: tabular-nums; }
#tailed {
  list-style: none; margin: 0; padding: 0; max-height: 50vh; overflow: auto;
  background: var(--sheet); border: 1px solid var(--line); min-height: 3rem;
}
#tailed li { padding: 0.35rem 0.6rem; border-bottom: 1px solid var(--line); }
#tailed li.note { color: var(--wait); }
#tailed b, #tailed span { overflow-wrap: anywhere; margin-inline-end: 0.75rem; }
#tailed span { color: var(--faint); }
#tailed pre { margin: 0.15rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.4 ui-monospace, monospace; }
dialog { background: var(--sheet); color: var(--text); border: 1px solid var(--faint); border-radius: 6px; max-width: 32rem; }
dialog::backdrop { background: rgb(0 0 0 / 0.5); }
dialog h2 { margin-top: 0; overflow-wrap: anywhere; }
@media (max-width: 44rem) {
  table, tbody, tr, td { display: block; }
  table { background: none; border: 0; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { background: var(--sheet); border: 1px solid var(--line); margin-bottom: 0.6rem; padding: 0.25rem 0; }
  td, td.number { border: 0; display: flex; justify-content: space-between; gap: 1rem; text-align: end; padding: 0.1rem 0.6rem; white-space: pre-wrap; }
  td::before { content: attr(data-label); color: var(--faint); flex: none; }
  td.actions { justify-content: end; padding-top: 0.35rem; }
  td.actions::before { content: none; }
  td.actions button { min-height: 2.5rem; padding: 0.3rem 0.8rem; }
  td:empty { display: none; }
  .fields label, .fields input:not([type='checkbox']), .fields select { width: 100%; }
  .fields .check { width: auto; }
}
`;
