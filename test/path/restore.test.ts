/** The restore drill: the state of the control plane is lost under traffic and comes back from a backup that is older than what was done since. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { statusText } from '../../src/cli/commands/admin.ts'
import { conflictText } from '../../src/cli/in-force.ts'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { credentialsOf, makeKey } from '../../src/mesh/credentials.ts'
import { issuedCertificate } from '../../src/mesh/enrolment.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { Sidecar } from '../../src/sidecar/sidecar.ts'
import { describe, RawClient } from './client.ts'
import { FakeNode } from './fake-node.ts'
import { endPrograms, Program } from './program.ts'
import { usualPolicy } from './world.ts'

const select = 'SELECT * FROM shop.items'
const carol = `${usualPolicy}
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: carol-shop }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/carol }], keyspaces: [shop], operations: [ALL] }
`
const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'

suite('a control plane whose state is lost', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-drill-'))
  })
  after(() => {
    endPrograms()
    rmSync(folder, { recursive: true, force: true })
  })

  const minted = async (mesh: Mesh, path: string) => {
    const { certificatePem, keyPem, bundlePem } = await mesh.admin.mint({ spiffeId: `spiffe://demo.local/${path}` })
    return credentialsOf(certificatePem, keyPem, bundlePem)
  }
  const ended = async (...args: string[]) => {
    const { code, out, err } = await Program.run(args)
    assert.equal(code, 0, err)
    return out
  }

  it('is restored under traffic: no second serial, no lost revision, no token twice, no refused request', async () => {
    await withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy(usualPolicy, 'p.yaml', false)
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const node = new FakeNode(await minted(mesh, 'cassandra/node1'))
      await node.start()
      const sidecar = new Sidecar({
        config: {
          name: 'n1',
          control: { url: mesh.control.url },
          dataCenter: 'dc1',
          rack: 'rack1',
          upstream: { address: '127.0.0.1', port: node.port, connections: 2, share: 'mesh' },
          listeners: [{ address: '127.0.0.1', port: 0, tls: true } as never],
          audit: { directory: 'unused' },
        },
        feed: agent,
        log: pino({ level: 'silent' }),
        auditDirectory: join(folder, 'audit'),
      })
      await sidecar.start()
      const who = { alice: await minted(mesh, 'svc/alice'), carol: await minted(mesh, 'svc/carol') }
      const open = (name: keyof typeof who) =>
        // Until the sidecar knows its node.
        eventually('a client is let in', () =>
          RawClient.open({ port: sidecar.ports[0]!, credentials: who[name] }).catch(() => undefined),
        )
      const clients = { alice: await open('alice'), carol: await open('carol') }
      const asked = async (name: keyof typeof who, stream: number) =>
        describe(await clients[name].ask(queryEnvelope(4, stream, select), 30_000))

      let done = false
      let stream = 0
      const answers = new Map<string, number>()
      const traffic = (async () => {
        await eventually('the node is known', async () => (await asked('alice', 1)) === `echo: ${select}`)
        while (!done) {
          const answer = await asked('alice', 2 + (stream++ % 100))
          answers.set(answer, (answers.get(answer) ?? 0) + 1)
          await sleep(2)
        }
      })()
      try {
        // What is in the backup: a policy and a token that was not used.
        const unused = await mesh.token('spiffe://demo.local/ringfence/sidecar/c1/dc1/n2', 'sidecar')
        const backup = join(folder, 'state.backup')
        const secret = join(folder, 'key')
        writeFileSync(secret, `${randomBytes(32).toString('base64')}\n`)
        const flags = ['--state-dir', mesh.stateDir, '--key-file', secret]
        assert.match(await ended('control', 'backup', backup, ...flags), /policy revision 1, epoch 0/)
        assert.ok(!readFileSync(backup).includes('PRIVATE KEY'))

        // What is done after it: another policy, another proxy with that token, more certificates.
        await mesh.admin.applyPolicy(carol, 'p.yaml', false)
        await eventually('carol is permitted', async () => (await asked('carol', 1)) === `echo: ${select}`)
        await mesh.agent('n2', unused)
        await minted(mesh, 'svc/later')
        const serials = new Set((await mesh.admin.issuances(100)).issuances.map(({ serial }) => serial))

        await mesh.control.stop()
        rmSync(mesh.stateDir, { recursive: true })
        const wrong = join(folder, 'wrong')
        writeFileSync(wrong, randomBytes(32).toString('base64'))
        const refused = await Program.run([
          ...['control', '--state-dir', mesh.stateDir, 'restore', backup],
          ...['--key-file', wrong],
        ])
        assert.ok(!existsSync(mesh.stateDir), 'nothing is made of it')
        // The folder is named before the verb here.
        const lost = await Program.run([
          'control',
          '--state-dir',
          join(folder, 'none'),
          'backup',
          backup,
          '--key-file',
          secret,
        ])
        assert.match(lost.err, /none is not the folder of a control plane/)
        assert.notEqual(refused.code, 0)
        assert.match(refused.err, /the key is not that of the backup, or the file is damaged/)
        assert.match(
          await ended('control', 'restore', backup, ...flags),
          /policy revision 1, now of epoch \d+; 1 join tokens/,
        )
        await mesh.restart()

        // The proxy keeps the policy that it has, and status says that it is not that of the control plane.
        const { policyConflict } = await eventually('the conflict', async () => {
          const status = await mesh.admin.status()
          return status.policyConflict !== undefined && status
        })
        assert.deepEqual(policyConflict, { names: ['n1'], nextRevision: 3 })
        assert.match(conflictText(policyConflict!), /as revision 3/)
        assert.equal(await asked('carol', 1), `echo: ${select}`)
        assert.equal(agent.value(pushedKinds.policy).current.revision, 2)

        // Settled: a revision that nobody has had, taken by the proxy and shown with its epoch.
        assert.deepEqual(await mesh.admin.applyPolicy(carol, 'p.yaml', false), { revision: 3, applied: true })
        const settled = await eventually('it is in force', async () => {
          const status = await mesh.admin.status()
          return status.policyConflict === undefined && status.proxies[0]?.synced === true && status
        })
        const { epoch = 0 } = agent.value(pushedKinds.policy).current
        assert.ok(epoch > 0)
        assert.deepEqual([settled.policyRevision, settled.policyEpoch], [3, epoch])
        assert.match(statusText(settled, Date.now()), new RegExp(`policy revision 3 of epoch ${epoch}`))
        assert.equal(await asked('carol', 1), `echo: ${select}`)

        // Renewals go on, with serials that nobody has had; the token that was used is worth nothing.
        const { csrPem } = await makeKey()
        await agent.askControl('/v1/renew', { csrPem }, issuedCertificate)
        await assert.rejects(mesh.agent('n2-again', unused), /join token is not valid/)
        await mesh.agent('n3', await mesh.token('spiffe://demo.local/ringfence/sidecar/c1/dc1/n3', 'sidecar'))
        const since = (await mesh.admin.issuances(100)).issuances.filter(({ issuedAtMs }) => issuedAtMs > epoch * 1000)
        assert.ok(since.length >= 2, `${since.length} certificates since`)
        for (const { serial } of since) assert.ok(!serials.has(serial), serial)
      } finally {
        done = true
        await traffic
        for (const client of Object.values(clients)) client.close()
        await sidecar.stop(0)
        await node.stop()
      }
      assert.deepEqual([...answers.keys()], [`echo: ${select}`], 'no request was refused')
      assert.ok(answers.get(`echo: ${select}`)! > 100, `${answers.get(`echo: ${select}`)} requests`)
    })
  })

  it('takes revisions again from one that was restored by a clock that was ahead', async () => {
    await withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const report = { connections: 0, sessions: 0, upstreamConnections: 0, listeners: [], traffic: [] }
      agent.setReporter(() => ({ ...report, policyRevision: agent.value(pushedKinds.policy).current.revision }))
      const ahead = { revision: 7, source: 'ahead', epoch: 4_000_000_000 }
      mesh.control.value(pushedKinds.policy).set(ahead)
      await eventually('it is taken', () => agent.value(pushedKinds.policy).current.epoch === ahead.epoch)
      await mesh.control.stop()
      await mesh.restart()
      await eventually('it is reported', async () => (await mesh.admin.status()).policyConflict !== undefined)
      const { revision } = await mesh.admin.applyPolicy('after', 'p.yaml', false)
      assert.equal(revision, 8)
      await eventually('the next is taken', () => agent.value(pushedKinds.policy).current.source === 'after')
      assert.equal(agent.value(pushedKinds.policy).current.epoch, ahead.epoch + 1)
    })
  })
})
