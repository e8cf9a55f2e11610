import { chartIn } from './chart.js';
import { isOff, turn } from './page.js';
import { ParcelClient } from './parcel-client.js';

const PARCEL_MB = 4_096 / 1e6;
const KEPT_SECONDS = 70;
const FRAME_MS = 250;

const startButton = document.querySelector('#start');
const readButton = document.querySelector('#read');
const latest = document.querySelector('#latest');
const drawLag = chartIn(document.querySelector('#lag'), [
  { color: 'wait', width: 2, points: { show: false } },
]);
let lags = [];
let fast;
let slow;

startButton.addEventListener('click', () => {
  if (slow) {
    stop();
  } else {
    start();
  }
});
readButton.addEventListener('click', () => {
  if (isOff(readButton)) {
    return;
  }
  if (slow.isReading) {
    slow.stopReading();
  } else {
    slow.readOn();
  }
  showButtons();
});
latest.addEventListener('change', () => {
  if (!slow) {
    return;
  }
  stop();
  start();
});
addEventListener('pagehide', stop);
setInterval(show, FRAME_MS);

function start() {
  lags = [];
  fast = new ParcelClient({ latest: false });
  slow = new ParcelClient({ latest: latest.checked });
  showButtons();
}

function stop() {
  fast?.close();
  slow?.close();
  fast = slow = undefined;
  showButtons();
}

function showButtons() {
  startButton.textContent = slow ? 'Stop both clients' : 'Start two clients';
  readButton.textContent =
    slow?.isReading === false ? 'Read on' : 'Stop reading';
  turn(readButton, slow !== undefined);
}

function show() {
  const now = Date.now() / 1000;
  if (fast?.parcels.received && slow?.parcels.received) {
    showClient('fast', fast, fast.parcels.behind(slow.parcels));
    const lag = slow.parcels.behind(fast.parcels);
    showClient('slow', slow, lag);
    lags.push({ at: now, lag });
  }
  lags = lags.filter(({ at }) => at > now - KEPT_SECONDS);
  drawLag([lags.map(({ at }) => at), lags.map(({ lag }) => lag)], now);
}

function showClient(name, client, lag) {
  const { parcels, position, reset, state, isReading } = client;
  const shown = {
    read: parcels.received,
    behind: lag === 0 ? '0' : `${lag} (${(lag * PARCEL_MB).toFixed(1)} MB)`,
    missing: reset ? `Unknown: ${reset}` : parcels.missing,
    place: position,
    state: isReading ? state : 'Not read',
  };
  for (const [key, value] of Object.entries(shown)) {
    const place = `[data-client=${name}][data-shows=${key}]`;
    document.querySelector(place).textContent = value;
  }
}
