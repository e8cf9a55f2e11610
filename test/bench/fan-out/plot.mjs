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
 * @param {{ title: string, x: number[], lines: Record<string, number[]> }[]} charts
 * @param {(id: string) => string} nameOf
 * @returns {Promise<string>} what to say of it
 */
export async function drawCharts(file, charts, nameOf) {
  const executablePath = findChromium();
  if (executablePath === undefined)
    return '**No picture**: there is no Chromium to draw it (set CHROMIUM to its path).';
  const ids = Object.keys(charts[0].lines);
  const described = charts.map(({ title, x, lines }) => ({
    title: `CPU of the server by ${title}`,
    x,
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
    const page = await browser.newPage({ viewport: { width: 1_560, height: 620 } });
    await page.setContent(
      `<style>${readFileSync(`${UPLOT}/dist/uPlot.min.css`, 'utf8')}
        body { margin: 0; font: 13px sans-serif } #charts { display: flex; padding: 12px } .u-legend { font-size: 12px; text-align: left }
        .u-legend .u-value { display: none } .u-legend tr { display: block }
      </style><div id="charts"></div>`,
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
  for (const { title, x, lines } of charts) {
    const options = {
      title,
      width: 500,
      height: 360,
      scales: { x: { time: false, distr: 3 }, y: { range: (_, __, max) => [0, max * 1.05] } },
      axes: [
        { splits: () => x, values: (_, splits) => splits.map((value) => value.toLocaleString('en')) },
        { label: 'µs for each delivered event' },
      ],
      series: [
        {},
        ...lines.map(({ name, colour }) => ({
          label: name,
          stroke: colour,
          width: 2,
          points: { show: true, size: 6 },
        })),
      ],
    };
    void new uPlot(options, [x, ...lines.map(({ values }) => values)], document.querySelector('#charts'));
  }
}
