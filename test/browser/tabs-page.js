/** The script of the pages that tabs.spec.ts opens: checks that each event follows what the page knows. */
import { SseClient } from 'nestjs-event-stream/client';

const [, , page] = location.pathname.split('/');
const epochOf = (id) => id.split('-')[0];

const faults = [];
let known = {};
let own = 0;
let at = '';
let lastAt = performance.now();
let gapMs = 0;

const client = new SseClient({ shareTabs: 'tabs', identity: 'ann', retry: { minMs: 20, maxMs: 200 } });
const feed = client.follow('/events', undefined, {
  envelope: true,
  state: async ({ signal }) => {
    const response = await fetch('/state', { signal });
    const state = await response.json();
    at = state.at;
    return state;
  },
  onState: (counts) => {
    known = { ...counts };
    own = known[`p.${page}`] ?? 0;
  },
});
const take = (count, { topic, id }) => {
  gapMs = Math.max(gapMs, performance.now() - lastAt);
  lastAt = performance.now();
  // A state of a log that the stream has not reached: a reset is to come.
  if (epochOf(id) !== epochOf(at)) {
    return;
  }
  if (count !== (known[topic] ?? 0) + 1) {
    faults.push(`${topic}: ${count} after ${known[topic]} (${id}, state at ${at})`);
  }
  known[topic] = count;
};
feed.on('message', take);
feed.only(`p.${page}`).on('message', (count, { topic, id }) => {
  if (topic !== `p.${page}` || (epochOf(id) === epochOf(at) && count !== own + 1)) {
    faults.push(`only ${topic}: ${String(count)} after ${own}`);
  }
  own = count;
});

let fromCache = 0;
addEventListener('pageshow', ({ persisted }) => (fromCache += persisted ? 1 : 0));

function report() {
  const total = Object.values(known).reduce((sum, count) => sum + count, 0);
  return {
    faults,
    total,
    fromCache,
    leads: client.sharing.leads,
    reason: client.sharing.reason,
    status: feed.status,
  };
}
globalThis.tab = {
  report,
  /** The longest time without an event since it was asked last. */
  takeGapMs: () => {
    const longest = Math.max(gapMs, performance.now() - lastAt);
    gapMs = 0;
    return longest;
  },
  /** Resolves when the next event has come. */
  nextEvent: async () => {
    let forget;
    await new Promise((resolve) => (forget = feed.on('message', resolve)));
    forget();
  },
};
async function tell() {
  const response = await fetch(`/report/${name}/${encodeURIComponent(JSON.stringify(report()))}`);
  const { order } = await response.json();
  if (order === 'leave') {
    location.href = '/elsewhere';
  } else if (order === 'reload') {
    location.reload();
  }
}
// For a browser without a driver.
const name = new URLSearchParams(location.search).get('name');
if (name) {
  setInterval(() => void tell(), 200);
}
