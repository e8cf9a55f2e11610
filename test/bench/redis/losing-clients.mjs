/** Clients that keep what they get, and each sign that something is missing. They do what they are told over Node's IPC. */
import { EventSource } from 'eventsource';
import { io } from 'socket.io-client';

/** What each has had, in order: numbers, and null for a sign that something is missing. */
const clients = [];

const tasks = {
  async open({ kind, port, count }) {
    const open = kind === 'socket.io' ? openSocket : openStream;
    await Promise.all(Array.from({ length: count }, () => open(port)));
  },

  /** How many events all have had together. */
  count: () => clients.reduce((sum, history) => sum + history.length, 0),

  clients: () => clients,
};

process.on('message', ({ task, ...options }) => {
  void Promise.resolve(tasks[task](options)).then((answer) => process.send({ answer }));
});
process.send({ answer: 'ready' });

function add() {
  const history = [];
  clients.push(history);
  return history;
}

function openStream(port) {
  const history = add();
  const stream = new EventSource(`http://127.0.0.1:${port}/events`);
  stream.addEventListener('message', ({ data }) => history.push(Number(data)));
  stream.addEventListener('reset', () => history.push(null));
  return new Promise((resolve) => stream.addEventListener('open', resolve, { once: true }));
}

function openSocket(port) {
  const history = add();
  const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'] });
  socket.on('event', (n) => history.push(n));
  let isFirst = true;
  return new Promise((resolve) => {
    socket.on('connect', () => {
      // Socket.IO says so itself: what was missed has not come.
      if (!isFirst && !socket.recovered) {
        history.push(null);
      }
      isFirst = false;
      resolve();
    });
  });
}
