import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { Registry } from 'prom-client';
import type { SseMetrics } from '../index.js';
import { collectSseMetrics } from '../prometheus/index.js';

describe('the names of metrics', () => {
  it('stand in the guide, all of them and no other', () => {
    const registry = new Registry();
    collectSseMetrics({ metrics: {} as SseMetrics }, { registry });
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    const guide = readFileSync('lib/metrics/README.md', 'utf8');
    const inGuide = [...guide.matchAll(/^\| `(sse_\w+)` \|/gm)].map(([, name]) => name!);
    expect(inGuide.toSorted()).toEqual(names.toSorted());
  });

  it('follow the conventions of Prometheus', () => {
    const registry = new Registry();
    collectSseMetrics({ metrics: {} as SseMetrics }, { registry });
    const metrics = registry.getMetricsAsArray() as unknown as { name: string; type: string }[];
    for (const { name, type } of metrics) {
      expect(name).toMatch(/^sse(_[a-z]+)+$/);
      expect(name.endsWith('_total')).toBe(type === 'counter');
      expect(name.endsWith('_seconds')).toBe(type === 'histogram');
    }
  });
});
