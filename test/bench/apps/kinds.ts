/** Events as apps publish them, for what depends on their content: compression. */

/** Makes the data of the `n`th event. Each has one `~`, which is what the clients count. */
type Kind = (n: number) => object;

const WORDS =
  'the answer is that a stream of events can be read as it comes and each of them says what has changed since'.split(
    ' ',
  );
const NAMES = ['Ada', 'Grace', 'Linus', 'Barbara', 'Edsger', 'Radia', 'Ken', 'Margaret'];

/** A number that looks random, the same in each run: the end of MurmurHash3. */
function random(n: number, below: number): number {
  let hash = n + 1;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % below;
}
const pick = (list: readonly string[], n: number) => list[random(n, list.length)]!;
const price = (n: number) => Number((100 + random(n, 10_000) / 100).toFixed(2));

export const kinds = {
  tick: (n) => ({ '~': n, symbol: 'ACME', bid: price(n), ask: price(n + 1) }),

  order: (n) => ({
    id: `ord_${random(n, 1e6).toString(36)}${n}`,
    '~': 'order.changed',
    status: pick(['created', 'paid', 'packed', 'shipped'], n),
    customer: { id: random(n, 90_000), name: pick(NAMES, n) },
    total: price(n),
    currency: 'EUR',
    items: random(n, 9) + 1,
    warehouse: pick(['north', 'south'], n),
    updatedAt: new Date(1_764_480_000_000 + n * 1_234).toISOString(),
  }),

  /** A chunk as models send it. */
  chat: (n) => ({
    id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT~',
    object: 'chat.completion.chunk',
    created: 1_764_480_000,
    model: 'gpt-5-mini-2026-08-07',
    service_tier: 'default',
    system_fingerprint: 'fp_44709d6fcb',
    choices: [{ index: 0, delta: { content: ` ${pick(WORDS, n)}` }, logprobs: null, finish_reason: null }],
  }),

  dashboard: (n) => ({
    '~': n,
    at: 1_764_480_000_000 + n * 500,
    hosts: Array.from({ length: 30 }, (_, host) => ({
      name: `web-${host}.eu-central`,
      cpu: random(n * 31 + host, 1_000) / 10,
      memory: random(n * 37 + host, 16_384),
      requests: random(n * 41 + host, 5_000),
      errors: random(n * 43 + host, 20),
      status: pick(['ok', 'ok', 'ok', 'warning'], n + host),
    })),
  }),

  /** A part of a page that replaces the one before it. */
  html: (n) => ({
    target: '#orders~',
    html: Array.from(
      { length: 20 },
      (_, row) =>
        `<tr id="order-${n * 20 + row}" class="border-b hover:bg-gray-50"><td class="px-4 py-2 font-medium">` +
        `${pick(NAMES, n + row)} ${random(n * 20 + row, 9_999)}</td><td class="px-4 py-2 text-right tabular-nums">` +
        `${price(n * 20 + row)} €</td><td class="px-4 py-2">${pick(WORDS, n * 20 + row)}</td></tr>`,
    ).join(''),
  }),
} satisfies Record<string, Kind>;

export type KindName = keyof typeof kinds;
