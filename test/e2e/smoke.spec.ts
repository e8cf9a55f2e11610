import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Controller, Module, Sse } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { of } from 'rxjs';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import * as common from '@nestjs/common';

@Controller()
class C {
  @Sse('x') x() { return of({ data: 'a' }); }
}
@Module({ controllers: [C] })
class M {}

describe('smoke', () => {
  it.each(['express', 'fastify'])('serves on %s', async (kind) => {
    const ref = await Test.createTestingModule({ imports: [M] }).compile();
    const app = kind === 'express' ? ref.createNestApplication() : ref.createNestApplication(new FastifyAdapter() as never);
    await app.listen(0);
    const text = await (await fetch((await app.getUrl()) + '/x')).text();
    console.log(JSON.stringify(text), Object.keys(common).length);
    expect(text).toContain('data: a');
    await app.close();
  });
});
