/** What a log on PostgreSQL costs, beside INSERT and NOTIFY; and what a publish costs within a transaction. */
import { POSTGRES } from './engines.mjs';
import { businessItems } from './postgres/business.mjs';
import { deliveryItems } from './postgres/delivery.mjs';
import { pageItems } from './postgres/page.mjs';
import { publishingOf } from './publishing.mjs';

export const title = 'PostgreSQL';

/** What it measures, each by a name of its own. */
export const items = { ...publishingOf(POSTGRES), ...deliveryItems, ...businessItems, ...pageItems };
