import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Sse } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { SseModule } from 'nestjs-event-stream';
import { openSse } from 'nestjs-event-stream/testing';
import { of } from 'rxjs';

@Controller()
class NumbersController {
  @Sse('numbers')
  numbers() {
    return of({ data: 1 });
  }
}

afterEach(() => {
  jest.useRealTimers();
});

describe('under fake timers an @Sse() route', () => {
  const receive = async () => {
    const module = await Test.createTestingModule({
      imports: [SseModule.forRoot()],
      controllers: [NumbersController],
    }).compile();
    const app = module.createNestApplication({ logger: false });
    try {
      const stream = await openSse(app, '/numbers', { timeoutMs: 1_000 });
      const { data } = await stream.next();
      await stream.close();
      return data;
    } finally {
      jest.useRealTimers();
      await app.close();
    }
  };

  it.each([
    ['that advance', { advanceTimers: true }],
    [
      'that leave what Node and Nest need',
      { doNotFake: ['setTimeout', 'setImmediate', 'nextTick', 'setInterval'] },
    ],
  ] as const)('answers with timers %s', async (_name, options) => {
    jest.useFakeTimers(options as Parameters<typeof jest.useFakeTimers>[0]);

    expect(await receive()).toBe('1');
  });

  it('does not answer if the timers of Node and Nest stand still', async () => {
    jest.useFakeTimers();

    await expect(receive()).rejects.toMatchObject({ code: 'timeout' });
  });
});
