const fs = require('fs');
const { setTimeout: after } = require('timers/promises');
const app = require('fastify')({ logger: false });

const release = fs.readFileSync('RELEASE', 'utf8').trim();
app.get('/', async (req) => {
  await after(Number(req.query.ms));
  return `hello from release=${release} pid=${process.pid}\n`;
});
app.listen({ port: Number(process.env.PORT), host: process.env.HOST }).catch((err) => {
  console.error(err);
  process.exit(1);
});
