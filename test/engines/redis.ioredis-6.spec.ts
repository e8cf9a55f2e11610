import { redisContract } from './redis-contract.js';

redisContract('ioredis 6');
