/** What a log on Redis costs, beside what Redis itself costs; and what is lost when it fails, here and elsewhere. */
import { deliveryOf } from './delivery.mjs';
import { REDIS } from './engines.mjs';
import { lossItems } from './redis/loss.mjs';
import { publishingOf } from './publishing.mjs';
import { requestItems } from './redis/requests.mjs';
import { sizeItems } from './redis/size.mjs';

export const title = 'Redis';

/** What it measures, each by a name of its own. */
export const items = {
  ...deliveryOf(REDIS),
  ...publishingOf(REDIS),
  ...requestItems,
  ...sizeItems,
  ...lossItems,
};
