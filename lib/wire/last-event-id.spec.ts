import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { codePoint } from '../../test/support/code-point.js';
import { encodeEvent } from './frame.js';
import { readLastEventId, readResumeId, UNUSABLE_ID } from './last-event-id.js';
import { parsePosition } from './position.js';

// What clients say that have seen nothing yet.
const ABSENT = new Set(['undefined', 'null']);

describe('readLastEventId', () => {
  it.each([
    ['the header', '7', '/x', '7'],
    ['the header before the URL', '7', '/x?lastEventId=6', '7'],
    ['the first of several headers', ['7', '8'], '/x', '7'],
    ['the URL where there is no header', undefined, '/x?lastEventId=6', '6'],
    ['the URL where the header is empty', '', '/x?lastEventId=6', '6'],
    ['the URL where the list of headers is empty', [], '/x?lastEventId=6', '6'],
    ['the first of several in the URL', undefined, '/x?lastEventId=6&lastEventId=5', '6'],
    ['the URL among other parameters', undefined, '/x?a=%zz&b[]=1&lastEventId=6&c', '6'],
    ['percent-encoding in the URL', undefined, '/x?lastEventId=a%20b%2Fc%2B', 'a b/c+'],
    ['a plus in the URL as a space', undefined, '/x?lastEventId=a+b', 'a b'],
    ['a URL in absolute form', undefined, 'http://host/x?lastEventId=6', '6'],
    ['the URL where the header cannot be an id', 'ü', '/x?lastEventId=6', '6'],
    ['the URL where the header is too long', 'x'.repeat(1025), '/x?lastEventId=6', '6'],
    ['the URL where the header says undefined', 'undefined', '/x?lastEventId=6', '6'],
    ['the URL where the header says null', 'null', '/x?lastEventId=6', '6'],
    ['an id with a space within', 'a b', '/x', 'a b'],
    ['an id of 1,024 characters', 'x'.repeat(1024), '/x', 'x'.repeat(1024)],
  ])('reads %s', (_, header, url, id) => {
    expect(readLastEventId(header, url)).toBe(id);
  });

  it.each([
    ['there is neither', undefined, '/x'],
    ['there is no URL either', undefined, undefined],
    ['both are empty', '', '/x?lastEventId='],
    ['the parameter has another name', undefined, '/x?lasteventid=6&lastEventId[]=6&lastEventId[a]=6'],
    ['the path has the name', undefined, '/lastEventId=6'],
    ['the header is longer than 1,024 characters', 'x'.repeat(1025), '/x'],
    ['the parameter is longer than 1,024 characters', undefined, `/x?lastEventId=${'x'.repeat(1025)}`],
    ['the header is not ASCII', 'ü', '/x'],
    ['the parameter is not ASCII', undefined, '/x?lastEventId=%C3%BC'],
    ['the parameter is not UTF-8', undefined, '/x?lastEventId=%FF'],
    ['the parameter breaks the line', undefined, '/x?lastEventId=1%0Aforged'],
    ['the parameter holds an escape sequence', undefined, '/x?lastEventId=%1b[2J'],
    ['the parameter holds a NUL', undefined, '/x?lastEventId=1%00'],
    ['the parameter holds DEL', undefined, '/x?lastEventId=%7f'],
    ['the header holds a tab', '1\t2', '/x'],
    ['the parameter has a space at its end', undefined, '/x?lastEventId=1%20'],
    ['the parameter has a space at its start', undefined, '/x?lastEventId=%201'],
    ['the header says undefined', 'undefined', '/x'],
    ['the parameter says null', undefined, '/x?lastEventId=null'],
    ['both are no ids', 'ü', '/x?lastEventId=1%00'],
  ])('is undefined where %s', (_, header, url) => {
    expect(readLastEventId(header, url)).toBeUndefined();
  });

  it.each([
    ['the header is longer than 1,024 characters', 'x'.repeat(1025), '/x'],
    ['the header is UTF-8', 'Ã¼', '/x?lastEventId='],
    ['the header holds a tab', '1\t2', '/x?lastEventId=undefined'],
    ['the parameter holds a NUL', undefined, '/x?lastEventId=1%00'],
    ['the parameter breaks the line', 'null', '/x?lastEventId=1%0Aforged'],
    ['the parameter is a space', '', '/x?lastEventId=+'],
    ['both are no ids', 'ü', `/x?lastEventId=${'x'.repeat(1025)}`],
  ])('tells an id that cannot be ours from none, where %s', (_, header, url) => {
    expect(readResumeId(header, url)).toBe(UNUSABLE_ID);
    expect(parsePosition(UNUSABLE_ID)).toBeUndefined();
  });

  it.each([
    ['there is neither', undefined, '/x'],
    ['both are empty', '', '/x?lastEventId='],
    ['a client has seen nothing, and says undefined', 'undefined', '/x'],
    ['a client has seen nothing, and says null', 'null', '/x?lastEventId=undefined'],
  ])('knows that there is none where %s', (_, header, url) => {
    expect(readResumeId(header, url)).toBeUndefined();
  });

  it('gives nothing but printable ASCII of at most 1,024 characters, whatever a client sends', () => {
    const text = fc.oneof(fc.string({ unit: codePoint }), fc.string({ unit: 'binary-ascii', maxLength: 4 }));
    fc.assert(
      fc.property(fc.option(text, { nil: undefined }), text, (header, query) => {
        const id = readLastEventId(header, `/x?lastEventId=${query}`);
        expect(id === undefined || /^[!-~]([ -~]{0,1022}[!-~])?$/.test(id)).toBe(true);
      }),
    );
  });

  it('reads back every id that can be sent, from the header and from the URL', () => {
    const id = fc
      .oneof(
        fc.string({ unit: 'binary-ascii', minLength: 1 }),
        fc.string({ unit: 'grapheme-ascii', minLength: 1 }),
      )
      .filter((text) => {
        try {
          return encodeEvent({ data: '', id: text }, { maxEventBytes: 4096 }) !== '' && !ABSENT.has(text);
        } catch {
          return false;
        }
      });
    fc.assert(
      fc.property(id, (sent) => {
        expect(readLastEventId(sent, undefined)).toBe(sent);
        expect(readLastEventId(undefined, `/x?lastEventId=${encodeURIComponent(sent)}`)).toBe(sent);
        // A header field's value loses the white space around it on the way.
        expect(sent.trim()).toBe(sent);
      }),
    );
  });
});
