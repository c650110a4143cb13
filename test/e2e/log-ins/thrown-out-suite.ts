/**
 * Who came in is thrown out, one for each proof, at both doors: his open session ends, what he shows is good no longer, his neighbour goes on, and he
 * comes in again when he is let in again. The same on the real mesh and on a fake node.
 */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { queryEnvelope } from '../../../src/cql/encode.ts'
import type { Revoked } from '../../../src/identity/revoked/revocation.ts'
import { describe, type RawClient } from '../../path/client.ts'
import { doorNames } from './cases.ts'
import { evidenceHash, type Proof, proofNames, type Shown } from './proofs.ts'
import { openLogIn, rawLogIn } from './raw-log-in.ts'
import { addresses, doorWords, type LogInMesh, untilTold } from './refusal-suite.ts'
import { notAccepted, refusalsOf } from './refusals.ts'

/** It is in force within a second, and a session ends within two. */
const endsMsMax = 10_000

interface Meant {
  readonly revoked: Revoked
  /** As near to him as can be, and not meant. */
  neighbour(): Promise<Shown>
}

function meantBy(proof: Proof, shown: Shown): Meant {
  if (shown.certificate !== undefined) {
    const { serialNumber: value } = new X509Certificate(shown.certificate.certificatePem)
    return { revoked: { kind: 'one-certificate', value }, neighbour: () => proof.make() }
  }
  const value = proof.name === 'pre-signed STS' ? evidenceHash(shown) : decodeJwt(shown.password).jti!
  return { revoked: { kind: 'one-token', value }, neighbour: () => proof.make() }
}

export function thrownOutSuite(mesh: () => LogInMesh): void {
  suite('who is thrown out', { concurrency: 1 }, () => {
    for (const name of proofNames) {
      it(`${name}: his session ends, he is refused, and his neighbour is not`, async (t) => {
        const { proofs, doors, outside, throwOut, letIn } = mesh()
        const proof = proofs.all.find((one) => one.name === name)!
        const cell = refusalsOf(proofs, outside)[name].revoked
        const hears = 'after' in cell && cell.after === 'it was thrown out' ? cell.hears : notAccepted
        const came = []
        for (const door of doorNames) {
          const [shown, address] = [await proof.make(), addresses.next()]
          const client = await openLogIn(doors[door], shown, address)
          assert.match(await asked(mesh(), client), /^(?!0x|closed)/)
          came.push({ at: doors[door], door, shown, address, client, ...meantBy(proof, shown) })
        }
        try {
          await Promise.all(came.map(({ revoked }) => throwOut(revoked)))
          for (const { at, door, shown, address, client, neighbour } of came) {
            await t.test(doorWords[door], async () => {
              const last = await untilNot(/^(?!0x|closed)/, () => asked(mesh(), client))
              assert.match(last, /^0x2100 .*revo|^closed/)
              await Promise.race([client.closed, sleep(endsMsMax, undefined, { ref: false })])
              assert.ok(client.isClosed, 'his session does not end')
              assert.match(await untilNot(/^in$/, () => rawLogIn(at, shown, address)), hears)
              const causes = await untilTold(mesh(), address, 'revoked')
              assert.deepEqual([...new Set(causes)], ['revoked'])
              assert.equal(await rawLogIn(at, await neighbour(), addresses.next()), 'in', 'his neighbour')
            })
          }
        } finally {
          for (const { client } of came) client.close()
          await Promise.all(came.map(({ revoked }) => letIn(revoked)))
        }
        for (const { at, door, shown, address } of came)
          assert.equal(await untilNot(/^(?!in$)/, () => rawLogIn(at, shown, address)), 'in', doorWords[door])
      })
    }
  })
}

function asked({ permitted }: LogInMesh, client: RawClient): Promise<string> {
  return client.ask(queryEnvelope(client.version, 3, permitted)).then(describe, (reason: Error) => reason.message)
}

/** The first answer that is another one; the last one where none is. */
async function untilNot(before: RegExp, ask: () => Promise<string>): Promise<string> {
  for (const until = performance.now() + endsMsMax; ; await sleep(100)) {
    const told = await ask()
    if (!before.test(told) || performance.now() > until) return told
  }
}
