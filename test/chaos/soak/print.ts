import type { Measure, Sample } from './sample.js';
import type { InstanceReport, SoakReport, Trend } from './soak.js';

const HOUR_MS = 3_600_000;

/** One line for a sample, while a soak goes on. */
export function sampleLine(instance: string, atMs: number, sample: Sample): string {
  const minutes = Math.floor(atMs / 60_000);
  const seconds = Math.floor((atMs / 1_000) % 60);
  const { descriptors, timers, listeners, connections, followers, loopP99Ms, followerLag, cpuMs } = sample;
  return [
    `${minutes}:${String(seconds).padStart(2, '0')} ${instance}`,
    `heap ${amount(sample.heap, 'bytes')}`,
    `rss ${amount(sample.rss, 'bytes')}`,
    `${descriptors} descriptors`,
    `${timers} timers`,
    `${listeners} listeners`,
    `${connections} streams, ${followers} follow, lag ${followerLag}`,
    `loop p99 ${loopP99Ms.toFixed(1)} ms`,
    `CPU ${(cpuMs / 1_000).toFixed(1)} s`,
  ].join(', ');
}

/** The whole report as text. */
export function reportText({ instances, tally }: SoakReport): string {
  const { faults, ...counts } = tally;
  return [
    ...instances.flatMap((instance) => ['', ...instanceLines(instance)]),
    '',
    `Load: ${JSON.stringify(counts)}`,
    ...(faults.length > 0 ? [`FAULTS:\n${faults.join('\n')}`] : []),
  ].join('\n');
}

function instanceLines({ name, trends, left, before, after, printed, exitCode }: InstanceReport): string[] {
  const rest = Object.entries(left).map(([what, count]) => `${what} ${count}`);
  return [
    `Instance ${name}, over ${(trends[0]!.growth.overMs / 60_000).toFixed(1)} minutes after the warm-up`,
    '| measure | first | last | growth in an hour | 95% interval | growth in this time, at least | tolerated | |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |',
    ...trends.map(trendRow),
    `At rest: heap ${amount(before.heap, 'bytes')} before the first client, ${amount(after.heap, 'bytes')} after the last; ` +
      `${before.descriptors} and ${after.descriptors} descriptors, ${before.listeners} and ${after.listeners} listeners; ` +
      (rest.length > 0 ? `LEFT BEHIND: ${rest.join(', ')}` : 'nothing is left'),
    ...(exitCode === 0 ? [] : [`ENDED WITH ${String(exitCode)}`]),
    ...(printed === '' ? [] : [`PRINTED:\n${printed}`]),
  ];
}

function trendRow({ measure, first, last, growth, grows }: Trend): string {
  const { unit, name, tolerance } = measure;
  const perHour = (value: number) => amount((value / growth.overMs) * HOUR_MS, unit);
  const cells = [
    name,
    amount(first, unit),
    amount(last, unit),
    perHour(growth.most),
    `${perHour(growth.low)} to ${perHour(growth.high)}`,
    amount(growth.low, unit),
    amount(tolerance, unit),
    grows ? 'GROWS' : 'steady',
  ];
  return `| ${cells.join(' | ')} |`;
}

function amount(value: number, unit: Measure['unit']): string {
  if (unit === 'bytes') {
    return `${(value / 1_048_576).toFixed(1)} MiB`;
  }
  return unit === 'ms' ? `${value.toFixed(1)} ms` : value.toFixed(1).replace(/\.0$/, '');
}
