import { SseClient } from 'nestjs-event-stream/client';
import { chartIn } from './chart.js';
import { GapCheck } from './gap-check.js';
import {
  colour,
  showCounts,
  showLog,
  showLost,
  showServer,
} from './instance.js';
import { allowOrders, showArrival } from './orders.js';
import { ask, client, isOff, listIn, showCode, turn } from './page.js';

const METRICS = {
  loopDelay: {
    unit: 'ms',
    digits: 1,
    says: 'By how much timers were late: 99 of 100, in milliseconds',
  },
  memory: { unit: 'MB', says: 'Memory of the process, in megabytes' },
  connections: { unit: '', says: 'Streams that the server holds open' },
  events: {
    unit: '/s',
    says: 'Events published a second, on all topics, by all instances',
  },
  waiting: {
    unit: 'KB',
    says: 'Bytes in the process that wait for clients, in kilobytes',
  },
  saved: {
    unit: 'KB',
    digits: 1,
    says: 'What compression has saved since the process started, in kilobytes',
  },
};
const KEPT_MS = 70_000;
const FRAME_MS = 250;
const STATUS_TEXTS = {
  connecting: 'Asks for the stream',
  open: 'Connected',
  waiting: 'No connection. The client comes back by itself',
  closed: 'The server has ended it',
};

const metrics = document.querySelector('#metrics');
const caption = document.querySelector('#caption');
const points = document.querySelector('#points');
const state = document.querySelector('#state');
const outage = document.querySelector('#outage');
const addRow = listIn(document.querySelector('#events'));
const drawMetric = chartIn(document.querySelector('#chart'), [
  { color: 'accent', width: 2, points: { show: false } },
  { color: 'wait', width: 3, points: { show: false } },
]);

const samples = [];
const gaps = new GapCheck();
let replayed = 0;
let resets = 0;
/** The server's clock may be another. */
let clockOffset = 0;

// #region dashboard
let lastEventId;
let server = {};
let isReplay = false;

const sse = new SseClient({ retry: { maxMs: 2000 } });
const feed = sse.follow(`/dashboard/events?client=${client}`, undefined, {
  onStatus(status) {
    isReplay = status === 'open';
    show(status, STATUS_TEXTS[status]);
    if (status === 'waiting') {
      showLost();
    }
  },

  // What it does about it, the next status says.
  onError: ({ code, message }) => show('error', `${code}: ${message}`),

  // Something is missing that cannot be replayed: the server was restarted.
  onReset(reason) {
    resets += 1;
    gaps.startAnew();
    breakLine();
    show('reset', `The log cannot go on from there (${reason})`);
  },
});

// Which of several instances it is on, and how the log of that one fares.
feed.on('instance', (now) => {
  server = now;
  showServer(now);
  allowOrders(now.hasDatabase);
  show('instance', `Served by ${now.name ?? 'process'} (${now.process})`);
});
feed.on('log', showLog);

// Of a transaction that has committed, and of no other.
feed.on('placed', (order, { id }) => {
  lastEventId = id;
  showArrival(order, { id });
  show('placed', `Order ${order.id}: ${order.item}`, id);
});

feed.on('sample', (sample, { id }) => {
  lastEventId = id;
  take(sample);
});

// The server sends it behind all that it replays.
feed.on('live', () => {
  isReplay = false;
  gaps.knowAll();
  show('live', 'From here on as it happens');
});
// #endregion

outage.addEventListener('click', () => {
  if (isOff(outage)) {
    return;
  }
  show('page', 'The network is down for ten seconds');
  ask('POST', 'dashboard/outage').catch(() =>
    show('page', 'The server cannot be reached'),
  );
});

setInterval(draw, FRAME_MS);
for (const pre of document.querySelectorAll('pre')) {
  void showCode(pre, pre.dataset.region);
}

function take(sample) {
  gaps.take(sample);
  if (isReplay) {
    replayed += 1;
  } else {
    clockOffset = sample.at - Date.now();
  }

  samples.push({ ...sample, isReplay });
  while (samples[0].at < sample.at - KEPT_MS) {
    samples.shift();
  }

  const age = (Date.now() + clockOffset - sample.at) / 1000;
  const name = [sample.instance, sample.n].join(' ').trim();
  const row = addRow('sample', {
    text: isReplay ? `${name}, ${age.toFixed(1)} s late` : name,
    state: isReplay ? 'replayed' : 'live',
    id: lastEventId,
  });
  row.classList.toggle('replayed', isReplay);
  if (sample.instance) {
    colour(row, sample.instance);
  }
  if (!isReplay && sample.instance === server.name) {
    showNumbers(sample);
  }
}

/** What comes next does not follow what was there. */
function breakLine() {
  if (samples.length > 0) {
    samples.push({ at: samples.at(-1).at + 1 });
  }
}

function showNumbers(sample) {
  for (const [name, { unit, digits = 0 }] of Object.entries(METRICS)) {
    const number = metrics.querySelector(`[value=${name}] ~ strong`);
    number.textContent = `${sample[name].toFixed(digits)} ${unit}`.trim();
  }
}

function show(kind, text, id) {
  const { status } = feed;
  addRow(kind, { text, state: status, id });
  state.dataset.status = status;
  state.value = status.replace(/^./, (letter) => letter.toUpperCase());
  turn(outage, status === 'open');
}

function draw() {
  const now = (Date.now() + clockOffset) / 1000;
  const metric = metrics.elements.metric.value;
  // The samples of this instance alone, and the breaks, which have no instance.
  const drawn = samples.filter(
    ({ n, instance }) => !n || instance === server.name,
  );
  drawMetric(
    [
      drawn.map(({ at }) => at / 1000),
      drawn.map((sample) => sample[metric] ?? null),
      drawn.map((sample) =>
        sample.isReplay ? (sample[metric] ?? null) : null,
      ),
    ],
    now,
  );
  caption.textContent = METRICS[metric].says;
  points.value = `${replayed} replayed, ${gaps.missing} missing`;
  const { received, missing, twice } = gaps;
  showCounts({ received, missing, twice, resets });
}
