/**
 * `node:http`, without what an import of it loads besides. An import reads each of a module's exports, and for one of them, a WebSocket, Node.js
 * loads undici: 17 MB that nothing here uses.
 *
 * Rule: no other file imports more than types of `node:http`; `scripts/packages.test.ts` looks.
 */
export const { Agent, createServer, request } = process.getBuiltinModule('node:http')
