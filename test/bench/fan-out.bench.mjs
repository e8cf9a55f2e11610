/** What an event costs that many clients get, and what clients cost that get it late. */
import { growthItems } from './fan-out/growth.mjs';
import { isNchanThere } from './fan-out/nchan.mjs';
import { oneEventItems } from './fan-out/one-event.mjs';
import { publishItems } from './fan-out/publish.mjs';
import { stalledItems } from './fan-out/stalled.mjs';
import { stormItems } from './fan-out/storm.mjs';

export const title = 'Fan-out';

/** What it measures, each by a name of its own. */
export const items = { ...oneEventItems, ...publishItems, ...stalledItems, ...stormItems, ...growthItems };

export function note() {
  return isNchanThere()
    ? undefined
    : '**nchan is not compared**: nginx and its module are not installed (apt-get install nginx libnginx-mod-nchan).';
}
