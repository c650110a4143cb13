/**
 * Runs one driver program against one way into the mesh and turns its lines into tests: every name of cases.ts must be
 * answered, and a program that stops early fails the names it did not reach.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { describe, it, type TestContext } from 'node:test'
import { type DoorName, type MeshFixture, useMesh } from '../fixture.ts'
import { cannot, cases } from './cases.ts'
import { type DriverName, type Program, toolchainOf } from './toolchain.ts'

export interface DriverRun {
  /** `nginx`: through NGINX and the gateway. `sidecar`: straight to a sidecar, over TLS. */
  readonly door: DoorName
  readonly protocol: 4 | 5
  readonly compression: 'none' | 'lz4'
  /** `admin` sees everything; `owner` its own keyspaces only, so that the sidecar answers what the driver asks about the schema. */
  readonly as: 'admin' | 'owner'
}

/** The longest that one program may take for all its cases. */
const programTimeoutMs = 400_000

/** The case that makes the tables of all others. */
const makesTables = 'schema change'

/** What a program said about one case. */
export type Verdict =
  | { readonly kind: 'ok' }
  | { readonly kind: 'skip'; readonly why: string }
  | { readonly kind: 'failed'; readonly why: string }

/** Declares the tests of one driver: one for each run, with one subtest for each case. */
export function driverSuite(driver: DriverName, runs: readonly DriverRun[]): void {
  describe(`${driver} driver`, { concurrency: 1 }, () => {
    for (const { door, protocol, compression, as } of runs) {
      const squeezed = compression === 'none' ? '' : `, ${compression}`
      it(`${door === 'nginx' ? 'through NGINX and the gateway' : 'directly at a sidecar'}, v${protocol}${squeezed}, as ${as}`, async (t) => {
        const toolchain = await toolchainOf(driver)
        if ('absent' in toolchain) {
          if (process.env.CI === 'true') throw new Error(`${toolchain.absent}, and CI=true requires every driver`)
          t.skip(toolchain.absent)
          return
        }
        const mesh = await useMesh()
        const keyspace = `e2e_${as === 'owner' ? 'own_' : ''}${driver}${protocol}${compression === 'lz4' ? 'z' : ''}_${door}`
        const env = environmentOf(mesh, { door, protocol, compression, as }, keyspace)
        const verdicts = await runProgram(toolchain.program, env, t)
        for (const name of cases) {
          await t.test(name, (sub) => {
            const verdict = verdicts.get(name)
            if (verdict === undefined) throw new Error('the program ended before this case')
            if (verdict.kind === 'failed') throw new Error(`${verdict.why}${schemaFault(name, verdicts)}`)
            if (verdict.kind === 'skip') {
              // Not a skipped test: the driver itself lacks the means, and no other toolchain would change it.
              if (cannot.get(driver)?.includes(name) !== true) throw new Error(`the program skipped it: ${verdict.why}`)
              sub.diagnostic(`not possible with ${driver}: ${verdict.why}`)
            }
          })
        }
        await t.test('both sides are in the audit, and nothing refused reached Cassandra', () =>
          bothSides(mesh, keyspace, as),
        )
      })
    }
  })
}

/** The tables of every case are made by one: what failed there is said with each case that misses them. */
function schemaFault(name: string, verdicts: ReadonlyMap<string, Verdict>): string {
  const made = verdicts.get(makesTables)
  return name !== makesTables && made?.kind === 'failed' ? `; ${makesTables} had failed: ${made.why}` : ''
}

