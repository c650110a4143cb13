/** The product of proofs, refusals and doors, told by a client without a driver's manners; the same on the real mesh and on a fake node. */
import assert from 'node:assert/strict'
import { it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Revoked } from '../../../src/identity/revoked/revocation.ts'
import { type DoorName, doorNames } from './cases.ts'
import type { Outside } from './outside.ts'
import { type Proofs, proofNames } from './proofs.ts'
import { Addresses, type LogInDoor, type Refused, rawLogIn, refusedLogIn } from './raw-log-in.ts'
import { type Fault, refusalNames, refusalsOf } from './refusals.ts'

export interface LogInMesh {
  readonly outside: Outside
  readonly proofs: Proofs
  readonly doors: Readonly<Record<DoorName, LogInDoor>>
  /** Causes of the refusals of an address, as far as they are told by now. */
  why(address: string): Promise<readonly string[]>
  /** As in `Outside.policy`; resolves when it is in force. */
  admit(who: 'all' | 'others'): Promise<void>
  /** What they are permitted to ask. */
  readonly permitted: string
  /** As `ringfence identity revoke`; resolves when it is in force. */
  throwOut(revoked: Revoked): Promise<void>
  /** As `ringfence identity restore`. */
  letIn(revoked: Revoked): Promise<void>
}

export const doorWords: Readonly<Record<DoorName, string>> = { nginx: 'through NGINX', sidecar: 'at a sidecar' }

/** A report is made each second. */
const toldMsMax = 8_000
const inForceMsMax = 8_000

/** Of what a refusal has to be told of, each its own. */
export const addresses = new Addresses(77)

async function assertRefused(mesh: LogInMesh, { address, told }: Refused, { cause, hears }: Fault): Promise<void> {
  assert.match(told, hears)
  const until = performance.now() + toldMsMax
  let causes = await mesh.why(address)
  while (cause !== undefined && causes.length === 0 && performance.now() < until) {
    await sleep(200)
    causes = await mesh.why(address)
  }
  assert.deepEqual([...new Set(causes)], cause === undefined ? [] : [cause])
}

export function refusalSuite(mesh: () => LogInMesh): void {
  for (const door of doorNames) {
    suite(`a proof ${doorWords[door]}`, { concurrency: true }, () => {
      for (const name of proofNames) {
        it(`${name}: comes in, and is refused with each fault`, async (t) => {
          const { outside, proofs, doors } = mesh()
          const proof = proofs.all.find((one) => one.name === name)!
          assert.equal(await rawLogIn(doors[door], await proof.make(), addresses.next()), 'in')
          const refusals = refusalsOf(proofs, outside)[name]
          const tried = new Map(
            refusalNames.flatMap((one) => {
              const fault = refusals[one]
              if ('impossible' in fault || fault.after !== undefined) return []
              const refused = refusedLogIn(doors[door], fault, addresses)
              // Told of by the subtest.
              refused.catch(() => {})
              return [[one, { fault, refused }] as const]
            }),
          )
          for (const one of refusalNames) {
            await t.test(one, async (sub) => {
              const found = tried.get(one)
              const fault = refusals[one]
              if ('impossible' in fault) sub.diagnostic(`there is none: ${fault.impossible}`)
              else if (found === undefined) sub.diagnostic(`tried below, after ${fault.after}`)
              else await assertRefused(mesh(), await found.refused, found.fault)
            })
          }
        })
      }
    })
  }

  suite('who was let in, and may come no longer,', { concurrency: 1 }, () => {
    it('is refused with the evidence that was good', async (t) => {
      const { outside, proofs, doors, admit } = mesh()
      const table = refusalsOf(proofs, outside)
      const kept = []
      for (const door of doorNames) {
        for (const proof of proofs.all) {
          const fault = table[proof.name].revoked
          if ('impossible' in fault || fault.after !== 'the policy changed') continue
          const address = addresses.next()
          const shown = await fault.make(() => Promise.reject(new Error('it is used below')))
          assert.equal(await rawLogIn(doors[door], shown, address), 'in', `${proof.name} ${doorWords[door]}`)
          kept.push({ name: `${proof.name} ${doorWords[door]}`, door: doors[door], fault, shown, address })
        }
      }
      await admit('others')
      try {
        for (const { name, door, fault, shown, address } of kept) {
          await t.test(name, async () => {
            const until = performance.now() + inForceMsMax
            let told = await rawLogIn(door, shown, address)
            // Where providers' documents change, their keys come a moment later.
            while (/no identity provider has keys/.test(told) && performance.now() < until) {
              await sleep(200)
              told = await rawLogIn(door, shown, address)
            }
            const causes = (await untilTold(mesh(), address, fault.cause!)).filter((cause) => cause !== 'no-keys')
            assert.match(told, fault.hears)
            assert.deepEqual([...new Set(causes)], [fault.cause])
          })
        }
      } finally {
        await admit('all')
      }
    })
  })
}

/** Causes of the refusals of an address, when that one is among them. */
export async function untilTold(mesh: LogInMesh, address: string, cause: string): Promise<readonly string[]> {
  const until = performance.now() + toldMsMax
  for (;;) {
    const causes = await mesh.why(address)
    if (causes.includes(cause) || performance.now() > until) return causes
    await sleep(200)
  }
}
