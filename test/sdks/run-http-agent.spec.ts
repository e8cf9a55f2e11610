import { afterEach, describe, expect, it } from '@jest/globals';
import type { AgentStateMutation, Message } from '@ag-ui/client';
import { RunHttpAgent } from 'nestjs-event-stream/ag-ui';
import type { RunHttpAgentConfig } from 'nestjs-event-stream/ag-ui';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Gate } from '../support/gate.js';
import { Random } from '../support/random.js';
import { agentAnswer, textOf } from './answers.js';
import { createChatApp } from './chat-app.js';
import type { ChatApp } from './chat-app.js';

const QUESTION: Message = { id: 'q', role: 'user', content: 'Why?' };
const PIECES = textOf(1);
const TEXT = PIECES.join('');
const HALF = PIECES.slice(0, 50).join('');
// Otherwise a failure is printed as well.
const HANDLED: AgentStateMutation = { stopPropagation: true };

let proxy: FaultProxy | undefined;
const agents: RunHttpAgent[] = [];
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.detachActiveRun()));
  await proxy?.stop();
  proxy = undefined;
  await closeAll();
});

function newAgent(base: string, config: Partial<RunHttpAgentConfig> = {}): RunHttpAgent {
  const agent = new RunHttpAgent({
    url: `${base}/agent`,
    threadId: 'thread 1',
    initialMessages: [QUESTION],
    retry: { minMs: 1 },
    ...config,
  });
  agents.push(agent);
  return agent;
}

const textIn = ({ messages }: RunHttpAgent) =>
  messages.filter(({ role }) => role === 'assistant').map(({ content }) => content as string);
const createApp = (pause?: { after: number; gate: Gate }) =>
  createChatApp(({ body }) => agentAnswer(PIECES, 'a', body, pause));
const noMoreConnections = ({ sse }: ChatApp) =>
  waitFor(() => sse.connections.size === 0, { timeoutMs: 15_000 });

