import { describe, expect, it } from '@jest/globals';
import { Turns } from './turns.js';

/** Tasks that a test ends, in the order in which they began. */
class Tasks {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, (error?: Error) => void>();

  of(name: string): () => Promise<string> {
    return () =>
      new Promise((resolve, reject) => {
        this.begun.push(name);
        this.#ends.set(name, (error) => (error ? reject(error) : resolve(name)));
      });
  }

  async end(name: string, error?: Error): Promise<void> {
    this.#ends.get(name)!(error);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('turns', () => {
  it('let as many run at once as are allowed, and the others in order', async () => {
    let waited = 0;
    const tasks = new Tasks();
    const turns = new Turns(2, () => (waited += 1));
    const all = ['a', 'b', 'c', 'd'].map((name) => turns.run(tasks.of(name)));
    expect([tasks.begun, waited]).toEqual([['a', 'b'], 2]);

    await tasks.end('b');
    expect(tasks.begun).toEqual(['a', 'b', 'c']);
    await tasks.end('a');
    await tasks.end('c');
    await tasks.end('d');
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd']);

    void turns.run(tasks.of('e'));
    void turns.run(tasks.of('f'));
    expect([tasks.begun.slice(4), waited]).toEqual([['e', 'f'], 2]);
  });

  it('go on after a task that fails', async () => {
    const tasks = new Tasks();
    const turns = new Turns(1, () => undefined);
    const failing = turns.run(tasks.of('a'));
    const next = turns.run(tasks.of('b'));
    await Promise.all([expect(failing).rejects.toThrow('away'), tasks.end('a', new Error('away'))]);
    await tasks.end('b');
    expect(await next).toBe('b');
  });
});
