/**
 * What people, the web application and the cloud job prove themselves with at their providers: made anew at each start, a file for each that only
 * its owner may read. A process is given the path of its own.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomically } from '../../src/mesh/files.ts'

export type Holder = 'alice' | 'bob' | 'shop' | 'forecast'

const holders: readonly Holder[] = ['alice', 'bob', 'shop', 'forecast']
const secretBytes = 18

export function makeSecrets(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const holder of holders)
    writeFileAtomically(secretFile(dir, holder), `${randomBytes(secretBytes).toString('base64url')}\n`, 0o600)
}

export function secretFile(dir: string, holder: Holder): string {
  return join(dir, `${holder}.secret`)
}

export function readSecret(file: string): string {
  return readFileSync(file, 'utf8').trim()
}

/** In a time that says nothing of where they differ. */
export function isSecret(given: string, secret: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(secret)]
  return one.length === other.length && timingSafeEqual(one, other)
}
