/**
 * Clients that ask for an answer each, and say what they got: bare sockets, which count the one byte that each token
 * has once. They do what they are told over Node's IPC.
 */
import { connect } from 'node:net';
import { requestText } from '../requests.mjs';

/** `~`: in each token, and nowhere else. */
const MARK = 0x7e;
/** What the last bytes of a response hold, where it has come to its end. */
const LAST_CHUNK = '\r\n0\r\n\r\n';
const TAIL = 400;
const buffer = Buffer.allocUnsafe(262_144);

const asked = [];

const tasks = {
  /**
   * Asks for an answer by each path; resolves when all are over, or have as many tokens as is said.
   *
   * @param options.tokens - after which the client leaves
   * @param options.timeoutMs - after which it is over for it
   */
  async get({ port, paths, tokens, timeoutMs, inTurn }) {
    const get = (path) => ask({ port, path, tokens, timeoutMs });
    if (!inTurn) {
      return Promise.all(paths.map(get));
    }
    const answers = [];
    for (const path of paths) {
      answers.push(await get(path));
    }
    return answers;
  },

  /** Asks, and says no more of it until `answers`. */
  begin({ port, paths, timeoutMs }) {
    asked.push(...paths.map((path) => ask({ port, path, timeoutMs })));
  },

  /** How many tokens all have had since `answers` was asked last. */
  tokens: () => total,

  async answers() {
    const answers = await Promise.all(asked.splice(0));
    total = 0;
    return answers;
  },
};

let total = 0;

process.on('message', ({ task, ...options }) => {
  void Promise.resolve(tasks[task](options)).then((answer) => process.send({ answer }));
});
process.send({ answer: 'ready' });

/**
 * What came of a request: `ending` is `whole` where the response has come to its end, `left` where the client did,
 * `cut` where the connection was closed before, and `none` where it was open when the time was over.
 */
function ask({ port, path, tokens = Infinity, timeoutMs }) {
  return new Promise((resolve) => {
    const begin = performance.now();
    let status;
    let firstMs;
    let count = 0;
    let bytes = 0;
    let tail = '';
    let timer;
    const finish = (ending) => {
      clearTimeout(timer);
      socket.destroy();
      const wholeMs = performance.now() - begin;
      resolve({ status, tokens: count, bytes, firstMs, wholeMs, ending, tail });
    };
    const socket = connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer,
        callback(length) {
          firstMs ??= performance.now() - begin;
          bytes += length;
          const found = marksIn(length);
          count += found;
          total += found;
          tail = (tail + buffer.latin1Slice(Math.max(0, length - TAIL), length)).slice(-TAIL);
          status ??= Number(buffer.latin1Slice(9, 12));
          if (status !== 200 || tail.endsWith(LAST_CHUNK)) {
            finish('whole');
          } else if (count >= tokens) {
            finish('left');
          }
          return true;
        },
      },
    });
    if (timeoutMs !== undefined) {
      timer = setTimeout(() => finish('none'), timeoutMs);
    }
    socket.on('error', () => finish('cut'));
    socket.on('close', () => finish('cut'));
    socket.write(requestText(path));
  });
}

function marksIn(length) {
  let found = 0;
  for (let at = buffer.indexOf(MARK); at !== -1 && at < length; at = buffer.indexOf(MARK, at + 1)) {
    found += 1;
  }
  return found;
}
