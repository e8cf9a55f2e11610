import { ask, isOff, turn } from './page.js';

const KEPT_ROWS = 8;
const ENDS = { commit: 'committed', rollback: 'rolled back' };

const form = document.querySelector('#order');
const rows = document.querySelector('#orders tbody');

form.addEventListener('submit', (submission) => {
  submission.preventDefault();
  const { submitter } = submission;
  if (isOff(submitter)) {
    return;
  }
  // Not form.elements.item, which is a method of every collection.
  void place(new FormData(form).get('item'), submitter.value);
});

async function place(item, end) {
  turnButtons(false);
  try {
    const answer = await ask('POST', 'orders', undefined, { item, end });
    // The event may have arrived before this answer.
    rowOf(await answer.json()).cells[1].textContent = ENDS[end];
  } catch {
    rowOf({ id: '–', item }).cells[1].textContent = 'failed';
  } finally {
    turnButtons(true);
  }
}

/** Turns the buttons on if the log is in the database that has the orders. */
export function allowOrders(hasDatabase) {
  document.querySelector('#no-database').hidden = hasDatabase;
  turnButtons(hasDatabase);
}

/** Shows that the event of an order has arrived. Another page may have placed that order. */
export function showArrival(order, { id }) {
  const [, , event] = rowOf(order).cells;
  const place = document.createElement('small');
  place.textContent = id;
  event.replaceChildren('arrived', place);
  event.dataset.state = 'arrived';
}

/** Returns the row of an order. It adds one above the others if there is none. */
function rowOf({ id, item }) {
  const shown = [...rows.rows].find(({ dataset }) => dataset.order === id);
  if (shown) {
    return shown;
  }
  const row = rows.insertRow(0);
  row.dataset.order = id;
  for (const text of [`${id} ${item}`, 'not by this page', 'none']) {
    row.insertCell().textContent = text;
  }
  row.cells[2].dataset.state = 'none';
  if (rows.rows.length > KEPT_ROWS) {
    rows.deleteRow(-1);
  }
  return row;
}

function turnButtons(on) {
  for (const button of form.querySelectorAll('button')) {
    turn(button, on);
  }
}
