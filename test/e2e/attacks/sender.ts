/** Sends variants, many at a time on few connections, and keeps what was said to each. */

import assert from 'node:assert/strict'
import type { IdentityFiles } from '../../../demo/parts/certificates.ts'
import { batchEnvelope, executeEnvelope } from '../../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../../src/cql/encode.ts'
import { wholeEnvelope } from '../../../src/cql/envelope.ts'
import { headerOpcode, Opcode } from '../../../src/cql/protocol.ts'
import { readError, readPrepared } from '../../../src/cql/responses.ts'
import { describe, type RawClient } from '../../path/client.ts'
import type { Door, MeshFixture } from '../fixture.ts'
import { doorNames, openAt } from '../people.ts'
import { type Person, people } from './catalogue.ts'
import { permittedInsert, type Variant } from './variants.ts'

const inFlight = 64
const streams = 32_000
const version = 5

export const idOf = (person: string): string => `spiffe://demo.local/svc/e2e-${person}`

/** One answer: of QUERY, PREPARE, EXECUTE or BATCH. */
export interface Said {
  readonly request: 'QUERY' | 'PREPARE' | 'EXECUTE' | 'BATCH'
  /** The code of an ERROR, or −1. */
  readonly code: number
  readonly words: string
}

export interface Outcome {
  readonly variant: Variant
  readonly said: readonly Said[]
}

/** The code of an ERROR, or −1. */
export function codeOf(answer: Buffer): number {
  return headerOpcode(answer, 0) === Opcode.ERROR ? readError(wholeEnvelope(answer)).code : -1
}

function said(request: Said['request'], answer: Buffer): Said {
  return { request, code: codeOf(answer), words: describe(answer) }
}

/** One identity at one door. */
class Sender {
  readonly person: Person
  readonly #client: RawClient
  readonly #permitted: Buffer
  #stream = 0

  private constructor(person: Person, client: RawClient, permitted: Buffer) {
    this.person = person
    this.#client = client
    this.#permitted = permitted
  }

  static async open(door: Door, person: Person, files: IdentityFiles): Promise<Sender> {
    const client = await openAt(door, files, version)
    // The reader may not write, and the corpus has no batches for him.
    if (person === 'reader') return new Sender(person, client, Buffer.alloc(16))
    const answer = await client.ask(prepareEnvelope(version, 0, 'INSERT INTO e2e_attacks.open (k, v) VALUES (?, ?)'))
    assert.equal(codeOf(answer), -1, describe(answer))
    return new Sender(person, client, readPrepared(wholeEnvelope(answer), version).id)
  }

  async send(variants: readonly Variant[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = []
    let next = 0
    const work = async (): Promise<void> => {
      while (next < variants.length) {
        const variant = variants[next++]!
        outcomes.push({ variant, said: await this.#sendOne(variant) })
      }
    }
    await Promise.all(Array.from({ length: inFlight }, work))
    return outcomes
  }

  /** The connection is as it was. */
  async assertUsable(): Promise<void> {
    const text = "SELECT release_version FROM system.local WHERE key = 'local'"
    const answer = await this.#client.ask(queryEnvelope(version, this.#nextStream(), text))
    assert.equal(codeOf(answer), -1, describe(answer))
    assert.deepEqual(this.#client.unasked, [])
  }

  close(): void {
    this.#client.close()
  }

  #nextStream(): number {
    this.#stream = (this.#stream % streams) + 1
    return this.#stream
  }

  async #sendOne({ form, text, values, mark, attack }: Variant): Promise<Said[]> {
    const client = this.#client
    const { options = {} } = attack
    if (form === 'batch') {
      const items = [
        { id: this.#permitted, values: [Buffer.from(`${mark}-beside`), Buffer.from('x')] },
        { text, values },
        { text: permittedInsert(mark), values: [] },
      ]
      return [said('BATCH', await client.ask(batchEnvelope(version, this.#nextStream(), 1, items, options)))]
    }
    if (form !== 'prepare') {
      return [said('QUERY', await client.ask(queryEnvelope(version, this.#nextStream(), text, { ...options, values })))]
    }
    const answer = await client.ask(prepareEnvelope(version, this.#nextStream(), text))
    if (codeOf(answer) !== -1) return [said('PREPARE', answer)]
    const { id, resultMetadataId } = readPrepared(wholeEnvelope(answer), version)
    const execute = executeEnvelope(version, this.#nextStream(), id, resultMetadataId, values, options)
    return [said('PREPARE', answer), said('EXECUTE', await client.ask(execute))]
  }
}

/** Three of four go straight to a sidecar, the fourth through NGINX and the gateway. */
export async function sendAll(mesh: MeshFixture, variants: readonly Variant[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  // One after the other: each makes the identity's files anew.
  const files = new Map<Person, IdentityFiles>()
  for (const person of people) files.set(person, await mesh.identity(idOf(person)))
  await Promise.all(
    people.flatMap((person) =>
      doorNames.map(async (door) => {
        const own = variants.filter(
          ({ attack }, at) => attack.who === person && (at % 4 === 3 ? 'nginx' : 'sidecar') === door,
        )
        const sender = await Sender.open(mesh.doors[door], person, files.get(person)!)
        try {
          outcomes.push(...(await sender.send(own)))
          await sender.assertUsable()
        } finally {
          sender.close()
        }
      }),
    ),
  )
  return outcomes
}
