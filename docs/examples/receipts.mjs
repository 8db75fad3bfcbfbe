// Reads Sluice's receipts with amqplib, all of one destination, and prints each as a line.

import { setTimeout as sleep } from 'node:timers/promises';
import amqp from 'amqplib';

const EXCHANGE = process.env.SLUICE_RECEIPTS ?? 'sluice.receipts';
const QUEUE = process.env.QUEUE ?? 'shop.px-receipts'; // yours: name it after your service
const DESTINATION = process.env.DESTINATION ?? 'px';

/** What your service does about it. A receipt may come twice, so this has to be as good the second time. */
function handle(receipt) {
  const { outcome, event, reason } = receipt.data;
  console.log(outcome, event?.id ?? '-', reason ?? '-'); // no event: the destination is parked
}

/** Goes on until the connection ends, and throws why it did. */
async function consume(url) {
  const connection = await amqp.connect(url, { timeout: 10_000 });
  const closed = new Promise((resolve) => connection.on('close', resolve));
  const end = () => connection.close().catch(() => {}); // fails where it is closed already
  connection.on('error', () => {}); // it closes then, and that tells why
  try {
    const channel = await connection.createChannel();
    channel.on('error', (error) => console.error(error.message));
    channel.on('close', end);
    // Outlives this program, and gives up the oldest receipts first should nobody read them.
    const limits = { 'x-queue-type': 'quorum', 'x-max-length': 100_000 };
    await channel.assertQueue(QUEUE, { durable: true, arguments: limits });
    await channel.bindQueue(QUEUE, EXCHANGE, `*.${DESTINATION}.#`);
    await channel.prefetch(100);
    await channel.consume(QUEUE, (message) => {
      if (message === null) return end(); // the queue was deleted
      handle(JSON.parse(message.content));
      channel.ack(message); // only now: what was not handled comes again
    });
    throw (await closed) ?? new Error('the connection was closed');
  } finally {
    await end(); // whatever failed, no connection is left behind
  }
}

while (true) {
  await consume(process.env.AMQP_URL).catch((error) => console.error(error.message));
  await sleep(2_000);
}
