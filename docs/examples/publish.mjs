// Publishes one event to Sluice with amqplib, in the plain form. Prints its id once the broker has it.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import amqp from 'amqplib';

const PAUSES = [200, 1_000, 5_000, 15_000]; // milliseconds between tries
const CONFIRM_WITHIN = 30_000; // a broker that is out of memory or disk confirms nothing

/** Keeps one connection, and opens it anew when it was lost. */
class Publisher {
  constructor(url, exchange = 'sluice.events') {
    Object.assign(this, { url, exchange, connection: null, channel: null, returned: new Set() });
  }

  /** Resolves once the broker has the event. */
  async publish(event) {
    for (const pause of [...PAUSES, null]) {
      try {
        return await this.tryOnce(event);
      } catch (error) {
        // It may have arrived all the same, so it goes again as the same event: with the same id.
        await this.close();
        if (pause === null || error.permanent) throw error;
        console.error(`event ${event.id}: ${error.message}, trying again in ${pause} ms`);
        await sleep(pause);
      }
    }
  }

  async tryOnce(event) {
    this.channel ??= await this.open();
    const properties = {
      contentType: 'application/json',
      persistent: true,
      mandatory: true,
      messageId: event.id,
      appId: event.source,
      type: event.type,
      timestamp: Math.floor(Date.parse(event.time) / 1000), // AMQP counts whole seconds
    };
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no confirm in time')), CONFIRM_WITHIN).unref();
      // Waiting for each confirm also keeps the client's own buffer from growing.
      this.channel.publish(this.exchange, event.type, Buffer.from(JSON.stringify(event.data)), properties, (error) => {
        clearTimeout(timer);
        error ? reject(this.refusal ?? error) : resolve();
      });
    });
    if (this.returned.delete(event.id)) throw permanent(`no queue takes it from ${this.exchange}`);
  }

  async open() {
    this.connection = await amqp.connect(this.url, { timeout: 10_000 });
    this.connection.on('error', (error) => console.error(`connection: ${error.message}`));
    this.refusal = null;
    const channel = await this.connection.createConfirmChannel();
    channel.on('error', (error) => (this.refusal = permanent(error.message))); // no such exchange, no permission
    channel.on('return', (message) => this.returned.add(message.properties.messageId)); // comes before its confirm
    return channel;
  }

  async close() {
    const { connection } = this;
    this.connection = this.channel = null;
    await connection?.close().catch(() => {}); // fails where it is closed already
  }
}

const permanent = (message) => Object.assign(new Error(message), { permanent: true });

const paid = {
  id: randomUUID(), // made once, where the thing happens, and kept with it
  source: '/shop',
  type: 'order.paid',
  time: new Date().toISOString(),
  data: { order: { number: 'A-17', customer: 'u-1', total: 59.9 } },
};
const publisher = new Publisher(process.env.AMQP_URL, process.env.SLUICE_EXCHANGE);
await publisher.publish(paid);
await publisher.close();
console.log(paid.id);
