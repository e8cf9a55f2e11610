import type { Message } from '@ag-ui/client';

/** An event of AG-UI, as it comes. */
export type AgentEvent = Readonly<Record<string, unknown>>;

/**
 * A replay begins messages again that the agent has a part of, and the agent would append to them. Before the first such
 * event, the messages from there on are taken away, by a snapshot of those before.
 *
 * @param messages - of the agent, before the replay
 */
export function replayOver(messages: readonly Message[]): TransformStream<AgentEvent, AgentEvent> {
  let kept = messages;
  return new TransformStream({
    transform(event, events) {
      const first = kept.findIndex(({ id }) => namesOf(event).includes(id));
      if (first >= 0) {
        kept = kept.slice(0, first);
        events.enqueue({ type: 'MESSAGES_SNAPSHOT', messages: kept });
      }
      events.enqueue(event);
    },
  });
}

/** The ids of messages that an event may begin. */
function namesOf({ type, messageId, parentMessageId, toolCallId }: AgentEvent): unknown[] {
  return [messageId, parentMessageId, type === 'TOOL_CALL_START' ? toolCallId : undefined];
}
