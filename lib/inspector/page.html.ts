/**
 * Returns the page. It holds nothing of a client: all that is shown comes by the streams, as text.
 *
 * @param base - what precedes the addresses of its files: empty, or a folder with a slash at its end
 */
export function pageHtml(base: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>Event streams</title>
    <link rel="icon" href="${base}icon.svg" />
    <link rel="stylesheet" href="${base}style.css" />
    <script type="module" src="${base}modules/inspector/page/main.js"></script>
  </head>
  <body>
    <header>
      <h1>Event streams</h1>
      <p id="status" data-status="connecting" role="status">Connecting</p>
      <p id="totals"></p>
      <button type="button" id="again" hidden>Connect again</button>
    </header>
    <nav aria-label="Views">
      <a href="#overview">Overview</a>
      <a href="#connections">Connections</a>
      <a href="#topics">Topics</a>
      <a href="#keys">Keys</a>
      <a href="#runs">Runs</a>
      <a href="#events">Events</a>
    </nav>
    <p id="said" role="status"></p>

    <main>
      <section id="overview" aria-labelledby="overview-title">
        <h2 id="overview-title">Instances</h2>
        <table id="instances" aria-labelledby="overview-title"></table>
        <h2 id="counts-title">Counted since each instance started</h2>
        <div id="counts" class="groups"></div>
      </section>

      <section id="list" aria-labelledby="list-title" hidden>
        <h2 id="list-title"></h2>
        <form id="query" role="search" class="fields">
          <label>Filter <input type="search" name="filter" maxlength="200" autocomplete="off" spellcheck="false" /></label>
          <label id="order">Order
            <select name="order">
              <option value="newest">Newest first</option>
              <option value="oldest">Oldest first</option>
              <option value="behind">Most events behind</option>
              <option value="waiting">Most bytes waiting</option>
            </select>
          </label>
          <label class="check"><input type="checkbox" name="hold" /> Hold still</label>
        </form>
        <p id="summary"></p>
        <div id="pages" class="buttons">
          <button type="button" id="previous">Previous page</button>
          <button type="button" id="next">Next page</button>
        </div>
        <table id="rows" aria-labelledby="list-title"></table>
      </section>

      <section id="events" aria-labelledby="events-title" hidden>
        <h2 id="events-title">Events as they are published</h2>
        <form id="follow" class="fields">
          <label>Topic or pattern
            <input name="pattern" value=">" required maxlength="4096" autocomplete="off" spellcheck="false" />
          </label>
          <button type="submit">Follow</button>
          <button type="button" id="stop" disabled>Stop</button>
          <button type="button" id="clear">Clear</button>
        </form>
        <p id="following"></p>
        <ol id="tailed" tabindex="0" aria-label="Events, newest first"></ol>

        <h2 id="publish-title">Publish a test event</h2>
        <p class="hint">Every client that follows the topic gets it, on every instance.</p>
        <form id="publish" class="fields" aria-labelledby="publish-title">
          <label>Topic <input name="topic" required maxlength="4096" autocomplete="off" spellcheck="false" /></label>
          <label>Type <input name="type" placeholder="message" maxlength="200" autocomplete="off" spellcheck="false" /></label>
          <label class="wide">Data, as JSON or text <textarea name="data" rows="3" required spellcheck="false"></textarea></label>
          <button type="submit">Publish</button>
        </form>
      </section>
    </main>

    <dialog id="dialog" aria-labelledby="question">
      <h2 id="question"></h2>
      <p id="consequence"></p>
      <div class="buttons">
        <button type="button" id="yes"></button>
        <button type="button" id="no">Cancel</button>
      </div>
    </dialog>
    <noscript><p>This page shows event streams as they change, and needs JavaScript.</p></noscript>
  </body>
</html>
`;
}