function environmentOf(mesh: MeshFixture, run: DriverRun, keyspace: string): Record<string, string> {
  const door = mesh.doors[run.door]
  const { [run.as]: first, reader, nobody } = mesh.identities
  return {
    RF_CONTACTS: `${door.host}:${door.port}`,
    RF_DC: mesh.dataCenter,
    RF_HOSTS_MIN: String(door.hosts),
    RF_KEYSPACE: keyspace,
    RF_REPLICATION: String(mesh.replication),
    RF_PROTOCOL: String(run.protocol),
    RF_COMPRESSION: run.compression,
    RF_TLS: '1',
    RF_CA: mesh.caFile,
    RF_CERT: first.certFile,
    RF_KEY: first.keyFile,
    RF_READER_CERT: reader.certFile,
    RF_READER_KEY: reader.keyFile,
    RF_NOBODY_CERT: nobody.certFile,
    RF_NOBODY_KEY: nobody.keyFile,
  }
}

/** Runs the program to its end and returns what it said. Its other output goes to the test's diagnostics. */
export function runProgram(
  program: Program,
  env: Readonly<Record<string, string>>,
  t: Pick<TestContext, 'diagnostic' | 'signal'>,
): Promise<Map<string, Verdict>> {
  const verdicts = new Map<string, Verdict>()
  const child = spawn(program.command, program.args, {
    env: { ...process.env, ...program.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: t.signal,
    killSignal: 'SIGKILL',
    timeout: programTimeoutMs,
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    const parsed = parseLine(line)
    if (parsed) verdicts.set(parsed[0], parsed[1])
    else if (line !== '') t.diagnostic(line)
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-8000)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code !== 0 && errors !== '') t.diagnostic(errors)
      if (signal !== null) t.diagnostic(`the program was ended by ${signal}`)
      const failed = [...verdicts.values()].some((verdict) => verdict.kind === 'failed')
      if (code !== 0 && !failed && verdicts.size === cases.length) {
        reject(new Error(`the program ended with ${code ?? signal} although every case passed: ${errors}`))
      } else resolve(verdicts)
    })
  })
}

/** `ok <case>`, `ok <case> # skip <why>` or `not ok <case>: <why>`; undefined for any other line. */
export function parseLine(line: string): readonly [name: string, verdict: Verdict] | undefined {
  const skipped = /^ok (.+?) # skip (.*)$/.exec(line)
  if (skipped) return [skipped[1]!, { kind: 'skip', why: skipped[2]! }]
  const held = /^ok (.+)$/.exec(line)
  if (held) return [held[1]!, { kind: 'ok' }]
  const failed = /^not ok (.+?): (.*)$/.exec(line)
  return failed ? [failed[1]!, { kind: 'failed', why: failed[2]! }] : undefined
}

/**
 * Both sides, from two witnesses: our audit has what was permitted with its rule, and names reader and nobody with a deny and the
 * right table; Cassandra's own audit log has what was permitted and nothing of what the reader was refused.
 */
async function bothSides(mesh: MeshFixture, keyspace: string, as: DriverRun['as']): Promise<void> {
  const { [as]: first, reader, nobody } = mesh.identities
  const table = `${keyspace}_a.kv`
  for (const [identity, verdict, rule, operation] of [
    [first, 'allow', `e2e-${as}`, 'INSERT'],
    [reader, 'allow', 'e2e-reader', 'SELECT'],
    [reader, 'deny', 'default-deny', 'INSERT'],
    [nobody, 'deny', 'default-deny', 'SELECT'],
  ] as const) {
    await mesh.auditRecord(
      `${verdict} of ${operation} on ${table} for ${identity.spiffeId} by ${rule}`,
      [`${keyspace}_a`, identity.spiffeId],
      (record) =>
        record.workload === identity.spiffeId &&
        record.verdict === verdict &&
        record.rule === rule &&
        record.operation === operation &&
        record.keyspace === `${keyspace}_a` &&
        record.table === 'kv',
    )
  }
  if ((await mesh.cassandraLines(table)).length === 0) throw new Error('Cassandra has no record of what was permitted')
  const arrived = await mesh.cassandraLines(table, "'changed'")
  if (arrived.length > 0) throw new Error(`a refused statement reached Cassandra: ${arrived[0]}`)
}
