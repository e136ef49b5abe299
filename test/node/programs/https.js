// TLS; session tickets of one worker must be good at every other.
const fs = require('fs');
const https = require('https');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
// Without a context of its own Node.js takes a hash of process.argv for it, and the
// path of the script is another one in each release.
const sessionIdContext = 'hello';
https.createServer({ sessionIdContext, cert: fs.readFileSync(process.env.CERT), key: fs.readFileSync(process.env.KEY) }, (req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  setTimeout(() => res.end(`hello from release=${release} pid=${process.pid} resumed=${req.socket.isSessionReused()}\n`), ms);
}).listen(process.env.PORT, process.env.HOST);
