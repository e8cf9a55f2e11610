import { highlight } from './highlight.js';

const TIME = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});
const KEPT_ROWS = 200;

/** The server tells this page's connections by it. */
export const client = Math.random().toString(36).slice(2);

export async function ask(method, path, parameters, body) {
  const query = new URLSearchParams({ client, ...parameters });
  const answer = await fetch(`/${path}?${query}`, {
    method,
    body: body && JSON.stringify(body),
    headers: body ? { 'Content-Type': 'application/json' } : {},
  });
  if (!answer.ok) {
    throw new Error(`${method} /${path}: ${answer.status}`);
  }
  return answer;
}

/** Shows the code that runs, read by the server from its source. */
export async function showCode(pre, name) {
  pre.dataset.name = name;
  const code = await ask('GET', `source/${name}`)
    .then((answer) => answer.text())
    .catch(() => '// The server cannot be reached');
  // An answer may come after that to a later question.
  if (pre.dataset.name === name) {
    pre.replaceChildren(...highlight(code));
  }
}

/** Adds rows to a list that scrolls along, unless somebody has scrolled up. */
export function listIn(region) {
  const rows = region.querySelector('ol');
  let following = true;
  let top = 0;

  region.addEventListener('scroll', () => {
    const { scrollTop, scrollHeight, clientHeight } = region;
    if (scrollTop < top) {
      following = false;
    }
    if (scrollHeight - scrollTop - clientHeight < 8) {
      following = true;
    }
    top = scrollTop;
  });

  return (kind, { state, text, id }) => {
    const row = document.createElement('li');
    row.className = kind;
    row.append(
      element('time', TIME.format(Date.now())),
      element('strong', kind),
      element('code', state),
      element('span', text),
    );
    if (id) {
      row.append(element('small', id));
    }

    rows.append(row);
    // A stream may never end, the browser's memory does.
    if (rows.childElementCount > KEPT_ROWS) {
      rows.firstElementChild.remove();
    }
    if (following) {
      region.scrollTop = region.scrollHeight;
    }
    return row;
  };
}

// `disabled` would take the focus from the button that was just pressed.
export function turn(button, on) {
  button.setAttribute('aria-disabled', String(!on));
}

export function isOff(button) {
  return button.getAttribute('aria-disabled') === 'true';
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
