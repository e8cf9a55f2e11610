/** The least that a log on Redis can cost in Node: the commands themselves, by the library that the package is given. */
import { randomInt } from 'node:crypto';
import { Redis } from 'ioredis';
import { openBareStreams } from './bare-streams.js';
import { remotePublishing } from './publishing.js';
import type { EventData } from './publishing.js';
import { serve } from './serve.js';

interface Config {
  /** Of Redis. */
  port: number;
  /** Of the stream. */
  key: string;
  /** By which Redis knows the script with which the package appends; without it, events are put by `XADD`. */
  digest?: string;
  /** Whether it reads the stream, as each instance of an app does. */
  isReading?: boolean;
}

const KEPT = '100000';

const config = JSON.parse(process.argv[2]!) as Config;
const options = { port: config.port, host: '127.0.0.1', protocol: 2 } as const;
const commands = new Redis(options);
const { take, ...streams } = await openBareStreams();
if (config.isReading) {
  void read(new Redis(options));
}

serve({
  ...streams,
  ...remotePublishing(config.digest === undefined ? add : (data) => append(config.digest!, data)),
  close: () => process.exit(),
});

function add(data: EventData): Promise<unknown> {
  return commands.xadd(config.key, 'MAXLEN', '~', KEPT, '*', 'd', JSON.stringify(data));
}

/** As the package calls it for one event: see `APPEND` in lib/engines/redis. */
async function append(digest: string, data: EventData): Promise<void> {
  const nonce = String(randomInt(2 ** 32));
  const publish = `${config.key}:publish:${crypto.randomUUID()}`;
  const record = [nonce, 'topics.0', '', JSON.stringify(data), '1'];
  const now = Date.now();
  const settings = ['epoch', '', KEPT, '0', '0', '26000', '', String(now), String(now + 10_000), ''];
  const keys = [config.key, `${config.key}:meta`, publish];
  const reply = await commands.call('EVALSHA', digest, String(keys.length), ...keys, ...settings, ...record);
  // A script that takes other arguments by now would be measured as it refuses these.
  if ((reply as string[])[0] !== 'ok') {
    throw new Error(`The script has appended nothing: ${String(reply)}`);
  }
}

async function read(reader: Redis): Promise<void> {
  let last = '$';
  for (;;) {
    const reply = await reader.xread('COUNT', 500, 'BLOCK', 1_000, 'STREAMS', config.key, last);
    for (const [id, fields] of reply?.[0]?.[1] ?? []) {
      last = id;
      if (config.digest === undefined) {
        take(fields[fields.indexOf('d') + 1]!, id);
      }
    }
  }
}
