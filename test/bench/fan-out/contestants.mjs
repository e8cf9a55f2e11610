/** Who is compared. Each starts a server that publishes to followers of topics when it is asked to. */
import { startServer } from '../processes.mjs';
import { isNchanThere, startNchan } from './nchan.mjs';

/** What a server of this package is started with, besides what an item asks for. */
const OPTIONS = { maxPatterns: 2_000 };

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {string} path what clients ask for
 * @property {boolean} [listsTopics] whether a client says which topics it follows
 * @property {boolean} [isOurs]
 * @property {(layout: { topics: number, perClient: number }, options?: object) => Promise<object>} start
 */

/** @returns {Record<string, Contestant>} */
export function contestants(apps) {
  const { nest, nodeFanOut, betterSse, fastifyPlugins } = apps[12];
  const bare = (write) => simple(`bare ${write}`, nodeFanOut, { write });
  const plugin = (name) => simple(name, fastifyPlugins, { plugin: name });
  const all = {
    'socket.write': simple('bare socket.write, one chunk', nodeFanOut, { write: 'socket.write' }),
    joined: simple("bare socket.write, a turn's frames joined", nodeFanOut, { write: 'joined' }),
    'res.write': bare('res.write'),
    'better-sse': simple('better-sse', betterSse),
    '@fastify/sse': plugin('@fastify/sse'),
    'fastify-sse-v2': plugin('fastify-sse-v2'),
  };
  if (isNchanThere()) {
    all.nchan = { name: 'nginx with nchan', path: '/follow', listsTopics: true, start: startNchan };
  }
  for (const adapter of ['Express', 'Fastify']) {
    const short = adapter.toLowerCase();
    all[`nest-${short}`] = app(`Nest alone, @Sse() with a Subject, ${adapter}`, adapter, 'subject', false);
    all[`subject-${short}`] = app(`this package, the same route, ${adapter}`, adapter, 'subject', true);
    all[`connect-${short}`] = app(
      `this package, follow by connect(), ${adapter}`,
      adapter,
      'connect-follow',
      true,
    );
    all[`sse-${short}`] = app(`this package, follow by @Sse(), ${adapter}`, adapter, 'sse-follow', true);
  }
  return all;

  function simple(name, file, config = {}) {
    return { name, path: '/', start: (layout) => startServer(file, { ...layout, ...config }) };
  }

  function app(name, adapter, route, module) {
    const start = (layout, options = {}, config = {}) =>
      startServer(nest, {
        ...layout,
        ...config,
        adapter,
        module,
        routes: [route],
        options: { ...OPTIONS, ...options },
      });
    return { name, path: `/${route}`, isOurs: module, start };
  }
}

/** This package without keys, and with two for each connection, so that the limits of each key are counted. */
export function withAndWithoutKeys(apps) {
  const one = contestants(apps)['connect-fastify'];
  const start = (layout, options) => one.start(layout, options, { hasKeys: true });
  return {
    'connect-fastify': one,
    'keys-fastify': { ...one, name: `${one.name}, with keyOf and limits`, start },
  };
}

/**
 * This package with each `compression`, beside a compressor of its own for each client.
 *
 * @param decodes - of how many clients one decodes
 * @returns {Record<string, Contestant>}
 */
export function compressing(apps, decodes = 1) {
  const one = contestants(apps)['connect-fastify'];
  const withOption = (compression) => ({
    ...one,
    name: compression ? `'${compression}'` : 'false',
    ...(compression && { decodes }),
    start: (layout, options) => one.start(layout, { ...options, compression }),
  });
  return {
    plain: withOption(false),
    events: withOption('events'),
    stream: withOption('stream'),
    own: {
      name: 'a compressor for each client',
      path: '/',
      decodes,
      start: (layout) => startServer(apps[12].nodeFanOut, { ...layout, write: 'gzip' }),
    },
  };
}

/** Who takes turns with whom: next to each other those whose ratios are close to what is aimed at. */
export const IN_TURN = [
  'fastify-sse-v2',
  '@fastify/sse',
  'res.write',
  'nest-express',
  'subject-express',
  'nest-fastify',
  'subject-fastify',
  'better-sse',
  'connect-express',
  'sse-express',
  'socket.write',
  'nchan',
  'connect-fastify',
  'keys-fastify',
  'sse-fastify',
  'joined',
];

export const FOLLOWING = ['connect-express', 'connect-fastify', 'sse-express', 'sse-fastify'];
