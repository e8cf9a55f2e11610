import { OptionChecks, reasonOf, show } from '../../errors/index.js';
import type { PresenceOption } from '../../connection/index.js';
import { isTopic, toJson } from '../../wire/index.js';
import type { WrittenMember } from './presence-records.js';
import { isMemberId, MAX_MEMBER_ID } from './presence.settings.js';

const FIELDS = ['id', 'data'];
const checks = new OptionChecks('follow()');

/**
 * Checks the option `presence` of `follow`.
 *
 * @param names - the patterns that are followed, each of which must be a topic
 * @returns the member, once for each topic
 * @throws SseError `options-invalid`
 */
export function memberOptions(
  names: readonly string[],
  option: PresenceOption,
  maxDataBytes: number,
): WrittenMember[] {
  checks.refuseUnknown(option, FIELDS, 'presence of follow()');
  const { id, data } = option;
  if (!isMemberId(id)) {
    throw checks.refusal(
      'presence.id',
      `a string of 1 to ${MAX_MEMBER_ID} characters, without half a surrogate pair`,
      id,
    );
  }
  const wildcard = names.find((name) => !isTopic(name));
  if (wildcard !== undefined) {
    throw checks.invalid(
      `presence is of a topic, and ${show(wildcard)} is a pattern of many. ` +
        'Follow the topic of which the client is a member in a call of its own, with presence.',
      'presence',
    );
  }
  const json = data === undefined ? undefined : jsonOf(data, maxDataBytes);
  return names.map((topic) => ({ topic, id, json }));
}

function jsonOf(data: unknown, maxDataBytes: number): string {
  let json: string;
  try {
    json = toJson(data);
  } catch (error) {
    throw checks.invalid(`presence.data of follow() must be JSON: ${reasonOf(error)}`, 'presence.data');
  }
  const bytes = Buffer.byteLength(json);
  if (bytes > maxDataBytes) {
    throw checks.invalid(
      `presence.data has ${bytes} bytes of JSON, and presence.maxDataBytes is ${maxDataBytes}. Give a member an id and ` +
        'a name, and look the rest up by the id.',
      'presence.data',
    );
  }
  return json;
}
