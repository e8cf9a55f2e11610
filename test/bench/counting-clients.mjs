/**
 * Clients that count the events that they get, and do as little else as they can: they look for the one byte that
 * each event has once. In a process of their own, which does what it is told over Node's IPC.
 */
import { connect } from 'node:net';
import { CompressedBody, isWarm } from './body.mjs';
import { requestText } from './requests.mjs';

/** `~`: in the data of every event, and nowhere else. */
const MARK = 0x7e;
/** Below the backlog of a listening socket. */
const CONNECTS_AT_ONCE = 200;
/** One for all: whoever reads is done with it before the next one does. */
const buffer = Buffer.allocUnsafe(65_536);

const sockets = [];
/** Events of each client. */
const counts = [];
let total = 0;
/** Bytes that all sockets have had, with what belongs to HTTP. */
let wireBytes = 0;
/** Of compressed responses, while they are counted: chunks, and those of them that refer to what came before. */
let chunks;
/** What is waited for: a total, and who is told. */
let awaited = Infinity;
let onReached = () => undefined;
/** Microseconds from publish to here, where they are wanted. */
let delays;

const tasks = {
  /**
   * Opens `count` streams, numbered from `first`; done when each has had its first bytes.
   *
   * @param options.client - a name that all of them have instead
   * @param options.topics - where the client says what it follows
   * @param options.stall - whether they read nothing after that
   * @param options.lastEventId - what they bring back; an array where each brings another
   * @param options.decodes - if the responses are compressed: of how many clients one decodes and counts its own
   */
  async open({ port, path, topics, client: name, first, count, stall, lastEventId, decodes }) {
    for (let opened = 0; opened < count; opened += CONNECTS_AT_ONCE) {
      const step = Math.min(CONNECTS_AT_ONCE, count - opened);
      const opening = Array.from({ length: step }, (_, n) => {
        const client = first + opened + n;
        const query = topics ? `topics=${listTopics(client, topics)}` : `client=${name ?? client}`;
        const id = Array.isArray(lastEventId) ? lastEventId[client] : lastEventId;
        const headers = id === undefined ? {} : { 'last-event-id': id };
        const text = requestText(`${path}?${query}`, headers);
        return open({ port, text, stall, take: takes(decodes) });
      });
      await Promise.all(opening);
    }
  },

  /** Resolves when all together have had `events` since they were last asked: not one less, and none has more. */
  async reached({ events, each }) {
    const wanted = each === undefined ? events : each * counts.filter((count) => count !== undefined).length;
    if (total < wanted) {
      await new Promise((resolve) => {
        awaited = wanted;
        onReached = resolve;
      });
    }
    awaited = Infinity;
    const wrong =
      each === undefined ? -1 : counts.findIndex((count) => count !== undefined && count !== each);
    const answer = { wrong: wrong === -1 ? undefined : { client: wrong, count: counts[wrong] } };
    counts.forEach((_, index) => (counts[index] &&= 0));
    total = 0;
    return answer;
  },

  /** CPU time of this process: microseconds. */
  cpu() {
    const { user, system } = process.cpuUsage();
    return user + system;
  },

  /** Since they were opened. */
  bytes: () => wireBytes,

  /** Chunks of compressed responses since this was asked last; the first time it begins to count. */
  chunks() {
    const taken = chunks;
    chunks = { all: 0, warm: 0 };
    return taken;
  },

  measureDelays() {
    delays = [];
  },

  takeDelays() {
    const taken = delays;
    delays = [];
    return taken;
  },
};

process.on('message', ({ task, ...options }) => {
  void Promise.resolve(tasks[task](options)).then((answer) => process.send({ answer }));
});
process.send({ answer: 'ready' });

function listTopics(client, { topics, perClient }) {
  return Array.from({ length: perClient }, (_, n) => (client * perClient + n) % topics).join(',');
}

function open({ port, text, stall, take }) {
  return new Promise((resolve, reject) => {
    const socket = connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer,
        callback(length) {
          wireBytes += length;
          take(length);
          resolve();
          // Reading stops: what comes now fills the buffers of the kernel, and then the server's.
          return !stall;
        },
      },
    });
    sockets.push(socket);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('The server has closed a stream.')));
    socket.write(text);
  });
}

/** What the next client does with what it reads. To decode is more work than all else here: not all of many do. */
function takes(decodes) {
  const index = counts.length;
  counts[index] = decodes && index % decodes > 0 ? undefined : 0;
  if (!decodes) {
    return (length) => count(index, buffer, length);
  }
  return counts[index] === undefined ? () => undefined : decodedBy(index);
}

function decodedBy(index) {
  const body = new CompressedBody({
    data: (bytes) => count(index, bytes, bytes.length),
    chunk(bytes) {
      if (chunks) {
        chunks.all += 1;
        chunks.warm += isWarm(bytes) ? 1 : 0;
      }
    },
  });
  return (length) => body.push(buffer.subarray(0, length));
}

function count(index, bytes, length) {
  let found = 0;
  for (let at = 0; at < length; at += 1) {
    if (bytes[at] === MARK) {
      found += 1;
      if (delays !== undefined) {
        addDelay(at + 1, length);
      }
    }
  }
  if (found > 0) {
    counts[index] += found;
    total += found;
    if (total >= awaited) {
      onReached();
    }
  }
}

/** An event says when it was sent; one whose time was cut in two by a read is left out. */
function addDelay(from, length) {
  let sentAt = 0;
  for (let at = from; at < length; at += 1) {
    if (buffer[at] === 0x20) {
      delays.push(Number(process.hrtime.bigint() / 1_000n) - sentAt);
      return;
    }
    sentAt = sentAt * 10 + buffer[at] - 0x30;
  }
}
