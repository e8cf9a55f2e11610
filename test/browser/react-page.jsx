/** The script of the page that react.spec.ts opens: what it renders, and when. */
import { Profiler, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { defineTopic, SseClient } from 'nestjs-event-stream/client';
import { SseProvider, useFollow, useRun } from 'nestjs-event-stream/react';

const numbers = defineTopic('numbers');
const client = new SseClient({ retry: { minMs: 10 } });

let frame = 0;
(function countFrames() {
  frame += 1;
  requestAnimationFrame(countFrames);
})();
/** Of each commit: in which frame it was made, and how many numbers it shows. */
const commits = [];
globalThis.reactPage = { commits, frame: () => frame };

function Numbers() {
  const { data, status } = useFollow('/events', numbers, {
    state: async () => (await fetch('/state')).json(),
    initialData: [],
    reduce: (all, event) => [...all, event.data],
  });
  return (
    <Profiler id="numbers" onRender={() => commits.push({ frame, count: data.length })}>
      <output id="status">{status}</output>
      <p id="numbers">{data.join(' ')}</p>
    </Profiler>
  );
}

function Answer({ id, onStart }) {
  const route = (own) => `/runs/${own}`;
  const run = useRun(
    { id, start: { url: route }, attach: route, stop: route },
    { initialData: '', reduce: (text, word) => text + word },
  );
  return (
    <>
      <button onClick={() => onStart(run.start())}>Ask</button>
      <button onClick={() => void run.stop()}>Stop</button>
      <output id="run">{run.outcome?.reason ?? run.status}</output>
      <p id="answer">{run.data}</p>
    </>
  );
}

function Part({ name, children }) {
  const [isShown, show] = useState(false);
  return (
    <section>
      <h2>{name}</h2>
      <button onClick={() => show(!isShown)}>{isShown ? `Hide ${name}` : `Show ${name}`}</button>
      {isShown && children}
    </section>
  );
}

function Page() {
  const [id, setId] = useState();
  return (
    <>
      <Part name="numbers">
        <Numbers />
      </Part>
      <Part name="answer">
        <Answer id={id} onStart={setId} />
      </Part>
    </>
  );
}

createRoot(document.querySelector('main')).render(
  <StrictMode>
    <SseProvider client={client}>
      <Page />
    </SseProvider>
  </StrictMode>,
);
