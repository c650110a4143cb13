/** What the record has to have of one who logged in, did what is permitted, and tried what is not. */
import type { DoorName, Driver } from './cases.ts'
import { marker } from './outside.ts'
import { evidenceHash, type Known, type Shown } from './proofs.ts'

type Record = Readonly<globalThis.Record<string, unknown>>

export interface Expected {
  readonly shown: Shown
  readonly known: Known
  readonly door: DoorName
  readonly driver: Driver
  readonly tables: { readonly permitted: string; readonly forbidden: string }
}

/** Each is a sentence; none where all is there. */
export function recordFaults(records: readonly Record[], expected: Expected): readonly string[] {
  const { shown, known, door, driver, tables } = expected
  const hash = evidenceHash(shown)
  const connects = records.filter(
    ({ operation, evidence }) => operation === 'CONNECT' && (evidence as { hash?: string } | undefined)?.hash === hash,
  )
  if (connects.length === 0) return ['no CONNECT has what was shown']
  const sessions = new Set(connects.map(({ session }) => session))
  const ofSessions = records.filter(({ session }) => sessions.has(session))
  // What a driver asks for itself is the workload's own.
  const own = known.isByRequest === true ? ofSessions.filter(({ person }) => person !== undefined) : ofSessions
  const faults: string[] = []
  for (const [what, field, wanted] of [
    ['the workload', 'workload', known.workload],
    ['the person', 'person', known.person],
    ['the way in', 'authentication', known.authentication],
  ] as const) {
    const other = own.find((record) => record[field] !== wanted)
    if (other !== undefined) faults.push(`${what} is ${String(other[field])}, not ${String(wanted)}`)
  }
  if (own.some(({ gateway }) => (gateway !== undefined) !== (door === 'nginx')))
    faults.push('it says wrongly whether they came through a gateway')
  if (!own.some(({ driver: name }) => driver.says.test(String(name)))) faults.push('no record has the driver')
  const has = (table: string, verdict: string, rule: string, among = own): boolean =>
    among.some(
      (record) =>
        record.table === table && record.operation === 'SELECT' && record.verdict === verdict && record.rule === rule,
    )
  if (!has(tables.permitted, 'allow', marker)) faults.push('what was permitted is not on record')
  // The workload alone, where its driver prepares what it is to ask.
  const refused = driver.preparesAlone === true ? ofSessions : own
  if (!has(tables.forbidden, 'deny', 'default-deny', refused)) faults.push('what was refused is not on record')
  return faults
}
