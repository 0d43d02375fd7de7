// Publishes and receives with the official SDK; prints what it saw as JSON.
// node round_trip.mjs <folder of @azure/event-hubs> <connection string> <hub>
import { createRequire } from "node:module";

const [sdk, connectionString, hub] = process.argv.slice(2);
const require = createRequire(`${sdk}/`);
const { EventHubProducerClient, EventHubConsumerClient, earliestEventPosition } = require("@azure/event-hubs");

const producer = new EventHubProducerClient(connectionString, hub);
const properties = await producer.getEventHubProperties();
const batch = await producer.createBatch({ partitionKey: "service-desk" });
for (let number = 0; number < 20; number++) {
  batch.tryAdd({ body: { number }, properties: { schema: "v1" }, messageId: `id-${number}` });
}
await producer.sendBatch(batch);
await producer.sendBatch([{ body: Buffer.from("single") }], { partitionId: "1" });
await producer.sendBatch([{ body: "x".repeat(300000) }], { partitionKey: "service-desk" });
const partition = await producer.getPartitionProperties("1");
await producer.close();

const consumer = new EventHubConsumerClient("$Default", connectionString, hub);
const events = [];
const errors = [];
await new Promise((resolve) => {
  const subscription = consumer.subscribe(
    {
      processEvents: async (received, context) => {
        for (const event of received) {
          events.push({
            partition: context.partitionId,
            sequence: event.sequenceNumber,
            offset: event.offset,
            key: event.partitionKey,
            id: event.messageId,
            schema: event.properties?.schema,
            body: typeof event.body === "string" ? event.body.length : (event.body.number ?? event.body.toString()),
          });
        }
        if (events.length >= 22) subscription.close().then(resolve);
      },
      processError: async (error) => {
        errors.push(String(error));
      },
    },
    { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, maxBatchSize: 50 },
  );
});
await consumer.close();
console.log(JSON.stringify({ name: properties.name, partitions: properties.partitionIds, last: partition.lastEnqueuedSequenceNumber, events, errors }));
