/** A control plane of its own for each test, with agents that are stopped with it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Agent, type AgentOptions, startAgent } from '../agent/agent.ts'
import { RingfenceError } from '../base/errors.ts'
import { AdminClient } from '../cli/admin-client.ts'
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
  const deadline = performance.now() + 20_000
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    assert.ok(performance.now() < deadline, `waited too long for ${what}`)
    await sleep(20)
  }
}
