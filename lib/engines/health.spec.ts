import { describe, expect, it } from '@jest/globals';
import { HealthState } from './health.js';

describe('HealthState', () => {
  it('is what it was set to last', () => {
    const health = new HealthState('down', 'not started');
    expect([health.state, health.reason]).toEqual(['down', 'not started']);
    health.set('degraded', 'the reader lags');
    expect([health.state, health.reason]).toEqual(['degraded', 'the reader lags']);
    health.set('ready');
    expect([health.state, health.reason]).toEqual(['ready', undefined]);
  });

  it('tells who listens of another state, once it is there, and of another reason nobody', () => {
    const health = new HealthState('ready');
    const told: string[] = [];
    health.onChange(() => told.push(`${health.state} ${health.reason}`));
    health.set('down', 'one');
    health.set('down', 'two');
    expect(health.reason).toBe('two');
    health.set('ready');
    health.set('ready');
    expect(told).toEqual(['down one', 'ready undefined']);
  });

  it('tells each listener as often as it listens, until it does not', () => {
    const health = new HealthState('ready');
    let told = 0;
    const listener = () => (told += 1);
    const stops = [health.onChange(listener), health.onChange(listener)];
    health.set('down');
    expect(told).toBe(2);
    stops[0]!();
    stops[0]!();
    health.set('ready');
    expect(told).toBe(3);
    stops[1]!();
    health.set('down');
    expect(told).toBe(3);
  });
});
