/**
 * Who is calling, on the real mesh: every proof by every driver at both doors, with a permitted statement, a refused one and its records; every
 * fault of every proof at both doors. What is tried stands in tables: `proofs.ts`, `refusals.ts`, `cases.ts`.
 *
 * The gateway and the sidecars are started anew so that they ask for tokens, and anew again at the end.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { AdminClient } from '../../../src/cli/admin-client.ts'
import { overHttps } from '../../../src/control/mesh.fixture.ts'
import type { Revoked } from '../../../src/identity/revoked/revocation.ts'
import { madeTxnToken, txnTokensPath } from '../../../src/mesh/transaction-tokens.ts'
import { Program as Ringfence } from '../../path/program.ts'
import { ownProgram } from '../drivers/own-program.ts'
import type { DriverName, Program, Toolchain } from '../drivers/toolchain.ts'
import { type MeshFixture, useMesh } from '../fixture.ts'
import { policyFile } from '../held.ts'
import { putInForce } from '../in-force.ts'
import { driverAt } from '../people.ts'
import { changeSchema, createKeyspace } from '../schema.ts'
import { casesOf, doorNames, drivers } from './cases.ts'
import { marker, Outside } from './outside.ts'
import { runCases, sources } from './programs.ts'
import { Proofs, type Shown } from './proofs.ts'
import { Addresses, rawLogIn } from './raw-log-in.ts'
import { recordFaults } from './record.ts'
import { doorWords, type LogInMesh, refusalSuite } from './refusal-suite.ts'
import { thrownOutSuite } from './thrown-out-suite.ts'
import { Written } from './written.ts'

const keyspace = 'e2e_log_ins'
const tables = { permitted: 'orders', forbidden: 'cards' }
const permitted = `SELECT total FROM ${keyspace}.orders WHERE id = 'a'`
const forbidden = `SELECT number FROM ${keyspace}.cards WHERE id = 'a'`
const readyMsMax = 60_000
/** Programs at once, as many as a machine of two cores has time for. */
const besideMax = 3
const folder = mkdtempSync(join(tmpdir(), 'ringfence-log-ins-'))

let mesh: MeshFixture
let outside: Outside
let logIns: LogInMesh
/** What the proxies' documents said before. */
const configs = new Map<string, string>()
/** Of whatever was shown by a driver. */
const secrets: string[] = []
let written: Written
/** Made once, for both doors, while the proxies start. */
const programs = new Map<DriverName, Promise<Toolchain>>()

before(async () => {
  mesh = await useMesh()
  written = new Written(mesh.stateDir)
  // One after the other, for two of them are of one Python environment.
  let before: Promise<unknown> = Promise.resolve()
  for (const { name } of drivers) {
    const made = before.then(() => ownProgram(name, sources, folder))
    // Told of by the tests that want it.
    before = made.catch(() => {})
    programs.set(name, made)
  }
  outside = await Outside.start()
  await changeSchema(mesh, [
    `DROP KEYSPACE IF EXISTS ${keyspace}`,
    createKeyspace(mesh, keyspace),
    `CREATE TABLE ${keyspace}.orders (id text PRIMARY KEY, total int)`,
    `CREATE TABLE ${keyspace}.cards (id text PRIMARY KEY, number text)`,
  ])
  const admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.execute(`INSERT INTO ${keyspace}.orders (id, total) VALUES ('a', 250)`)
  await admin.shutdown()
  const control = new AdminClient(mesh.layout.dirs.control)
  const bundlePem = readFileSync(mesh.caFile, 'utf8')
  const proofs: Proofs = new Proofs(outside, join(mesh.layout.dirs.control, 'ca'), async (workload) => {
    const { certificate } = await proofs.certificate({ spiffeId: workload })
    const { password: token } = await proofs.oidc.make()
    const { address, port } = mesh.layout.control
    const at = { control: { url: `https://${address}:${port}` } }
    const { status, body } = await overHttps(at, certificate, 'POST', txnTokensPath, { token })
    if (status !== 200) throw new Error(`${txnTokensPath} for ${workload}: ${status} ${JSON.stringify(body)}`)
    return madeTxnToken.parse(body).token
  })
  logIns = {
    outside,
    proofs,
    doors: { nginx: { ...mesh.doors.nginx, bundlePem }, sidecar: { ...mesh.doors.sidecar, bundlePem } },
    why: async (address) => (await control.refusals(address)).refusals.map(({ cause }) => cause),
    admit: (who) => {
      const own = outside.policy(keyspace, [tables.permitted], who)
      return putInForce(mesh, `${readFileSync(policyFile, 'utf8')}\n---\n${own}`, 'log-ins.yaml')
    },
    permitted,
    throwOut: (one) => ringfenceIdentity('revoke', one),
    letIn: (one) => ringfenceIdentity('restore', one),
  }
  await logIns.admit('all')
  await restartAsking()
  await untilAllComeIn()
})
after(async () => {
  for (const [file, text] of configs) writeFileSync(file, text)
  if (configs.size > 0) await restart()
  if (mesh !== undefined) await putInForce(mesh, readFileSync(policyFile, 'utf8'), 'policy.yaml')
  await outside?.stop()
  rmSync(folder, { recursive: true })
})

