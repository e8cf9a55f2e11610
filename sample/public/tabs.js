import { SseClient } from 'nestjs-event-stream/client';
import { GapCheck } from './gap-check.js';
import { listIn, showCode } from './page.js';

const COUNT_MS = 500;
const TAB_LOCK = 'sample-tab:';

const role = document.querySelector('#role');
const addRow = listIn(document.querySelector('#events'));
const gaps = new GapCheck();
/** The server counts the streams of this browser by it. */
const browser = (localStorage['sample-browser'] ??= Math.random()
  .toString(36)
  .slice(2));

// #region tabs
const sse = new SseClient({ shareTabs: 'sample' });
// Of all tabs with the same URL one holds the stream.
const feed = sse.follow(`/tabs/events?client=${browser}`, undefined, {
  onStatus: (status) => show(status, 'The stream of all tabs'),
  onReset: (reason) => {
    gaps.startAnew();
    show('reset', reason);
  },
});
feed.on('sample', (sample, { id }) => {
  gaps.take(sample);
  show('sample', [sample.instance, sample.n].join(' ').trim(), id);
});
// #endregion

const others = new BroadcastChannel('sample-tabs');
others.addEventListener('message', closeIfLeading);
document.querySelector('#open').addEventListener('click', () => {
  open(location.href);
});
document.querySelector('#close').addEventListener('click', () => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has one origin
  others.postMessage('close');
  closeIfLeading();
});

// A lock ends with its tab, however that ends: so they can be counted.
void navigator.locks?.request(
  TAB_LOCK + Math.random(),
  () => new Promise(() => undefined),
);
setInterval(() => void count(), COUNT_MS);
for (const pre of document.querySelectorAll('pre')) {
  void showCode(pre, pre.dataset.region);
}

function closeIfLeading() {
  if (sse.sharing.leads > 0) {
    close();
  }
}

function show(kind, text, id) {
  addRow(kind, { text, state: feed.status, id });
  const { received, missing, twice } = gaps;
  for (const [name, count] of Object.entries({ received, missing, twice })) {
    const place = document.querySelector(`#${name}`);
    place.textContent = count;
    place.classList.toggle('bad', name !== 'received' && count > 0);
  }
}

async function count() {
  const { isShared, reason, leads } = sse.sharing;
  if (!isShared) {
    role.value = `Not shared: ${reason}`;
  } else {
    role.value = leads > 0 ? 'Leads' : 'Follows';
  }
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  const tabs = held.filter(({ name }) => name.startsWith(TAB_LOCK));
  document.querySelector('#tabs').textContent = tabs.length;
  try {
    const answer = await fetch(`/connections?client=${browser}`);
    const { yours } = await answer.json();
    document.querySelector('#streams').textContent = yours;
  } catch {
    document.querySelector('#streams').textContent = '–';
  }
}
