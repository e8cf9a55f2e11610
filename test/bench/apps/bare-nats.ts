/** The least that a log on JetStream can cost in Node: publish and an ordered consumer, by the library alone. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { openBareStreams } from './bare-streams.js';
import { remotePublishing } from './publishing.js';
import { serve } from './serve.js';

interface Config {
  servers: string;
  /** Names the stream, which is made if there is none. */
  log: string;
  /** Whether it reads the stream, as each instance of an app does. */
  isReading?: boolean;
}

const { servers, log, isReading } = JSON.parse(process.argv[2]!) as Config;
const connection = await connect({ servers, noAsyncTraces: true });
const manager = await jetstreamManager(connection);
const stream = jetstream(connection);
const subject = `${log}.a`;
await manager.streams.add({ name: log, subjects: [subject], max_msgs: 100_000 });
const { take, ...streams } = await openBareStreams();
if (isReading) {
  const consumer = await stream.consumers.get(log);
  await consumer.consume({ callback: ({ data, seq }) => take(Buffer.from(data).toString(), seq) });
}

serve({
  ...streams,
  ...remotePublishing((data) => stream.publish(subject, JSON.stringify(data))),
  close: () => process.exit(),
});
