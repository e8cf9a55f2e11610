/** What a page of a resume takes of the server, and an event of its disk. */
import { interval, median, table } from '../statistics.mjs';
import { cpuOf, startInstance, withPostgres } from './server.mjs';

const BYTES = 100;
const LIMIT = 1_000;
const MAX_MS = 3;
const PAGE = `select * from sse.page('topics', '', place::text, '${LIMIT}', '100000000')`;
const BARE = `
  select e.* from sse.events e join sse.logs l on l.id = e.log_id and l.name = ''
  where e.sequence >= place order by e.sequence limit ${LIMIT}`;

export const pageItems = {
  page: {
    title: 'A page for a resume from PostgreSQL',
    async run({ apps, load, quick, progress }) {
      const { runs, pages, events } = quick
        ? { runs: 1, pages: 200, events: 4_000 }
        : { runs: 5, pages: 400, events: 40_000 };
      const results = [];
      for (let run = 0; run < runs; run += 1) {
        progress(`run ${run + 1} of ${runs}`);
        results.push(await withPostgres(load, (server) => measureRun({ apps, server, pages, events })));
      }
      return report(results, { runs, pages, events });
    },
  },
};

async function measureRun({ apps, server, pages, events }) {
  const app = await startInstance(apps, server);
  try {
    await app.ask({ task: 'publishMany', events, bytes: BYTES });
    const [{ bytes }] = await server.query("select pg_total_relation_size('sse.events')::int as bytes");
    const places = `generate_series(0, ${pages - 1}) as n, lateral (select (1 + n * ${Math.floor((events - LIMIT) / pages)}) as place) as p`;
    const ask = async (rows) => {
      const before = await cpuOf(server);
      const [{ count }] = await server.query(
        `select count(*)::int from ${places}, lateral (${rows}) as rows`,
      );
      if (count < pages * LIMIT) {
        throw new Error(`${pages} pages have ${count} rows, not ${LIMIT} each`);
      }
      return ((await cpuOf(server)) - before) / 1_000 / pages;
    };
    await ask(PAGE);
    return { page: await ask(PAGE), bare: await ask(BARE), bytes: bytes / events };
  } finally {
    await app.end();
  }
}

function report(results, { runs, pages, events }) {
  const say = (name) => {
    const list = results.map((result) => result[name]);
    const [low, high] = interval(list.map((value) => [value]));
    return { low, high, text: `${median(list).toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})` };
  };
  const { low, high, text: said } = say('page');
  const verdict = high <= MAX_MS ? 'met' : low > MAX_MS ? 'missed' : 'open';
  const text = [
    `A page of ${LIMIT.toLocaleString('en')} events of ${BYTES} bytes, out of ${events.toLocaleString('en')}: milliseconds of the server's CPU, as the kernel counts them, median`,
    `of ${runs} runs of ${pages} pages (95% interval). Bytes are of the table with its index, for each event.`,
    '',
    table(
      ['', 'ms', 'target', ''],
      [
        ['a page, as a resume asks for it', said, `≤ ${MAX_MS}`, verdict],
        ['the same rows, by a bare SELECT', say('bare').text, '', ''],
        ['bytes of an event', median(results.map(({ bytes }) => bytes)).toFixed(0), '', ''],
      ],
    ),
  ].join('\n');
  return { text, judged: [{ verdict }] };
}
