import { append, begin, drain, numberOutbox, replaceEpoch, trim } from './appending.js';
import { claim, keepLease, openLog, sweep, takeLease } from './leases.js';
import { look, page, tail } from './reading.js';
import { identity, requireReadCommitted } from './shared.js';

export { DRAIN_COMMITS } from './appending.js';
export { WRONG_ISOLATION } from './shared.js';

/**
 * Makes the functions of the log. All arguments and results are text, so that any client library passes them as they are.
 *
 * Each step that must see what others have committed is a statement of its own: in READ COMMITTED each statement has its
 * own snapshot. The lock of the log's row comes first.
 *
 * All access is by primary key. The planner would read small tables from end to end, and compile plans that it takes for
 * expensive, so these ways are off within the functions. One plan serves all arguments, and is kept as long as the
 * connection: to plan a statement takes longer than to carry it out. It must not lean on how many rows the outbox has:
 * it may be empty now and full after an outage.
 *
 * @param s - the schema, quoted
 */
export function functionsOf(s: string): string[] {
  return [
    requireReadCommitted(s),
    identity(s),
    begin(s),
    numberOutbox(s),
    trim(s),
    append(s),
    drain(s),
    look(s),
    replaceEpoch(s),
    page(s),
    tail(s),
    openLog(s),
    takeLease(s),
    keepLease(s),
    claim(s),
    sweep(s),
  ];
}
