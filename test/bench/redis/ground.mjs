/** A Redis, its replica, and the networks to them, all of which can fail. */
import { setTimeout as pause } from 'node:timers/promises';

export class Ground {
  #master;
  #replica;
  /** From whoever publishes to the master. */
  #publisherLink;
  /** From the instance that has clients to the master. */
  #instanceLink;
  /** From the replica to the master. */
  #replicaLink;

  static async start(load) {
    const { startRedis, startReplica } = await load('redis-server.js');
    const { FaultProxy } = await load('fault-proxy.js');
    const ground = new Ground();
    ground.#master = await startRedis();
    const link = () => FaultProxy.start(ground.#master.port);
    ground.#publisherLink = await link();
    ground.#instanceLink = await link();
    ground.#replicaLink = await link();
    ground.#replica = await startReplica(ground.#master, { throughPort: ground.#replicaLink.port });
    return ground;
  }

  get publisherPort() {
    return this.#publisherLink.port;
  }

  get instancePort() {
    return this.#instanceLink.port;
  }

  async killConnections() {
    await this.#master.command('CLIENT', 'KILL', 'TYPE', 'normal');
    await this.#master.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
  }

  async stopServer(ms) {
    this.#master.pause();
    await pause(ms);
    this.#master.resume();
  }

  async cutNetwork(ms) {
    const links = [this.#publisherLink, this.#instanceLink];
    links.forEach((link) => link.refuse());
    links.forEach((link) => link.drop());
    await pause(ms);
    await Promise.all(links.map((link) => link.accept()));
  }

  async killServer() {
    await this.#master.restart();
  }

  /**
   * The replica loses the master, which goes on to take what is published, and to give it to those who read; then the
   * replica takes over, and the old master comes back as its replica.
   */
  async failOver(ms) {
    this.#replicaLink.refuse();
    this.#replicaLink.drop();
    await pause(ms);
    [this.#master, this.#replica] = [this.#replica, this.#master];
    await Promise.all([this.#replica.kill(), this.#master.promote()]);
    const links = [this.#publisherLink, this.#instanceLink, this.#replicaLink];
    links.forEach((link) => (link.targetPort = this.#master.port));
    this.#publisherLink.drop();
    this.#instanceLink.drop();
    await this.#replicaLink.accept();
    await this.#replica.restart();
    await this.#replica.follow(this.#replicaLink.port);
  }

  /** For when those who used it are gone. */
  async stop() {
    const links = [this.#publisherLink, this.#instanceLink, this.#replicaLink];
    await Promise.all([this.#master.stop(), this.#replica.stop()]);
    // With both ends gone they close by themselves: Node tells of no close where a connection that ends is reset.
    while (links.some((link) => link.connections > 0)) {
      await pause(10);
    }
    await Promise.all(links.map((link) => link.stop()));
  }
}
