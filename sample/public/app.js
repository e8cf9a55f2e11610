import { ask, client, isOff, listIn, showCode, turn } from './page.js';

const STATES = ['CONNECTING', 'OPEN', 'CLOSED'];

const endpoints = document.querySelector('#endpoints');
const reconnect = document.querySelector('#reconnect');
const disconnect = document.querySelector('#disconnect');
const drop = document.querySelector('#drop');
const state = document.querySelector('#state');
const held = document.querySelector('#held');
const addRow = listIn(document.querySelector('#events'));
let counting;

// #region browser
let source;

function open(endpoint) {
  source = new EventSource(`/sse/${endpoint}?client=${client}`);

  source.addEventListener('open', () => show('open', 'Connected'));

  source.addEventListener('message', (event) => {
    const { message } = JSON.parse(event.data);
    show('message', message, event.lastEventId);
  });

  // With data it is an event that the server sent: its stream has failed.
  // Without, it says nothing of the cause; readyState says what comes next.
  source.addEventListener('error', (event) => {
    if (event.data) {
      show('error', event.data);
    } else if (source.readyState === EventSource.CONNECTING) {
      show('error', 'Lost or ended. The browser tries again');
    } else {
      show('error', 'A 204, or no stream. It is over');
    }
  });
}

// A page kept for the back button would keep its stream open, too.
addEventListener('pagehide', () => source.close());
// #endregion

addEventListener('pageshow', (event) => {
  if (event.persisted) {
    start();
  }
});
endpoints.addEventListener('change', start);
reconnect.addEventListener('click', start);
disconnect.addEventListener('click', () => {
  if (isOff(disconnect)) {
    return;
  }
  source.close();
  show('page', 'source.close()');
});
drop.addEventListener('click', () => {
  if (isOff(drop)) {
    return;
  }
  show('page', 'The server is asked to cut the connection');
  ask('POST', 'drop').catch(() => show('page', 'It cannot be reached'));
});

start();
void showCode(document.querySelector('#browser-code'), 'browser');

/** Opens the chosen endpoint, as a client that has seen nothing yet. */
function start() {
  const endpoint = endpoints.elements.endpoint.value;
  source?.close();
  open(endpoint);
  show('page', `new EventSource('/sse/${endpoint}')`);
  void showCode(document.querySelector('#server-code'), endpoint);
}

/** Adds a row, with the time and the readyState of this moment. */
function show(kind, text, id) {
  const { readyState } = source;
  addRow(kind, {
    state: `${readyState} ${STATES[readyState]}`,
    text,
    id: id && `id ${id}`,
  });
  if (kind !== 'message') {
    showState(kind);
  }
}

function showState(kind) {
  const { readyState } = source;
  state.dataset.readyState = readyState;
  if (readyState === EventSource.OPEN) {
    state.value = 'Open';
  } else if (readyState === EventSource.CLOSED) {
    state.value =
      kind === 'page' ? 'Closed by this page' : 'Closed by the server';
  } else {
    state.value = kind === 'error' ? 'Connecting again' : 'Connecting';
  }

  turn(disconnect, readyState !== EventSource.CLOSED);
  turn(drop, readyState === EventSource.OPEN);

  // A moment later, when the server has noticed it as well.
  clearTimeout(counting);
  counting = setTimeout(() => void showHeld(), 300);
}

async function showHeld() {
  try {
    const { instance, yours } = await ask('GET', 'connections').then((answer) =>
      answer.json(),
    );
    // Of several, any may have answered.
    const who = instance ? `Instance ${instance}` : 'The server';
    held.value = `${who} holds ${yours} ${yours === 1 ? 'stream' : 'streams'} for this page`;
  } catch {
    held.value = 'The server cannot be reached';
  }
}
