// A publisher for Sluice with amqplib. It keeps one connection, however many events are published at once.

import { setTimeout as sleep } from 'node:timers/promises';
import amqp from 'amqplib';

const PAUSES = [200, 1_000, 5_000, 15_000]; // milliseconds between tries
const CONFIRM_WITHIN = 30_000;
const CLOSE_WITHIN = 2_000;

/** Publishes events, and opens a new connection when one was lost. */
export class Publisher {
  #link = null; // a promise: who publishes while the connection opens waits for this one and opens no other
  #closed = false;

  constructor(url, exchange = 'sluice.events') {
    Object.assign(this, { url, exchange });
  }

  /** Resolves once the broker has the event. */
  async publish(event) {
    for (const pause of [...PAUSES, null]) {
      try {
        return await this.#tryOnce(event);
      } catch (error) {
        if (pause === null || error.permanent || this.#closed) throw error;
        console.error(`event ${event.id}: ${error.message}, trying again in ${pause} ms`);
        await sleep(pause); // the event may have arrived all the same, so it goes again under the same id
      }
    }
  }

  /** Ends the connection. Events that are not confirmed yet fail, so wait for them first. */
  async close() {
    this.#closed = true;
    const link = await this.#link?.catch(() => null);
    await link?.end();
  }

  async #tryOnce(event) {
    if (this.#closed) throw permanent('the publisher is closed');
    const opening = (this.#link ??= Link.open(this.url));
    let link = null;
    try {
      link = await opening;
      await link.publish(this.exchange, event);
    } finally {
      // Another publish may have opened a new connection already: that one stays.
      if ((link === null || link.lost) && this.#link === opening) this.#link = null;
    }
  }
}

/** A connection with one channel. Once it is lost it stays lost. */
class Link {
  lost = false;
  blocked = false;
  refusal = null; // why the broker closed the channel or takes nothing: no repetition helps
  returned = new Set();

  static async open(url) {
    const link = new Link();
    link.connection = await amqp.connect(url, { timeout: 10_000 });
    link.connection.on('error', (error) => console.error(`connection: ${error.message}`));
    link.connection.on('blocked', () => (link.blocked = true));
    link.connection.on('unblocked', () => (link.blocked = false));
    try {
      link.channel = await link.connection.createConfirmChannel();
    } catch (error) {
      await link.end();
      throw error;
    }
    link.channel.on('error', (error) => (link.refusal = permanent(error.message))); // no such exchange, no permission
    link.channel.on('return', (message) => link.returned.add(message.properties.messageId)); // comes before its confirm
    link.channel.on('close', () => link.end());
    return link;
  }

  publish(exchange, event) {
    const properties = {
      contentType: 'application/json',
      persistent: true,
      mandatory: true,
      messageId: event.id,
      appId: event.source,
      type: event.type,
      timestamp: Math.floor(Date.parse(event.time) / 1000), // AMQP counts whole seconds
    };
    return new Promise((resolve, reject) => {
      let timer;
      this.channel.publish(exchange, event.type, Buffer.from(JSON.stringify(event.data)), properties, (error) => {
        clearTimeout(timer);
        if (error) reject(this.refusal ?? error);
        else if (this.returned.delete(event.id)) reject(permanent(`no queue takes it from ${exchange}`));
        else resolve();
      });
      timer = setTimeout(() => this.giveUp(), CONFIRM_WITHIN);
    });
  }

  /** Ends the connection, and so fails every event that it has not confirmed. */
  giveUp() {
    // Once it has room, the broker may still take what it was sent: a repetition would come twice.
    if (this.blocked) this.refusal = permanent('the broker is out of memory or disk and takes nothing');
    else console.error('connection: no confirm in time');
    this.end();
  }

  async end() {
    this.lost = true;
    const closed = this.connection.close().catch(() => {}); // fails where it is closed already
    await Promise.race([closed, sleep(CLOSE_WITHIN, null, { ref: false })]);
    this.connection.connection.stream.destroy(); // a broker that reads nothing would keep the socket open, and this process alive
  }
}

const permanent = (message) => Object.assign(new Error(message), { permanent: true });
