import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../../test/support/code-point.js';
import { isTopic } from '../../wire/index.js';
import { joinRecords, leaveRecords, readRecord } from './presence-records.js';
import { isMemberId } from './presence.settings.js';

const MAX_DATA_BYTES = 64;
const kind = fc.constantFrom('begin', 'end', 'join', 'leave', 'alive', 'gone', 'drop', 'other', '__proto__');
// Near to what a record is: a list that begins with an instance, of lists that begin with a topic.
const entry = fc.oneof(fc.string(), fc.tuple(fc.string(), fc.jsonValue()), fc.jsonValue());
const nearly = fc
  .tuple(
    fc.string(),
    fc.array(fc.oneof(fc.tuple(fc.constantFrom('a', 'a.b', '*', ''), entry, entry), fc.jsonValue())),
  )
  .map(([by, groups]) => JSON.stringify([by, ...groups]));

describe('a record of presence', () => {
  it('is read or refused without a throw, and holds members that can be, whatever another program has written', () => {
    fc.assert(
      fc.property(kind, fc.oneof(nearly, fc.json(), fc.string({ unit: codePoint })), (topic, data) => {
        const record = readRecord({ topic, data }, MAX_DATA_BYTES);
        const members = record && 'members' in record ? record.members : [];
        for (const member of members) {
          expect([isTopic(member.topic), isMemberId(member.id)]).toEqual([true, true]);
          const json = 'data' in member && member.data !== undefined ? JSON.stringify(member.data) : '';
          expect(Buffer.byteLength(json)).toBeLessThanOrEqual(MAX_DATA_BYTES);
        }
      }),
      {
        numRuns: 1_000,
        examples: [
          ['join', `["a",["t",["id",${'['.repeat(20_000)}${']'.repeat(20_000)}]]]`],
          ['join', '["a",["__proto__",["__proto__",{"__proto__":1}]]]'],
          ['alive', '["a",1e999]'],
          ['drop', '["a",{}]'],
          ['leave', '["a",["t","\\ud800"]]'],
        ],
      },
    );
  });

  it('reads back what was written, however many records it takes', () => {
    const id = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter(isMemberId);
    const data = fc.option(fc.string({ maxLength: 12 }), { nil: undefined });
    const member = fc.record({ topic: fc.constantFrom('a', 'a.b'), id, data });
    fc.assert(
      fc.property(fc.array(member, { maxLength: 50 }), (members) => {
        const written = members.map(({ topic, id: name, data: value }) => {
          return { topic, id: name, json: value === undefined ? undefined : JSON.stringify(value) };
        });
        const joined = joinRecords('by', written).map((record) => readRecord(record, MAX_DATA_BYTES));
        const left = leaveRecords('by', written).map((record) => readRecord(record, MAX_DATA_BYTES));
        const membersOf = (records: typeof joined) =>
          records.flatMap((record) => (record && 'members' in record ? record.members : []));
        const byTopic = (topic: string) => members.filter((one) => one.topic === topic);
        const inOrder = [...new Set(members.map(({ topic }) => topic))].flatMap(byTopic);
        expect(membersOf(joined)).toEqual(inOrder);
        expect(membersOf(left)).toEqual(inOrder.map(({ topic, id: name }) => ({ topic, id: name })));
      }),
    );
  });
});