/** As a person types it. It ends with 0 where all proxies that are connected have it in force. */
async function ringfenceIdentity(verb: 'revoke' | 'restore', { kind, value }: Revoked): Promise<void> {
  const whom = kind === 'one-certificate' ? `--certificate=${value}` : `--token=${value}`
  const flags = ['--state-dir', mesh.layout.dirs.control, '--reason', 'it is tried']
  const { code, out, err } = await Ringfence.run(['identity', verb, whom, ...flags])
  if (code !== 0) throw new Error(`ringfence identity ${verb}: ${out}${err}`)
}

const sidecarNames = (): string[] => mesh.layout.nodes.map(({ index }) => `sidecar-${index}`)

async function restartAsking(): Promise<void> {
  for (const name of ['gateway', ...sidecarNames()]) {
    const file = join(mesh.layout.dirs.conf, `${name}.yaml`)
    const text = readFileSync(file, 'utf8')
    configs.set(file, text)
    const config = parse(text) as { spec: { listeners: Record<string, unknown>[] } }
    for (const listener of config.spec.listeners) listener.authentication = 'either'
    writeFileSync(file, stringify(config))
  }
  await restart(outside.environment)
}

async function restart(env: Readonly<Record<string, string>> = {}): Promise<void> {
  const anew = async (name: string): Promise<void> => {
    await mesh.part(name).stop()
    await mesh.part(name).start(env)
  }
  await Promise.all(sidecarNames().map(anew))
  await anew('gateway')
}

/** Keys have come, and a gateway has its links. */
async function untilAllComeIn(): Promise<void> {
  const addresses = new Addresses(76)
  const until = performance.now() + readyMsMax
  for (const door of doorNames) {
    for (const proof of logIns.proofs.all) {
      for (;;) {
        const told = await rawLogIn(logIns.doors[door], await proof.make(), addresses.next())
        if (told === 'in') break
        if (performance.now() > until) throw new Error(`${proof.name} ${doorWords[door]}: ${told}`)
        await sleep(300)
      }
    }
  }
}

async function programOf(driver: DriverName, t: TestContext): Promise<Program | undefined> {
  const made = await programs.get(driver)!
  if (!('absent' in made)) return made.program
  if (process.env.CI === 'true') throw new Error(`${made.absent}, and CI=true requires every driver`)
  t.skip(made.absent)
  return undefined
}

suite('log-ins by drivers', { concurrency: besideMax }, () => {
  for (const driver of drivers) {
    for (const door of doorNames) {
      it(`${driver.name} ${doorWords[door]}`, async (t) => {
        const program = await programOf(driver.name, t)
        if (program === undefined) return
        const cases = casesOf(driver, door, logIns.proofs, outside)
        const shown = new Map<string, Shown>()
        for (const { name, make } of cases) shown.set(name, await make())
        secrets.push(...[...shown.values()].flatMap(secretsOf))
        const { host, port } = mesh.doors[door]
        const target = { host, port, dataCenter: mesh.dataCenter, caFile: mesh.caFile, permitted, forbidden }
        const { said, errors } = await runCases(
          program,
          target,
          shown,
          join(folder, `${driver.name}-${door}`),
          t.signal,
        )
        const records = await mesh.auditRecords(marker)
        for (const { name, wanted } of cases) {
          await t.test(name, (sub) => {
            const one = said.get(name)
            if (one === undefined) throw new Error(`the program ended before this case: ${errors}`)
            sub.diagnostic(`${one.seconds.toFixed(1)} s after the start of the program`)
            if (wanted instanceof RegExp) {
              assert.ok(one.kind === 'refused', JSON.stringify(one))
              assert.match(one.words, wanted)
              return
            }
            assert.ok(one.kind === 'in', JSON.stringify(one))
            assert.equal(one.value, '250')
            assert.match(one.denial, /^denied: .*has no SELECT permission on <table e2e_log_ins\.cards>/)
            const expected = { shown: shown.get(name)!, known: wanted, door, driver, tables }
            assert.deepEqual(recordFaults(records, expected), [])
          })
        }
      })
    }
  }
})

thrownOutSuite(() => logIns)
refusalSuite(() => logIns)

/** Pieces of what no line may hold: of a token its end and the end of its claims, of a key its middle. */
function secretsOf({ password, behalf = '', certificate }: Shown): readonly string[] {
  const tokens = [password, behalf].flatMap((one) => [one, ...one.split('.')])
  const keyLine = certificate?.keyPem.split('\n')[2] ?? ''
  return [...tokens, keyLine].filter((one) => one.length > 40).map((one) => one.slice(-40))
}

suite('what is written while all those log in', () => {
  it('holds nothing that was shown, nor does any page or process', async () => {
    assert.ok(secrets.length > 100)
    const { admin, nodes } = mesh.layout
    const ports = [admin.control, admin.gateway, ...nodes.map(({ sidecarAdmin }) => sidecarAdmin)]
    const all = new Set(secrets)
    const whereTheyAre: string[] = []
    const look = ([name, text]: readonly [string, string]): void => {
      if (text.includes(marker)) whereTheyAre.push(name)
      for (const secret of all) assert.ok(!text.includes(secret), `${name} has evidence in it`)
    }
    for (const file of written.files()) look(file)
    for (const process of written.processes()) look(process)
    const pages = await written.pages(ports)
    for (const page of pages) look(page)
    // It was looked at: they are named where they may be.
    for (const place of ['/log/', '/audit/'])
      assert.ok(
        whereTheyAre.some((name) => name.includes(place)),
        place,
      )
    assert.ok(pages.some(([url, text]) => url.endsWith('/metrics') && text.includes('ringfence_')))
  })
})
