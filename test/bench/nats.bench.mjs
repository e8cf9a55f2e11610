/** What a log on NATS JetStream costs, beside what JetStream itself costs. */
import { deliveryOf } from './delivery.mjs';
import { NATS } from './engines.mjs';
import { publishingOf } from './publishing.mjs';

export const title = 'NATS';

/** What it measures, each by a name of its own. */
export const items = { ...deliveryOf(NATS), ...publishingOf(NATS) };
