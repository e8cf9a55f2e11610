import type { ConnectionRow, InstanceReport, KeyRow, RunRow, TopicRow } from '../protocol.js';
import type { Asking } from './asking.js';
import { bytes, count, duration } from './format.js';
import type { Server } from './server.js';
import type { TableKind } from './table.js';

/** What the tables need of the page. */
export interface PageHost {
  readonly server: Server;
  readonly asking: Asking;
  nameOf(instance: string): string;
  /** Shows another view, as its link does. */
  go(hash: string): void;
}

const SHORT_ID = 8;

export function connectionKind(host: PageHost): TableKind<ConnectionRow> {
  return {
    keyOf: ({ instance, id }) => `${instance} ${id}`,
    columns: [
      { label: 'Client', text: ({ address, id }) => `${address || 'unknown'}\n${id.slice(0, SHORT_ID)}` },
      { label: 'Keys', text: ({ keys }) => keys.join('\n') },
      { label: 'Route', text: ({ route }) => route },
      { label: 'Follows', text: followsOf },
      { label: 'Instance', text: ({ instance }) => host.nameOf(instance) },
      { label: 'Open for', isNumber: true, text: ({ ageMs }) => duration(ageMs) },
      {
        label: 'Behind',
        isNumber: true,
        text: ({ names, isBehind, lagEvents }) => (names > 0 ? behindOf(isBehind, lagEvents) : ''),
        state: ({ lagEvents }) => (lagEvents > 0 ? 'wait' : undefined),
      },
      {
        label: 'Waiting',
        isNumber: true,
        text: ({ queuedBytes }) => (queuedBytes > 0 ? bytes(queuedBytes) : ''),
      },
    ],
    actions: [
      {
        label: 'Close',
        about: ({ address, id }) => `${address} ${id}`,
        act: (row) => closeConnection(host, row),
      },
      {
        label: 'Revoke',
        about: ({ keys }) => keys[0] ?? '',
        isFor: ({ keys }) => keys.length > 0,
        act: ({ keys }) => revokeKey(host, keys[0]!),
      },
    ],
  };
}

export function topicKind(host: PageHost): TableKind<TopicRow> {
  return {
    keyOf: ({ name }) => name,
    columns: [
      { label: 'Topic or pattern', text: ({ name }) => name },
      { label: 'Followers', isNumber: true, text: ({ followers }) => count(followers) },
      {
        label: 'Behind',
        isNumber: true,
        text: ({ behind }) => count(behind),
        state: waitIf(({ behind }) => behind),
      },
      {
        label: 'Most events behind',
        isNumber: true,
        text: ({ maxLagEvents }) => count(maxLagEvents),
        state: waitIf(({ maxLagEvents }) => maxLagEvents),
      },
    ],
    actions: [
      {
        label: 'Events',
        about: ({ name }) => name,
        act: ({ name }) => host.go(`#events?${new URLSearchParams({ pattern: name }).toString()}`),
      },
      { label: 'Connections', about: ({ name }) => name, act: ({ name }) => filterConnections(host, name) },
    ],
  };
}

export function keyKind(host: PageHost): TableKind<KeyRow> {
  return {
    keyOf: ({ key }) => key,
    columns: [
      { label: 'Key', text: ({ key }) => key },
      { label: 'Connections', isNumber: true, text: ({ connections }) => count(connections) },
      {
        label: 'Behind',
        isNumber: true,
        text: ({ behind }) => count(behind),
        state: waitIf(({ behind }) => behind),
      },
      { label: 'Runs', isNumber: true, text: ({ runs }) => count(runs) },
    ],
    actions: [
      { label: 'Connections', about: ({ key }) => key, act: ({ key }) => filterConnections(host, key) },
      { label: 'Revoke', about: ({ key }) => key, act: ({ key }) => revokeKey(host, key) },
    ],
  };
}

