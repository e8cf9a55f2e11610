import { ask, isOff, turn } from './page.js';

const KEPT_STEPS = 12;
const TIME = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

const instance = document.querySelector('#instance');
const log = document.querySelector('#log');
const verdict = document.querySelector('#verdict');
const trail = document.querySelector('#trail');
const kill = document.querySelector('#kill');
let server;
/** When the stream was lost, and who had served it. */
let lost;
/** How it went on. */
let move;

kill.addEventListener('click', () => {
  if (isOff(kill)) {
    return;
  }
  turn(kill, false);
  move = undefined;
  verdict.value = `${server.name} is killed`;
  ask('POST', 'dashboard/kill', { instance: server.name }).catch(() => {
    verdict.value = 'The server cannot be reached';
    turn(kill, true);
  });
});

/** The colour of an instance, by its letter: neighbours differ most. */
export function colour(element, name) {
  const hue = (name.charCodeAt(0) - 65) * 137.5 + 265;
  element.style.setProperty('--hue', hue % 360);
  element.classList.add('of-instance');
}

/** The page is on that one now. */
export function showServer(now) {
  const isSame = now.process === server?.process;
  server = now;
  document.querySelector('#alone').hidden = now.name !== undefined;
  document.querySelector('#several').hidden = now.name === undefined;
  instance.value = [now.name, `process ${now.process}`]
    .filter(Boolean)
    .join(', ');
  if (!now.name) {
    return;
  }

  colour(instance, now.name);
  turn(kill, true);
  if (isSame) {
    return;
  }
  if (lost) {
    move = { from: lost.name, to: now.name, ms: Date.now() - lost.at };
  }
  lost = undefined;

  const step = document.createElement('li');
  step.textContent = now.name;
  step.title = `Process ${now.process}, from ${TIME.format(Date.now())}`;
  colour(step, now.name);
  trail.append(step);
  if (trail.childElementCount > KEPT_STEPS) {
    trail.firstElementChild.remove();
  }
}

/** The stream has ended, for now. */
export function showLost() {
  lost ??= { name: server?.name, at: Date.now() };
  turn(kill, false);
}

export function showLog({ state, reason, since }) {
  log.dataset.state = state;
  const from = TIME.format(new Date(since));
  log.value = `${state}${reason ? `: ${reason}` : ''}, since ${from}`;
}

/** @param {{ received: number, missing: number, twice: number, resets: number }} counts */
export function showCounts(counts) {
  for (const [name, count] of Object.entries(counts)) {
    const place = document.querySelector(`#${name}`);
    place.textContent = count;
    place.classList.toggle('bad', name !== 'received' && count > 0);
  }
  if (move) {
    verdict.value = `${told(move)} ${judged(counts)}`;
  }
}

function told({ from, to, ms }) {
  return `${from} was lost. ${(ms / 1000).toFixed(1)} s later the stream went on, on ${to}.`;
}

function judged({ missing, twice, resets }) {
  if (resets > 0) {
    return 'The log was reset.';
  }
  if (missing > 0) {
    return `${missing} events are missing.`;
  }
  return twice > 0 ? `${twice} came twice.` : 'Nothing is missing.';
}
