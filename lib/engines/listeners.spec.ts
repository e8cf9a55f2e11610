import { beforeEach, describe, expect, it } from '@jest/globals';
import { recordOf } from '../../test/support/apps/scripted-log.js';
import type { LogListener } from '../log/event-log.js';
import { LogListeners } from './listeners.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const records = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => recordOf(from + n, 'a', 'one'));
const head = (sequence: number, epoch = 'two') => ({ epoch, sequence, nonce: '00000001' });

describe('LogListeners', () => {
  let listeners: LogListeners;
  let heard: string[];

  /** Writes down what it hears. */
  const listener = (name = 'a'): LogListener => ({
    onRecords: (news) => void heard.push(`${name} ${news.map(({ sequence }) => sequence).join()}`),
    onReset: ({ epoch, sequence }, reason) => heard.push(`${name} ${reason} ${epoch} ${sequence}`),
  });
  /** One that has begun in a turn before this. */
  const follow = async (after: number, name?: string) => {
    const listening = listeners.add(listener(name));
    listening.begin(after);
    await turn();
    return listening;
  };

  beforeEach(() => {
    listeners = new LogListeners();
    heard = [];
  });

  it('tells everyone the records, and why they do not go on', async () => {
    await follow(0, 'a');
    await follow(0, 'b');
    void listeners.notify(records(1, 3));
    listeners.reset(head(7), 'diverged');
    void listeners.notify(records(8, 8));
    expect(heard).toEqual(['a 1,2,3', 'b 1,2,3', 'a diverged two 7', 'b diverged two 7', 'a 8', 'b 8']);
  });

  it('tells what comes after the place where it began, and nothing twice', async () => {
    await follow(5);
    void listeners.notify(records(3, 5));
    void listeners.notify(records(4, 7));
    void listeners.notify(records(6, 7));
    void listeners.notify(records(7, 9));
    expect(heard).toEqual(['a 6,7', 'a 8,9']);
  });

  it('tells nothing before the turn that follows the beginning, and then all of it in order', async () => {
    const listening = listeners.add(listener());
    void listeners.notify(records(1, 4));
    listening.begin(2);
    void listeners.notify(records(5, 6));
    listeners.reset(head(1), 'regressed');
    void listeners.notify(records(2, 2));
    await Promise.resolve();
    expect(heard).toEqual([]);
    await turn();
    expect(heard).toEqual(['a 3,4', 'a 5,6', 'a regressed two 1', 'a 2']);
  });

  it('says of one that has not begun that the log was replaced meanwhile', async () => {
    const listening = listeners.add(listener());
    expect(listening.wasReset).toBe(false);
    listeners.reset(head(4), 'epoch');
    expect(listening.wasReset).toBe(true);
    await turn();
    expect(heard).toEqual([]);
  });

  it.each([
    ['records', () => listeners.notify(records(1, 1))],
    ['a reset', () => listeners.reset(head(1), 'epoch')],
  ])('tells one that has stopped nothing, also of %s that wait to be told', async (_what, tell) => {
    const held = listeners.add(listener());
    held.begin(0);
    tell();
    held.stop();
    const live = await follow(0);
    live.stop();
    tell();
    await turn();
    expect(heard).toEqual([]);
    expect([listeners.size, held.isStopped, live.isStopped]).toEqual([0, true, true]);
  });

  it('ends all of them without a word', async () => {
    const all = [await follow(0), await follow(0)];
    const late = listeners.add(listener());
    listeners.clear();
    void listeners.notify(records(1, 1));
    listeners.reset(head(1), 'epoch');
    expect([...all, late].map(({ isStopped }) => isStopped)).toEqual([true, true, true]);
    expect([listeners.size, heard]).toEqual([0, []]);
  });

  it('takes one that stops, and one that comes, from within a call', async () => {
    const first = listeners.add({
      onRecords: () => {
        heard.push('first');
        first.stop();
        listeners.add(listener('second')).begin(1);
      },
      onReset: () => undefined,
    });
    first.begin(0);
    await turn();
    void listeners.notify(records(1, 1));
    void listeners.notify(records(2, 2));
    await turn();
    expect(heard).toEqual(['first', 'second 2']);
    expect(listeners.size).toBe(1);
  });
});