export function runKind(host: PageHost): TableKind<RunRow> {
  return {
    keyOf: ({ instance, owner, id }) => JSON.stringify([instance, owner, id]),
    columns: [
      { label: 'Run', text: ({ id }) => id },
      { label: 'Owner', text: ({ owner }) => owner },
      { label: 'Instance', text: ({ instance }) => host.nameOf(instance) },
      { label: 'Role', text: ({ isProducedHere }) => (isProducedHere ? 'produces it' : 'has clients of it') },
      { label: 'Clients', isNumber: true, text: ({ clients }) => count(clients) },
      { label: 'Records', isNumber: true, text: ({ records }) => count(records) },
      { label: 'Since', isNumber: true, text: ({ ageMs }) => duration(ageMs) },
    ],
    actions: [],
  };
}

/** An instance, as the overview shows it. */
export type ShownInstance = InstanceReport & { readonly silentMs: number; readonly isHere: boolean };

export const INSTANCES: TableKind<ShownInstance> = {
  keyOf: ({ id }) => id,
  columns: [
    {
      label: 'Instance',
      text: ({ name, isHere, isDraining }) =>
        `${name}${isHere ? '\nserves this page' : ''}${isDraining ? '\ncloses' : ''}`,
    },
    { label: 'Log', text: ({ log }) => [log.state, log.reason].filter(Boolean).join('\n'), state: logState },
    {
      label: 'Last report',
      text: ({ silentMs }) => (silentMs < 5_000 ? 'now' : `${duration(silentMs)} ago`),
      state: silence,
    },
    figure('Connections', 'connections'),
    figure('Followers', 'followers'),
    figure('Behind', 'behind', true),
    figure('Most events behind', 'maxLagEvents', true),
    figure('Log lag', 'logLagEvents', true),
    { ...figure('Waiting', 'queuedBytes'), text: ({ figures }) => bytes(figures['queuedBytes'] ?? 0) },
    figure('Runs', 'runs'),
    figure('Revoked keys', 'revokedKeys'),
    figure('Events sent', 'sentEvents'),
  ],
  actions: [],
};

function figure(label: string, name: string, isBad = false): TableKind<ShownInstance>['columns'][number] {
  const valueOf = ({ figures }: ShownInstance) => figures[name] ?? 0;
  return {
    label,
    isNumber: true,
    text: (row) => count(valueOf(row)),
    ...(isBad ? { state: waitIf(valueOf) } : {}),
  };
}

function logState({ log }: ShownInstance): 'good' | 'wait' | 'bad' {
  return log.state === 'ready' ? 'good' : log.state === 'degraded' ? 'wait' : 'bad';
}

function silence({ silentMs }: ShownInstance): 'bad' | undefined {
  return silentMs >= 10_000 ? 'bad' : undefined;
}

function waitIf<R>(valueOf: (row: R) => number): (row: R) => 'wait' | undefined {
  return (row) => (valueOf(row) > 0 ? 'wait' : undefined);
}

function followsOf({ follows, names }: ConnectionRow): string {
  return [...follows, ...(names > follows.length ? [`and ${names - follows.length} more`] : [])].join('\n');
}

function behindOf(isBehind: boolean, lagEvents: number): string {
  return lagEvents > 0 ? count(lagEvents) : isBehind ? 'catches up' : '0';
}

function filterConnections(host: PageHost, filter: string): void {
  host.go(`#connections?${new URLSearchParams({ filter }).toString()}`);
}

function closeConnection({ server, asking }: PageHost, { instance, id, address }: ConnectionRow): void {
  const question = {
    question: `Close the connection of ${address || 'this client'}?`,
    consequence: 'Its stream ends. An EventSource, and the client of this package, come back by themselves.',
    yes: 'Close it',
  };
  asking.ask(question, async () => {
    const { outcome } = await server.post('close', { instance, connection: id });
    const texts: Readonly<Record<string, string>> = {
      closed: `The connection ${id.slice(0, SHORT_ID)} is closed.`,
      gone: `The connection ${id.slice(0, SHORT_ID)} was closed already.`,
    };
    const text = texts[String(outcome)];
    if (text === undefined) {
      throw new Error('The instance of that connection has not answered. Try again.');
    }
    return text;
  });
}

function revokeKey({ server, asking }: PageHost, key: string): void {
  const question = {
    question: `Revoke the key ${key} for a day?`,
    consequence: 'Its streams and runs end on every instance, and it is kept away. It cannot be taken back.',
    yes: 'Revoke it',
  };
  asking.ask(question, async () => {
    await server.post('revoke', { key });
    return `The key ${key} is revoked.`;
  });
}
