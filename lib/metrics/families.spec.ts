import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { Registry } from 'prom-client';
import type { SseMetrics } from '../index.js';
import { collectSseMetrics } from '../prometheus/index.js';

/** What prom-client is given of each metric. Only a scrape reads values. */
function exported(): { name: string; type: string }[] {
  const registry = new Registry();
  collectSseMetrics({ metrics: {} as SseMetrics }, { registry });
  return registry.getMetricsAsArray() as unknown as { name: string; type: string }[];
}

describe('the names of metrics', () => {
  it('stand in the guide, all of them and no other', () => {
    const names = exported().map(({ name }) => name);
    const guide = readFileSync('lib/metrics/README.md', 'utf8');
    const inGuide = [...guide.matchAll(/^\| `(sse_\w+)` \|/gm)].map(([, name]) => name!);
    expect(inGuide.toSorted()).toEqual(names.toSorted());
  });

  it('are all that the dashboard of the sample asks for', () => {
    const names = exported().map(({ name }) => name);
    const { panels } = JSON.parse(readFileSync('sample/cluster/grafana.dashboard.json', 'utf8')) as {
      panels: { targets: { expr: string }[] }[];
    };
    const asked = panels.flatMap(({ targets }) =>
      targets.flatMap(({ expr }) =>
        [...expr.matchAll(/\bsse_\w+/g)].map(([name]) => name.replace(/_bucket$/, '')),
      ),
    );
    expect(asked.length).toBeGreaterThan(20);
    expect(asked.filter((name) => !names.includes(name))).toEqual([]);
  });

  it('follow the conventions of Prometheus', () => {
    for (const { name, type } of exported()) {
      expect(name).toMatch(/^sse(_[a-z]+)+$/);
      expect(name.endsWith('_total')).toBe(type === 'counter');
      expect(name.endsWith('_seconds')).toBe(type === 'histogram');
    }
  });
});
