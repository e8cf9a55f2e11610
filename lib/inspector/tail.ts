import type { SseConnection, SseService, TopicEvent } from '../index.js';
import type { Inspection } from '../sse.inspection.js';
import { MAX_TAILED } from './protocol.js';
import type { TailedEvent } from './protocol.js';
import { LossySender } from './lossy-sender.js';

// More than anybody can read, and little to send.
const EVENTS_PER_TURN = 50;
const TURN_MS = 500;

/**
 * Shows a page the events of a pattern from now on, 100 a second at most, and says how many it leaves out. Events of
 * all instances come, since they share the log. `authorize` is not asked: the guards of the inspector were.
 *
 * @throws SseError `topic-invalid`
 */
export function tail(
  connection: SseConnection,
  pattern: string,
  { sse, wheel }: { sse: Pick<SseService, 'events'>; wheel: Inspection['wheel'] },
): void {
  const sender = new LossySender(connection);
  let shown = 0;
  let skipped = 0;
  const onTurn = () => {
    if (skipped > 0 && sender.send({ type: 'skipped', data: { count: skipped } })) {
      skipped = 0;
    }
    shown = 0;
    next = wheel.schedule(TURN_MS, onTurn);
  };
  let next = wheel.schedule(TURN_MS, onTurn);
  const events = sse.events(pattern, {
    onGap: ({ reason }) => void sender.send({ type: 'gap', data: { reason } }),
  });
  const subscription = events.subscribe((event) => {
    if (shown < EVENTS_PER_TURN && sender.send({ type: 'tail', data: tailed(event) })) {
      shown += 1;
    } else {
      skipped += 1;
    }
  });
  const end = () => {
    wheel.cancel(next);
    subscription.unsubscribe();
  };
  void connection.closed.then(end);
}

function tailed({ topic, position, event: { type, data } }: TopicEvent): TailedEvent {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return {
    topic,
    position,
    type: type ?? 'message',
    data: text.slice(0, MAX_TAILED),
    isCut: text.length > MAX_TAILED,
  };
}
