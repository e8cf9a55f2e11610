import type { LossReason } from '../log/index.js';

/** What has happened to the log, and what to look at, for the app's log. */
const LOSSES: Readonly<Record<LossReason, string>> = {
  epoch:
    'The log was replaced by another one: it was emptied, restored, copied, or has lost events in a failover',
  diverged:
    'The log holds other events in the places of those that this process has read, as after a failover to a server ' +
    'that lacked them, or in a copy',
  regressed:
    'The log ends before what this process has read: it was set back, as by a failover or a restored backup',
  trimmed:
    'The log has dropped events that this process had not read yet: raise its maxEvents or maxAgeMs, or find out what ' +
    'keeps this process from reading',
};

/** Returns the message for the app's log after a loss. */
export function lossMessage(reason: LossReason): string {
  return `${LOSSES[reason]}. Clients that follow topics are reset (${reason}), and load their state anew.`;
}
