import type { StreamConfig } from '@nats-io/jetstream';
import { SseError } from '../../errors/index.js';
import type { NatsSettings } from './options.js';
import { nanoseconds } from './stream.js';
import type { StreamPlan } from './stream.js';

const MIN_WINDOW_MS = 100;
// Longer than a listener can be away and still have the lease of its log.
const NOTICE_AGE_MS = 3_600_000;
const MOST_NOTICES = 100_000;

/** Plans the stream of the app's log. */
export function planOfEvents(settings: NatsSettings, base: string): StreamPlan {
  const { maxEvents, maxBytes, maxAgeMs } = settings;
  const config = {
    ...common(settings, streamName(settings)),
    subjects: [`${base}.events.>`],
    max_msgs: maxEvents,
    max_bytes: maxBytes ?? -1,
    max_age: nanoseconds(maxAgeMs ?? 0),
    // Retries within the deadline must be known as repeats. The window must not exceed the age.
    duplicate_window: nanoseconds(Math.min(windowMs(settings), maxAgeMs ?? Infinity)),
  };
  return {
    config,
    check: (existing) => {
      checkCommon(settings, config, existing);
      const kept = [
        ['maxEvents', 'max_msgs'],
        ['maxBytes', 'max_bytes'],
        ['maxAgeMs', 'max_age'],
      ] as const;
      for (const [option, field] of kept) {
        if (settings.given.has(option) && existing[field] !== config[field]) {
          throw contradiction(config.name, option, `${field} ${existing[field]}, and not ${config[field]}`);
        }
      }
      if (existing.max_msgs_per_subject > 0) {
        throw contradiction(config.name, 'log', 'max_msgs_per_subject, which leaves gaps between events');
      }
    },
  };
}

/** Plans the stream of all named logs. A log's messages are deleted with the log. */
export function planOfLogs(settings: NatsSettings, base: string): StreamPlan {
  const config = {
    ...common(settings, `${streamName(settings)}-logs`),
    subjects: [`${base}.logs.*`],
    duplicate_window: nanoseconds(windowMs(settings)),
  };
  return { config, check: (existing) => checkCommon(settings, config, existing) };
}

/** Plans the stream of leases. It keeps the newest message of each subject, and so the newest holder. */
export function planOfLeases(settings: NatsSettings, base: string): StreamPlan {
  const config = {
    ...common(settings, `${streamName(settings)}-leases`),
    subjects: [`${base}.leases.*`, `${base}.clock`],
    max_msgs_per_subject: 1,
    duplicate_window: nanoseconds(windowMs(settings)),
  };
  return { config, check: (existing) => checkCommon(settings, config, existing) };
}

/** Plans the stream of notices. It keeps the newest notice of each key for a while. */
export function planOfNotices(settings: NatsSettings, base: string): StreamPlan {
  const config = {
    ...common(settings, `${streamName(settings)}-notices`),
    subjects: [`${base}.notices.*.*`],
    max_msgs_per_subject: 1,
    max_msgs: MOST_NOTICES,
    max_age: nanoseconds(Math.max(NOTICE_AGE_MS, windowMs(settings))),
    duplicate_window: nanoseconds(windowMs(settings)),
  };
  return { config, check: (existing) => checkCommon(settings, config, existing) };
}

function streamName({ prefix, log }: NatsSettings): string {
  return `${prefix}-${log}`;
}

function windowMs({ publishTimeoutMs }: NatsSettings): number {
  return Math.max(MIN_WINDOW_MS, Math.ceil(publishTimeoutMs) * 2);
}

function common({ storage, replicas }: NatsSettings, name: string) {
  const policy = { retention: 'limits', discard: 'old' } as const;
  return { name, ...policy, storage, num_replicas: replicas } satisfies Partial<StreamConfig>;
}

type Planned = ReturnType<typeof common> & { subjects: string[]; duplicate_window: number };

function checkCommon(settings: NatsSettings, planned: Planned, existing: StreamConfig): void {
  const { name, subjects } = planned;
  if (!subjects.every((subject) => existing.subjects?.includes(subject))) {
    throw contradiction(
      name,
      'log',
      `the subjects ${existing.subjects?.join(', ')}, and not ${subjects.join(', ')}`,
    );
  }
  if (existing.retention !== 'limits' || existing.discard !== 'old' || existing.no_ack || existing.sealed) {
    const how = `retention ${existing.retention}, discard ${existing.discard}, no_ack ${existing.no_ack}`;
    throw contradiction(name, 'log', `${how}, and a log needs limits, old, false`);
  }
  if (settings.given.has('storage') && existing.storage !== settings.storage) {
    throw contradiction(name, 'storage', `storage ${existing.storage}, and not ${settings.storage}`);
  }
  if (settings.given.has('replicas') && existing.num_replicas !== settings.replicas) {
    throw contradiction(
      name,
      'replicas',
      `num_replicas ${existing.num_replicas}, and not ${settings.replicas}`,
    );
  }
  if (existing.duplicate_window < planned.duplicate_window) {
    const windows = `duplicate_window ${existing.duplicate_window}, and ${planned.duplicate_window} is needed`;
    throw contradiction(
      name,
      'publishTimeoutMs',
      `${windows} to know what is sent again within publishTimeoutMs`,
    );
  }
}

function contradiction(name: string, field: string, what: string): SseError {
  return new SseError(
    'options-invalid',
    `The stream "${name}" is there, with ${what}. Give ${field} as it is, another log, or edit the stream: nats stream edit ${name}.`,
    { field },
  );
}
