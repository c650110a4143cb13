import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parseSpiffeId } from './spiffe.ts'
import { endingAt, type VerifiedIdentity, verifiedIdentity } from './verified.ts'

const src = join(import.meta.dirname, '..')

describe('a verified identity', () => {
  const identity = verifiedIdentity({
    subject: parseSpiffeId('spiffe://demo.local/svc/a'),
    person: undefined,
    groups: [],
    role: undefined,
    methods: ['certificate'],
    claims: {},
    expiresAtMs: 1000,
    evidenceHash: '',
    token: undefined,
    gateway: undefined,
    key: 'a',
  })

  it('is made in one place', () => {
    const made = globSync('**/*.ts', { cwd: src }).filter(
      (file) => !file.endsWith('.test.ts') && /\bverifiedIdentity\(/.test(readFileSync(join(src, file), 'utf8')),
    )
    assert.deepEqual(made.sort(), ['identity/proofs/registry.ts', 'identity/verified.ts'])
  })

  it('has no copy but one that its maker makes, with an end that is not later', () => {
    const shorter = endingAt(identity, 500)
    assert.deepEqual([shorter.expiresAtMs, shorter.key], [500, 'a'])
    assert.equal(endingAt(shorter, 2000).expiresAtMs, 500)
    // @ts-expect-error what a spread makes lacks the private field
    const copy: VerifiedIdentity = { ...identity, subject: parseSpiffeId('spiffe://demo.local/svc/b') }
    assert.throws(() => endingAt(copy, 500), /was verified/)
  })
})