describe('RunHttpAgent', () => {
  it.each([1, 2, 3])(
    'has each character once over connections that are cut at any byte (%s)',
    async (seed) => {
      const context = await createApp();
      const random = new Random(seed);
      const cutAfter = () => ({ bytes: random.between(100, 3_000), byReset: random.next() < 0.5 });
      proxy = await FaultProxy.start(Number(new URL(baseOf(context.app)).port), { cutAfter });
      const agent = newAgent(`http://127.0.0.1:${proxy.port}`);
      const { newMessages } = await agent.runAgent();

      expect(textIn(agent)).toEqual([TEXT]);
      expect(newMessages).toHaveLength(1);
      expect(context.controller.asked).toHaveLength(1);
      expect(proxy.cuts).toBeGreaterThan(3);
    },
  );

  it('connects after a reload, and to what it has a part of, and has the answer once', async () => {
    const gate = new Gate();
    const context = await createApp({ after: 50, gate });
    const agent = newAgent(baseOf(context.app));
    const running = agent.runAgent();
    await waitFor(() => textIn(agent)[0] === HALF);
    await agent.detachActiveRun();
    await running;
    await noMoreConnections(context);
    expect(context.controller.ends).toEqual([]);

    const reloaded = newAgent(baseOf(context.app));
    const connecting = [reloaded.connectAgent(), agent.connectAgent()];
    await waitFor(() => textIn(reloaded)[0] === HALF);
    gate.open();
    await Promise.all(connecting);
    expect(textIn(reloaded)).toEqual([TEXT]);
    expect(textIn(agent)).toEqual([TEXT]);
    expect(agent.messages.map(({ id }) => id)).toEqual(['q', 'a']);
    expect(context.controller.requests).toEqual(['POST', 'GET', 'GET']);
    // Nothing is being answered any more.
    await reloaded.connectAgent();
    expect(textIn(reloaded)).toEqual([TEXT]);
  });

  it('stops the run by abortRun(), also of a clone, and has the next answered at once', async () => {
    const gate = new Gate();
    const context = await createChatApp(({ body }) => {
      const n = context.controller.asked.length;
      return agentAnswer(PIECES, `a${n}`, body, n === 1 ? { after: 50, gate } : undefined);
    });
    const agent = newAgent(baseOf(context.app)).clone();
    agents.push(agent);
    const running = agent.runAgent();
    await waitFor(() => textIn(agent)[0] === HALF);
    agent.abortRun();
    await running;
    await agent.runAgent();

    expect(textIn(agent)).toEqual([HALF, TEXT]);
    expect(context.controller.requests).toEqual(['POST', 'DELETE', 'POST']);
    await waitFor(() => context.controller.ends.length === 2);
    expect(context.controller.ends.map(({ reason }) => reason)).toEqual(['stop', 'done']);
  });

  it('leaves the run if a controller of the app aborts', async () => {
    const gate = new Gate();
    const context = await createApp({ after: 50, gate });
    const agent = newAgent(baseOf(context.app));
    const abortController = new AbortController();
    const running = agent.runAgent({ abortController });
    await waitFor(() => textIn(agent)[0] === HALF);
    abortController.abort();
    await running;
    await noMoreConnections(context);
    expect(context.controller.requests).toEqual(['POST']);
    expect(context.controller.ends).toEqual([]);
  });

  it('is told an error that the server has framed, and fails without the last frame', async () => {
    const context = await createChatApp(
      ({ body: { threadId, runId } }) =>
        async function* () {
          yield { type: 'RUN_STARTED', threadId, runId };
          throw new Error('secret');
        },
    );
    const errors: string[] = [];
    const failed: Error[] = [];
    const listener = {
      onRunErrorEvent: ({ event }: { event: { message: string } }) => void errors.push(event.message),
      onRunFailed: ({ error }: { error: Error }) => (failed.push(error), HANDLED),
    };
    await newAgent(baseOf(context.app)).runAgent({}, listener);
    expect(errors).toEqual(['Internal server error']);
    expect(failed).toEqual([]);

    let isCut = false;
    const cutting = async (input: string, init: RequestInit) => {
      if (isCut) {
        return new Response(null, { status: 204 });
      }
      isCut = true;
      const whole = await (await fetch(input, init)).text();
      const headers = { 'content-type': 'text/event-stream' };
      return new Response(whole.slice(0, whole.indexOf('data: {"type":"RUN_ERROR"')), { headers });
    };
    await newAgent(baseOf(context.app), { fetch: cutting }).runAgent({}, listener);
    expect(failed).toMatchObject([{ name: 'SseClientError', code: 'run-lost' }]);

    const refusing = async () => Response.json({ message: 'no' }, { status: 429 });
    await newAgent(baseOf(context.app), { fetch: refusing }).runAgent({}, listener);
    expect(failed.at(-1)).toMatchObject({ code: 'status', status: 429, body: '{"message":"no"}' });
  });

  it('sends what HttpAgent does, and its headers anew at each attempt', async () => {
    const context = await createApp();
    const seen: unknown[] = [];
    const agent = newAgent(baseOf(context.app), {
      headers: { authorization: 'Bearer 1' },
      fetch: async (input, init) => {
        const headers = new Headers(init.headers);
        seen.push([init.method, headers.get('authorization'), headers.get('content-type')]);
        agent.headers = { authorization: `Bearer ${seen.length + 1}` };
        return seen.length === 1 ? new Response('', { status: 401 }) : fetch(input, init);
      },
    });
    await agent.runAgent({ runId: 'r1', forwardedProps: { model: 'm' } });
    expect(textIn(agent)).toEqual([TEXT]);
    expect(seen).toEqual([
      ['POST', 'Bearer 1', 'application/json'],
      ['GET', 'Bearer 2', null],
      ['POST', 'Bearer 3', 'application/json'],
    ]);
    expect(context.controller.asked[0]!.body).toMatchObject({
      threadId: 'thread 1',
      runId: 'r1',
      messages: [QUESTION],
      forwardedProps: { model: 'm' },
    });
  });
});
