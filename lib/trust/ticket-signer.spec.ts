import { createHmac } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { TicketSigner } from './ticket-signer.js';

const [OLD, NEW] = ['an old secret of 32 characters..', 'a new secret of 32 characters...'];
const content = { id: 'an-id', keys: ['anna'], issuedAt: 1, expiresAt: 2, data: { plan: 'pro' } };

describe('TicketSigner', () => {
  it('reads what it has signed, whatever keys and data there are', () => {
    const signer = new TicketSigner([NEW]);
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' })),
        fc.option(fc.jsonValue(), { nil: undefined }),
        (keys, data) => {
          // JSON has no -0.
          const given = JSON.parse(JSON.stringify({ ...content, keys, data })) as typeof content;
          const ticket = signer.sign({ ...given, data: given.data });
          expect(ticket).toMatch(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$/);
          expect(signer.read(ticket)).toEqual({ ...given, data: given.data });
        },
      ),
    );
  });

  it('signs with the first secret and reads those of all, so that secrets can be replaced on a running app', () => {
    const steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]].map((secrets) => new TicketSigner(secrets));
    const tickets = steps.map((signer) => signer.sign(content));
    const isRead = (signer: TicketSigner, ticket: string) => signer.read(ticket) !== undefined;

    // In each step some instances are still in the one before it.
    for (const [index, signer] of steps.entries()) {
      const neighbours = tickets.slice(Math.max(0, index - 1), index + 2);
      expect(neighbours.map((ticket) => isRead(signer, ticket))).toEqual(neighbours.map(() => true));
    }
    expect(isRead(steps[3]!, tickets[0]!)).toBe(false);
  });

  it('refuses a ticket in which one character was changed', () => {
    const signer = new TicketSigner([NEW, OLD]);
    const ticket = signer.sign(content);
    fc.assert(
      fc.property(
        fc.nat(ticket.length - 1),
        fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '-', '_', '.'),
        (at, character) => {
          fc.pre(ticket[at] !== character);
          const changed = ticket.slice(0, at) + character + ticket.slice(at + 1);
          const read = signer.read(changed);
          // The last character of base64url has bits that mean nothing. The content is the same then.
          expect(at === ticket.length - 1 ? [undefined, 'an-id'] : [undefined]).toContain(read?.id);
        },
      ),
    );
  });

  it('never throws, and reads nothing that it has not signed, whatever a client sends', () => {
    const signer = new TicketSigner([NEW]);
    const part = fc.oneof(
      fc.string({ unit: codePoint }),
      fc
        .uint8Array({ minLength: 32, maxLength: 33 })
        .map((bytes) => Buffer.from(bytes).toString('base64url')),
      fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value)).toString('base64url')),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), (parts) => {
        expect(signer.read(parts.join('.'))).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['nothing', ''],
    ['a payload without a signature', 'eyJhIjoxfQ'],
    ['two dots', 'a.b.c'],
    ['a long text', 'a'.repeat(100_000)],
    ['an unsigned JWT', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0.'],
    [
      'a signature of the same secret for another purpose',
      `e30.${createHmac('sha256', NEW).update('e30').digest('base64url')}`,
    ],
  ])('refuses %s', (_what, text) => {
    expect(new TicketSigner([NEW]).read(text)).toBeUndefined();
  });
});
