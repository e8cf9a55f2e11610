/** What a log on Redis costs, beside what Redis itself costs; and what is lost when it fails, here and elsewhere. */
import { deliveryItems } from './redis/delivery.mjs';
import { lossItems } from './redis/loss.mjs';
import { publishingItems } from './redis/publishing.mjs';
import { requestItems } from './redis/requests.mjs';
import { sizeItems } from './redis/size.mjs';

export const title = 'Redis';

/** What it measures, each by a name of its own. */
export const items = { ...deliveryItems, ...publishingItems, ...requestItems, ...sizeItems, ...lossItems };
