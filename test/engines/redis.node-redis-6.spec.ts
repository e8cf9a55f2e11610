import { redisContract } from './redis-contract.js';

redisContract('node-redis 6');
