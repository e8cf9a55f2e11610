/** What Chromium's EventSource sends: a server keeps a request's headers for as long as the stream lasts. */
export const HEADERS = {
  accept: 'text/event-stream',
  'accept-encoding': 'gzip, deflate, br, zstd',
  'accept-language': 'en-GB,en;q=0.9',
  'cache-control': 'no-cache',
  cookie: 'session=0123456789abcdef0123456789abcdef',
  referer: 'http://127.0.0.1/dashboard',
  'sec-fetch-dest': 'empty',
  'sec-fetch-mode': 'cors',
  'sec-fetch-site': 'same-origin',
  'user-agent':
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
};

export function requestText(path, more = {}) {
  const headers = { host: '127.0.0.1', ...HEADERS, ...more };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}
