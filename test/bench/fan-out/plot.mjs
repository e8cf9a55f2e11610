/** Draws charts side by side into a PNG: uPlot, in the system's Chromium. */
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { chromium } from 'playwright-core';
import { findChromium } from './chromium.mjs';

const UPLOT = dirname(createRequire(import.meta.url).resolve('uplot/package.json'));
const COLOURS = ['#888888', '#d6336c', '#f08c00', '#2b8a3e', '#1971c2', '#6741d9', '#0b7285'];

/**
 * @param {string} file
 * @param {object[]} charts - each with a `title`, what is on its axes as `x`, of numbers or of names, and as `y`, and
 *   `lines`: the values of each id
 * @param {(id: string) => string} nameOf
 * @returns {Promise<string>} what to say of it
 */
export async function drawCharts(file, charts, nameOf) {
  const executablePath = findChromium();
  if (executablePath === undefined) {
    return '**No picture**: there is no Chromium to draw it (set CHROMIUM to its path).';
  }
  const ids = Object.keys(charts[0].lines);
  const described = charts.map(({ title, x, y, lines }) => ({
    title,
    x,
    y,
    lines: Object.entries(lines).map(([id, values]) => ({
      name: nameOf(id),
      values,
      colour: COLOURS[ids.indexOf(id)],
    })),
  }));
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1_560, height: 500 } });
    await page.setContent(
      `<style>${readFileSync(`${UPLOT}/dist/uPlot.min.css`, 'utf8')}
        body { margin: 12px; font: 13px sans-serif }
        #charts, #legend { display: flex; flex-wrap: wrap; justify-content: center }
        #charts > * { flex: none }
        #legend span { margin: 8px 12px; padding-left: 6px; border-left: 14px solid }
        .u-title { font-size: 14px }
      </style><div id="charts"></div><div id="legend"></div>`,
    );
    await page.addScriptTag({ content: readFileSync(`${UPLOT}/dist/uPlot.iife.min.js`, 'utf8') });
    await page.evaluate(draw, described);
    mkdirSync(dirname(file), { recursive: true });
    await page.screenshot({ path: file });
  } finally {
    await browser.close();
  }
  return `The picture: ${file}`;
}

/** Runs in the page. */
function draw(charts) {
  const { uPlot, document } = globalThis;
  const maxOf = (unit) =>
    Math.max(
      ...charts.filter(({ y }) => y === unit).flatMap(({ lines }) => lines.flatMap(({ values }) => values)),
    );
  for (const { title, x, y, lines } of charts) {
    const at = x.map((value, n) => (typeof value === 'number' ? Math.log10(value) : n / 2));
    const options = {
      title,
      width: 500,
      height: 360,
      legend: { show: false },
      scales: {
        x: { time: false, range: [at[0] - 0.1, at.at(-1) + 0.1] },
        y: { range: [0, maxOf(y) * 1.05] },
      },
      axes: [{ splits: () => at, values: () => x.map((value) => value.toLocaleString('en')) }, { label: y }],
      series: [
        {},
        ...lines.map(({ colour }) => ({ stroke: colour, width: 2, points: { show: true, size: 6 } })),
      ],
    };
    void new uPlot(options, [at, ...lines.map(({ values }) => values)], document.querySelector('#charts'));
  }
  for (const { name, colour } of charts[0].lines) {
    const entry = document.createElement('span');
    entry.textContent = name;
    entry.style.borderColor = colour;
    document.querySelector('#legend').append(entry);
  }
  // It draws in the next microtask; the frame after that shows it.
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}
