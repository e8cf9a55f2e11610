import { expect, it } from '@jest/globals';
import { HealthState } from '../index.js';
import { OutboxHealth } from './outbox-health.js';

it('is that of the log, and says what is wrong with the database or the relay', () => {
  const [log, source] = [new HealthState('ready'), new HealthState('ready')];
  const health = new OutboxHealth(log, source);
  const seen: [string, string | undefined][] = [];
  health.onChange(() => seen.push([health.state, health.reason]));
  health.onRelay('it refuses events');
  source.set('down', 'PostgreSQL: away');
  health.onRelay(undefined);
  source.set('down', 'PostgreSQL: a wrong password');
  expect(health.reason).toBe('the outbox: PostgreSQL: a wrong password');
  log.set('down', 'Redis: away');
  expect(health.reason).toBe('Redis: away; the outbox: PostgreSQL: a wrong password');
  log.set('ready');
  source.set('ready');
  health.close();
  source.set('down', 'PostgreSQL: away');
  expect(seen.map(([state]) => state)).toEqual(['degraded', 'down', 'degraded', 'ready']);
  expect(seen[0]).toEqual(['degraded', 'the outbox is not relayed: it refuses events']);
});
