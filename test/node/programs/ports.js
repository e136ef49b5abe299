// Several servers: an address, another one, and two ports that the system chooses.
const http = require('http');
const answer = (req, res) => res.end(`hello from release=1 pid=${process.pid}\n`);

http.createServer(answer).listen(process.env.PORT, process.env.HOST);
http.createServer(answer).listen(process.env.PORT2, process.env.HOST);
for (let i = 0; i < 2; i++) {
  const server = http.createServer(answer).listen(0, process.env.HOST, () => console.log(`chosen ${i} ${server.address().port}`));
}
