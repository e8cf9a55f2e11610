/** An instance of the chat app, in a process of its own: it serves what others make. */
import { redis } from 'nestjs-event-stream/redis';
import { createChatApp } from './chat-app.js';

const [url, log] = process.argv.slice(2);
const { app } = await createChatApp(undefined, { log: redis({ url: url!, log: log! }) });
const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
console.log(`listening on ${port}`);
