/**
 * A stranger at the control plane: so many POSTs a second to `/v1/enrol` that are none, for so long. Its plan is one argument, JSON. Prints
 * what came of them as JSON.
 */
import { connect, type TLSSocket } from 'node:tls'
import { junkBodies } from '../../src/control/junk.fixture.ts'

export interface JunkPlan {
  readonly port: number
  readonly perSecond: number
  readonly seconds: number
  /** Connections that stay, or a new one for each POST, which costs the control plane a handshake. */
  readonly connections: 'kept' | 'new'
}

export interface JunkResult {
  readonly sent: number
  /** By HTTP status. */
  readonly answers: Readonly<Record<string, number>>
}

const tickMs = 10
const kept = 8
/** Of those that are new for each POST; where the machine is slower than the plan, the oldest go. */
const openMax = 500

const plan = JSON.parse(process.argv[2]!) as JunkPlan
const posts = junkBodies.map(
  (body) =>
    `POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
)
const answers: Record<string, number> = {}
const open = new Set<TLSSocket>()
let sent = 0

function opened(): TLSSocket {
  const socket = connect({ port: plan.port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.on('error', () => {})
  socket.on('close', () => open.delete(socket))
  socket.on('data', (chunk: Buffer) => {
    for (const [, status] of chunk.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3})/g))
      answers[status!] = (answers[status!] ?? 0) + 1
    if (plan.connections === 'new') socket.destroy()
  })
  open.add(socket)
  return socket
}

function next(): TLSSocket {
  const [oldest] = open
  if (plan.connections === 'new') {
    if (open.size >= openMax) oldest?.destroy()
    return opened()
  }
  if (oldest === undefined || open.size < kept) return opened()
  open.delete(oldest)
  open.add(oldest)
  return oldest
}

const began = performance.now()
const timer = setInterval(() => {
  const elapsedMs = performance.now() - began
  if (elapsedMs > plan.seconds * 1_000) {
    clearInterval(timer)
    const result: JunkResult = { sent, answers }
    process.stdout.write(JSON.stringify(result), () => process.exit(0))
    return
  }
  // What a slow turn left out is not made up for at once: the plan is a rate.
  const due = Math.min((plan.perSecond * elapsedMs) / 1_000 - sent, (plan.perSecond * tickMs * 10) / 1_000)
  for (let i = 0; i < due; i++) next().write(posts[sent++ % posts.length]!)
}, tickMs)
