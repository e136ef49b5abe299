// Never listens: a consumer of some queue.
setInterval(() => {}, 1000);
process.on('message', (m) => process.send({ got: m }));
