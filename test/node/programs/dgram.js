// Every datagram is answered.
const fs = require('fs');
const socket = require('dgram').createSocket('udp4');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
socket.on('message', (text, from) => socket.send(`${text} release=${release} pid=${process.pid}`, from.port, from.address));
socket.bind(process.env.PORT, process.env.HOST);
