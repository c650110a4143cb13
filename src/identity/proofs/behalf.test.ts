/** Under whom a refused log-in by an authorization id is counted. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import { parseSpiffeId } from '../spiffe.ts'
import { listenerModes, proofs } from './index.ts'
import { askedOf, Conversation } from './registry.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringfence-behalf-'))
const leaves = new Map<string, Buffer>()

before(async () => {
  const ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
  for (const name of ['web', 'web again', 'other']) {
    const spiffeId = parseSpiffeId(`spiffe://demo.local/svc/${name.split(' ')[0]}`)
    const { certificatePem } = await ca.mint({ spiffeId, ttlMs: 3_600_000, listenerIdentities: [] })
    leaves.set(name, new X509Certificate(certificatePem).raw)
  }
  leaves.set('unreadable', Buffer.from('no certificate'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

/** As what a client with that certificate says it is. */
function claimed(leaf: string, authorizationId: string): string | undefined {
  const connection = { certificates: [leaves.get(leaf)!], listenerIdentity: undefined }
  const step = new Conversation(askedOf(proofs.taken(listenerModes.behalf)), connection).answer(
    Buffer.from(`${authorizationId}\0any\0`),
  )
  assert.ok(!Buffer.isBuffer(step))
  return step.claimed
}

describe('an authorization id beside a certificate', () => {
  it('is counted for the workload that gives it, so that none is in the way of another', () => {
    const web = claimed('web', 'corp/alice')
    assert.ok(web?.includes('corp/alice') && web.includes('spiffe://demo.local/svc/web'))
    assert.equal(claimed('web again', 'corp/alice'), web)
    const others = [claimed('other', 'corp/alice'), claimed('unreadable', 'corp/alice'), claimed('web', 'corp/bob')]
    assert.equal(new Set([web, ...others]).size, 4)
  })
})
