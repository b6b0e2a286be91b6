// Loaded into an agent: what it connects to at the ports of other nodes goes through the test's network, which is told
// first where it is meant to go. Agents announce the port they listen on, so nothing else can stand between them.
const net = require('node:net');

const { via, ranges } = JSON.parse(process.env.PEER_ROUTES);
const { connect } = net.Socket.prototype;

net.Socket.prototype.connect = function (...args) {
  const normalized = Array.isArray(args[0]);
  const options = normalized ? args[0][0] : args[0];
  const port = Number(options?.port);
  if (!ranges.some(([first, last]) => first <= port && port <= last)) return connect.apply(this, args);
  if (normalized) args[0][0] = { ...options, port: via };
  else args[0] = { ...options, port: via };
  const socket = connect.apply(this, args);
  socket.write(`${port}\n`);
  return socket;
};
