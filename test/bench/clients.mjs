/** The clients of a benchmark, in a process of their own. It does what it is told over Node's IPC. */
import { once } from 'node:events';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { HEADERS, requestText } from './requests.mjs';

const STREAMS_PER_SESSION = 50;
/** Below the backlog of a listening socket. */
const CONNECTS_AT_ONCE = 200;

/** @type {{ received: string, isComplete: boolean }[]} */
let streams = [];
/** @type {(() => void)[]} */
let letGo = [];

const tasks = {
  /** Opens `count` streams, over the paths in turn; done when each has had its first bytes. */
  async open({ port, isHttp2, paths, count }) {
    for (let opened = 0; opened < count;) {
      const step = Math.min(isHttp2 ? STREAMS_PER_SESSION : CONNECTS_AT_ONCE, count - opened);
      const part = Array.from({ length: step }, (_, n) => paths[(opened + n) % paths.length]);
      const session = isHttp2 ? await openSession(port) : undefined;
      await Promise.all(
        part.map((path) => (session ? openOnSession(session, path) : openOnSocket(port, path))),
      );
      opened += step;
    }
  },

  /** How the streams have ended: in order, and each with a time of its own to come back. */
  ended() {
    const retries = streams.map(({ received }) => /[^]*^retry: (\d+)$/m.exec(received)?.[1]);
    return {
      complete: streams.filter(({ isComplete }) => isComplete).length,
      retries: new Set(retries).size,
    };
  },

  leave() {
    letGo.forEach((leave) => leave());
    streams = [];
    letGo = [];
  },

  /** Sends `count` requests, each socket its next one when the last was answered. */
  async request({ port, path, count, sockets }) {
    await Promise.all(
      Array.from({ length: sockets }, () => requestOnSocket(port, path, Math.ceil(count / sockets))),
    );
  },
};

process.on('message', ({ task, ...options }) => {
  void Promise.resolve(tasks[task](options)).then((answer) => process.send({ answer }));
});
process.send({ answer: 'ready' });

async function openOnSocket(port, path) {
  const stream = { received: '', isComplete: false };
  streams.push(stream);
  const socket = connect(port, '127.0.0.1');
  letGo.push(() => socket.destroy());
  socket.setEncoding('latin1').on('data', (text) => {
    stream.received += text;
    stream.isComplete = stream.received.endsWith('\r\n0\r\n\r\n');
  });
  socket.on('error', () => socket.destroy());
  socket.write(requestText(path));
  await once(socket, 'data');
}

async function openSession(port) {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => session.destroy());
  letGo.push(() => session.destroy());
  await once(session, 'connect');
  return session;
}

async function openOnSession(session, path) {
  const stream = { received: '', isComplete: false };
  streams.push(stream);
  const request = session.request({ ':path': path, ...HEADERS });
  request.setEncoding('latin1').on('data', (text) => (stream.received += text));
  request.on('end', () => (stream.isComplete = request.rstCode === 0));
  request.on('error', () => request.destroy());
  await once(request, 'data');
}

async function requestOnSocket(port, path, count) {
  const socket = connect(port, '127.0.0.1');
  const request = requestText(path);
  socket.write(request);
  let [chunk] = await once(socket, 'data');
  // All answers are alike, and each comes in one piece: it is small.
  const { length } = chunk;
  let answered = 1;
  await new Promise((resolve, reject) => {
    const next = () => (answered < count ? socket.write(request) : resolve());
    socket.on('data', (received) => {
      chunk = received;
      if (chunk.length !== length) {
        reject(new Error(`an answer of ${chunk.length} bytes, not ${length}: ${chunk}`));
      }
      answered += 1;
      next();
    });
    socket.on('error', reject);
    next();
  });
  socket.destroy();
}
