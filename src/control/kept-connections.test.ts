/** That a proxy's kept connections to the control plane may outlive the certificates that they were opened with. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { z } from 'zod'
import { authoritiesPath } from '../mesh/authorities.ts'
import { eventually, overHttps, withMesh } from './mesh.fixture.ts'

const spiffeId = 'spiffe://demo.local/ringfence/sidecar/n1'
/** Long enough to be renewed on a busy machine. */
const svidTtlMs = 10_000
/** As many as a proxy keeps. */
const kept = 4

it('what connections of a certificate that has ended are refused goes by another one: no question and no report is lost', () =>
  withMesh({ svidTtlMs }, async (mesh) => {
    const lines: string[] = []
    const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
    const agent = await mesh.agent('n1', await mesh.token(spiffeId, 'sidecar'), { log })
    agent.setReporter(() => ({
      policyRevision: 0,
      connections: 0,
      sessions: 0,
      upstreamConnections: 0,
      listeners: [],
      traffic: [],
    }))
    const ask = (): Promise<unknown> => agent.askControl(authoritiesPath, {}, z.unknown())
    const askAll = () => Promise.all(Array.from({ length: kept }, ask))
    const { notAfterMs } = agent.credentials.current
    await askAll()
    await eventually('another certificate', () => agent.credentials.current.notAfterMs > notAfterMs)
    await sleep(Math.max(notAfterMs - Date.now(), 0) + 100)
    for (let round = 0; round < 3; round++) await askAll()
    // A report a second, and each kept connection had its turn.
    await sleep(1_500)
    assert.deepEqual(
      lines.filter((line) => line.includes('did not understand')),
      [],
    )
    // Who is refused for what he is, is so by each connection.
    await mesh.admin.revoke({ kind: 'id', value: spiffeId, reason: 'a test' })
    await assert.rejects(ask())
    assert.equal((await overHttps(mesh, agent.credentials.current, 'POST', authoritiesPath, {})).status, 403)
  }))
