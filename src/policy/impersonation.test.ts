import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { compilePolicy, policyInlineBytesMax } from './compiler.ts'
import { PolicyEngine } from './engine.ts'
import { loadPolicy } from './load.ts'
import { access, document, engineOf, refusal } from './policy.fixture.ts'
import type { Principal } from './principal.ts'

const web = { spiffeId: 'spiffe://td/svc/web' }
const of = (spec: object, name = 'web-acts'): string => document('Impersonation', name, spec)
const workload = (id: string, more: Partial<Principal> = {}): Principal => ({ spiffeId: parseSpiffeId(id), ...more })

describe('kind Impersonation', () => {
  it('says which workloads may name whom, by whole segments', () => {
    const engine = engineOf(
      of({ subjects: [web, { spiffeId: 'spiffe://td/tools/*' }], impersonate: [{ person: 'corp/*' }] }),
      of({ subjects: [{ spiffeId: 'spiffe://td/svc/mail' }], impersonate: [{ person: 'partner/bob' }] }, 'mail-acts'),
    )
    const rule = (id: string, person: string): string | undefined => engine.impersonationRule(workload(id), person)
    assert.equal(rule('spiffe://td/svc/web', 'corp/alice'), 'web-acts')
    assert.equal(rule('spiffe://td/tools/a', 'corp/alice'), 'web-acts')
    assert.equal(rule('spiffe://td/svc/mail', 'partner/bob'), 'mail-acts')
    for (const [id, person] of [
      ['spiffe://td/svc/web2', 'corp/alice'],
      ['spiffe://td/svc/web', 'corporate/alice'],
      ['spiffe://td/svc/web', 'partner/bob'],
      ['spiffe://td/svc/mail', 'partner/bobby'],
      ['spiffe://td/svc/mail', 'corp/alice'],
    ] as const)
      assert.equal(rule(id, person), undefined, `${id} ${person}`)
    assert.equal(new PolicyEngine().impersonationRule(workload('spiffe://td/svc/web'), 'corp/alice'), undefined)
  })

  it('permits nothing else', () => {
    const engine = engineOf(of({ subjects: [web], impersonate: [{ person: 'corp/*' }] }))
    assert.equal(engine.visibility(workload('spiffe://td/svc/web')).keyspace('ks'), false)
  })

  it('is refused where it could never do anything, with its line', () => {
    const good = { subjects: [web], impersonate: [{ person: 'corp/*' }] }
    assert.equal(refusal(of(good)), '')
    for (const [change, words] of [
      [{ impersonate: [] }, /can never do anything/],
      [{ impersonate: [{ person: 'alice' }] }, /identity provider/],
      [{ impersonate: [{ person: 'c*/alice' }] }, /literal/],
      [{ impersonate: [{ group: 'corp/a' }] }, /group/],
      [{ subjects: [{ person: 'corp/bob' }] }, /this is a person/],
      [{ subjects: [{ ...web, group: 'corp/a' }] }, /a group has people/],
      [{ subjects: [{ spiffeId: 'spiffe://td/user/corp/bob' }] }, /this is a person/],
      [{ subjects: [] }, /can never do anything/],
      [{ more: true }, /more/],
    ] as const)
      assert.match(refusal(of({ ...good, ...change })), words, JSON.stringify(change))
    assert.match(
      refusal(of(good), access('web-acts', { subjects: [web], keyspaces: ['ks'], operations: ['SELECT'] })),
      /is taken by/,
    )
  })

  it('survives the thread that compiles', async () => {
    const rules = Array.from({ length: 60 }, (_, at) =>
      access(`p${at}`, { subjects: [web], keyspaces: [`keyspace_with_a_long_name_${at}`], operations: ['SELECT'] }),
    )
    const source = [of({ subjects: [web], impersonate: [{ person: 'corp/*' }] }), ...rules].join('\n---\n')
    assert.ok(source.length > policyInlineBytesMax)
    assert.deepEqual(
      (await compilePolicy(source, 'p.yaml')).impersonations,
      loadPolicy(source, 'p.yaml').impersonations,
    )
  })
})
