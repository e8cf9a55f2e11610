import { EventSourceParserStream } from 'eventsource-parser/stream';

// #region usual-client
export async function askAsUsual(question, client, show, signal) {
  try {
    const { body } = await fetch(`/usual?client=${client}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(question),
      signal,
    });
    show.state('open', 'Streaming');
    const events = body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
      .getReader();
    for (;;) {
      const { done, value } = await events.read();
      if (done) {
        break;
      }
      show.token(JSON.parse(value.data));
    }
    // Or it broke off: who could tell?
    show.state('done', 'Complete');
  } catch {
    // To ask again is another answer, and another bill.
    show.state('error', signal.aborted ? 'Left' : 'Lost');
  }
}
// #endregion
