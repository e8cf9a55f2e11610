import uPlot from 'uplot';

const SECONDS = 60;
const HEIGHT = 200;
const CLOCK = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/**
 * The last minute of some values, with uPlot, in the page's own colours.
 *
 * @param {HTMLElement} place
 * @param {uPlot.Series[]} series each with the name of its colour
 * @returns {(data: uPlot.AlignedData, now: number) => void} times in seconds
 */
export function chartIn(place, series) {
  let now = Date.now() / 1000;
  const width = () => ({ width: place.clientWidth, height: HEIGHT });
  const axis = { stroke: color('soft'), grid: line(), ticks: line() };

  const plot = new uPlot(
    {
      ...width(),
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { range: () => [now - SECONDS, now] },
        y: { range: (_, min, max) => [0, Math.max(1, 1.2 * max)] },
      },
      axes: [
        {
          ...axis,
          space: 80,
          size: 32,
          values: (_, times) => times.map(clock),
        },
        { ...axis, size: 56 },
      ],
      series: [{}, ...series.map((one) => ({ ...one, ...colors(one) }))],
    },
    [[], ...series.map(() => [])],
    place,
  );
  new ResizeObserver(() => plot.setSize(width())).observe(place);

  return (data, time) => {
    now = time;
    plot.setData(data);
  };
}

function colors({ color: name, points = {} }) {
  return {
    stroke: color(name),
    points: { ...points, stroke: color(name), fill: color(name) },
  };
}

// Asked for with each drawing: the page may turn dark while it is open.
function color(name) {
  return () =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
}

function line() {
  return { stroke: color('line'), width: 1 };
}

function clock(seconds) {
  return CLOCK.format(seconds * 1000);
}
