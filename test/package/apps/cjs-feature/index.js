'use strict';
// A package as others publish them: CommonJS, and built on SseService. In an app of ES modules it must be handed the
// same class that the app imports, or Nest cannot resolve it.
require('reflect-metadata');
const { Injectable } = require('@nestjs/common');
const { SseService } = require('nestjs-event-stream');

class Feature {
  constructor(sse) {
    this.sse = sse;
  }
}
Injectable()(Feature);
Reflect.defineMetadata('design:paramtypes', [SseService], Feature);

module.exports = { Feature, SseService };
