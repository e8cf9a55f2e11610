import { Answer } from './answer.js';
import { ask, client, isOff, showCode, turn } from './page.js';
import { RunClient } from './run-client.js';
import { askAsUsual } from './usual-client.js';

const RETRY_MS = 1000;

const form = document.querySelector('#question');
const stop = document.querySelector('#stop');
const drop = document.querySelector('#drop');
const second = document.querySelector('#second');
const killServing = document.querySelector('#kill-serving');
const killMaking = document.querySelector('#kill-making');
const run = new Answer(document.querySelector('#run'), showButtons);
const usual = new Answer(document.querySelector('#usual'), showButtons);

/** Of the run. A reload, and a second tab, find it in the address. */
let id = location.hash.slice(1);
let runClient;
let leaving;
let counting;
let retry;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  leave();
  id = newId();
  history.replaceState(null, '', `#${id}`);
  run.startAnew();
  usual.startAnew();
  count();

  const { text, tokens, orphanMs, behaviour } = form.elements;
  const question = {
    text: text.value,
    tokens: Number(tokens.value),
    orphanMs: Number(orphanMs.value),
    behaviour: behaviour.value,
  };
  runClient = new RunClient(id, client, run);
  void runClient.ask({ ...question, id });
  leaving = new AbortController();
  void askAsUsual(
    { ...question, id: `usual-${id}` },
    client,
    usual,
    leaving.signal,
  );
});

onClick(stop, () => {
  runClient.stop().catch(() => run.state('wait', 'It cannot be stopped now'));
  leaving?.abort();
});
onClick(document.querySelector('#reload'), () => location.reload());
onClick(drop, () => {
  ask('POST', 'drop').catch(() => run.state('wait', 'It cannot be reached'));
});
onClick(second, () => open(location.href));
onClick(killServing, () => kill(run.servedBy));
onClick(killMaking, () => kill(run.madeBy));

// A page that is kept for the back button would keep its streams, too. The
// run's client sees to its own.
addEventListener('pagehide', leaveOthers);
addEventListener('pageshow', (event) => {
  if (event.persisted && id) {
    count();
  }
});
// A browser opens six connections at once, for all tabs together: a hidden tab needs no counts.
document.addEventListener('visibilitychange', () => {
  counting?.close();
  if (id && !document.hidden) {
    count();
  }
});

start();
for (const pre of document.querySelectorAll('pre')) {
  void showCode(pre, pre.dataset.region);
}

/** Of a page that was reloaded, or that is a second tab: there is an answer. */
function start() {
  void showModel();
  if (!id) {
    return;
  }
  count();
  runClient = new RunClient(id, client, run);
  void runClient.resume();
  usual.state('none', 'Lost. There is nothing to come back to');
}

function leave() {
  runClient?.leave();
  leaveOthers();
}

function leaveOthers() {
  counting?.close();
  clearTimeout(retry);
  leaving?.abort();
}

/** What is made and what is sent, of both, by all processes. */
function count() {
  const query = new URLSearchParams({ client });
  for (const answer of [id, `usual-${id}`]) {
    query.append('answer', answer);
  }
  counting?.close();
  counting = new EventSource(`/counts?${query}`);
  counting.addEventListener('counts', (event) => {
    const counts = JSON.parse(event.data);
    (counts.answer === id ? run : usual).count(counts);
  });
  counting.addEventListener('end', (event) => {
    run.end(JSON.parse(event.data).reason);
  });
  counting.addEventListener('error', ({ target }) => {
    // A proxy that reaches no instance answers 502, and to an EventSource that is the end.
    if (target.readyState === EventSource.CLOSED) {
      retry = setTimeout(count, RETRY_MS);
    }
  });
}

function kill(instance) {
  ask('POST', 'dashboard/kill', { instance }).catch(() =>
    run.state('wait', 'It cannot be reached'),
  );
}

async function showModel() {
  try {
    const answer = await ask('GET', 'counts/model');
    const { model, hasInstances } = await answer.json();
    document.querySelector('#model').textContent = model
      ? `Answered by ${model}.`
      : 'Answered by a small generator on the server, which needs no key.';
    form.elements.behaviour.disabled = model !== undefined;
    document.querySelector('#alone').hidden = hasInstances;
    document.querySelector('#several').hidden = !hasInstances;
  } catch {
    retry = setTimeout(() => void showModel(), RETRY_MS);
  }
}

function showButtons() {
  turn(stop, !run.isOver || !usual.isOver);
  turn(drop, !run.isOver || !usual.isOver);
  turn(second, id !== '');
  turn(killServing, !run.isOver && run.servedBy);
  turn(killMaking, !run.isOver && run.madeBy);
}

function onClick(button, listener) {
  button.addEventListener('click', () => {
    if (!isOff(button)) {
      listener();
    }
  });
}

// Too long to be guessed. randomUUID() is for https and localhost alone.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(
    '',
  );
}
