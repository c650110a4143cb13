/** A control plane of its own for each test, with agents that are stopped with it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientRequest, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Agent, type AgentOptions, startAgent } from '../agent/agent.ts'
import { RingfenceError } from '../base/errors.ts'
import { AdminClient } from '../cli/admin-client.ts'
import { parseJson } from '../mesh/answer.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { type ControlOptions, type ControlPlane, startControl } from './main.ts'

const log = pino({ level: 'silent' })

export interface Mesh {
  control: ControlPlane
  readonly admin: AdminClient
  readonly stateDir: string
  readonly agents: Agent[]
  restart(change?: Partial<ControlOptions>): Promise<void>
  token(spiffeId: string, role: AgentRole, ttlMs?: number): Promise<string>
  agent(name: string, joinToken?: string, change?: Partial<AgentOptions>): Promise<Agent>
}

export async function withMesh(change: Partial<ControlOptions>, test: (mesh: Mesh) => Promise<void>): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'rf-'))
  const stateDir = join(base, 'c')
  const options: ControlOptions = {
    stateDir,
    listen: { address: '127.0.0.1', port: 0 },
    trustDomain: 'demo.local',
    validatePolicy: (source, fileName) => {
      if (source.includes('wrong')) throw new RingfenceError('CONFIG', `${fileName}:1:1: wrong`)
    },
    log,
    ...change,
  }
  const agents: Agent[] = []
  const mesh: Mesh = {
    control: await startControl(options),
    admin: new AdminClient(stateDir),
    stateDir,
    agents,
    async restart(now = {}) {
      const { address, port } = this.control
      this.control = await startControl({ ...options, listen: { address, port }, ...now })
    },
    async token(spiffeId, role, ttlMs) {
      return (await this.admin.makeToken({ spiffeId, role, ttlMs })).token
    },
    async agent(name, joinToken, more = {}) {
      const role = more.role ?? 'sidecar'
      const agent = await startAgent({
        role,
        name,
        stateDir: join(base, name),
        controlUrl: this.control.url,
        joinToken,
        log,
        ...more,
      })
      agents.push(agent)
      return agent
    },
  }
  try {
    await test(mesh)
  } finally {
    await Promise.all(agents.map((agent) => agent.stop()))
    await mesh.control.stop()
    rmSync(base, { recursive: true, force: true })
  }
}

export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    assert.ok(performance.now() < deadline, `waited too long for ${what}`)
    await sleep(20)
  }
}

export interface RawAnswer {
  readonly status: number
  /** JSON; text where it is none. */
  readonly body: unknown
}

/** One request over HTTPS, with a certificate or without. */
export function overHttps(
  { control }: { readonly control: Pick<Mesh['control'], 'url'> },
  credentials: { readonly certificatePem: string; readonly keyPem: string } | undefined,
  method: string,
  path: string,
  body?: unknown,
): Promise<RawAnswer> {
  const { certificatePem: cert, keyPem: key } = credentials ?? {}
  const identity = cert === undefined ? {} : { cert, key }
  return exchange(
    httpsRequest(new URL(path, control.url), {
      ...identity,
      method,
      rejectUnauthorized: false,
      agent: false,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
    }),
    body,
  )
}

/** One request over the control plane's own socket. */
export function overSocket({ control }: Mesh, method: string, path: string, body?: unknown): Promise<RawAnswer> {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  return exchange(httpRequest({ socketPath: control.socketPath, method, path, headers, agent: false }), body)
}

/** The answer; of a stream its head and its first piece. */
function exchange(sent: ClientRequest, body: unknown): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    sent.on('error', reject)
    sent.on('response', (answer) => {
      const status = answer.statusCode ?? 0
      let text = ''
      const done = (): void => resolve({ status, body: parseJson(text) ?? text })
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        text += part
        if (answer.headers['content-type'] !== 'application/x-ndjson') return
        done()
        sent.destroy()
      })
      answer.on('end', done)
      answer.on('error', () => {})
    })
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}
